//! getdents64(2) and getdents(2).

use super::{SyscallResult, TaskView, count};
use crate::fs::directory::DirentFormat;
use crate::fs::io::{Segment, UserBuffers};
use crate::kernel::Kernel;
use crate::memory::UserMemory;
use crate::process::task::TaskId;
use crate::syscall::Args;

/// getdents64(2).
pub fn sys_getdents64(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    list(kernel, task, args, DirentFormat::Dirent64)
}

/// getdents(2).
pub fn sys_getdents(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    list(kernel, task, args, DirentFormat::Old)
}

fn list(kernel: &mut Kernel, task: TaskId, args: &Args, format: DirentFormat) -> SyscallResult {
    let file = kernel.fs.file(kernel.table(task), args.int(0))?;
    let buffer = [Segment::checked(args.0[1], u64::from(args.uint(2)))?];
    let record = &kernel.tasks[task];
    let space = record
        .space
        .expect("a task in a system call has an address space");
    let view = TaskView {
        tasks: &kernel.tasks,
        groups: &kernel.groups,
        current: record.record.tgid,
    };
    let user = UserMemory {
        space: &mut kernel.spaces[space],
        frames: &mut kernel.frames,
    };
    count(
        kernel
            .fs
            .list(file, format, &view, &mut UserBuffers::new(user, &buffer))?,
    )
}
