//! open(2), openat(2), creat(2), openat2(2).

use super::{SyscallResult, value};
use crate::errno::Errno;
use crate::fs::open::KNOWN_FLAGS;
use crate::fs::path::{LastLink, Viewpoint};
use crate::kernel::Kernel;
use crate::process::task::TaskId;
use crate::syscall::Args;
use crate::syscall::file::TaskView;
use linux_raw_sys::general::{AT_FDCWD, O_CLOEXEC, O_CREAT, O_TMPFILE, O_TRUNC, O_WRONLY};

/// open(2).
pub fn sys_open(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    open_at(kernel, task, AT_FDCWD, args.0[0], args.uint(1))
}

/// creat(2).
pub fn sys_creat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    open_at(
        kernel,
        task,
        AT_FDCWD,
        args.0[0],
        O_CREAT | O_WRONLY | O_TRUNC,
    )
}

/// openat(2).
pub fn sys_openat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    open_at(kernel, task, args.int(0), args.0[1], args.uint(2))
}

/// openat2(2), without its RESOLVE_ flags. Unlike open it refuses what it does not know.
pub fn sys_openat2(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    const HOW_BYTES: u64 = 24;
    if args.0[3] < HOW_BYTES {
        return Err(Errno::EINVAL);
    }
    if args.0[3] > HOW_BYTES {
        return Err(Errno::E2BIG);
    }
    let [flags, mode, resolve]: [u64; 3] = kernel.user(task).read(args.0[2])?;
    let flags = u32::try_from(flags).map_err(|_| Errno::EINVAL)?;
    let makes = flags & O_CREAT != 0 || flags & O_TMPFILE == O_TMPFILE;
    if flags & !KNOWN_FLAGS != 0 || resolve != 0 || mode & !0o7777 != 0 || (mode != 0 && !makes) {
        return Err(Errno::EINVAL);
    }
    open_at(kernel, task, args.int(0), args.0[1], flags)
}

fn open_at(kernel: &mut Kernel, task: TaskId, dirfd: i32, path: u64, flags: u32) -> SyscallResult {
    let path = kernel.read_path(task, path)?;
    let (table, limit) = (kernel.table(task), kernel.descriptor_limit(task));
    kernel.fs.tables[table].has_room(0, limit)?;
    let start = kernel.start_of(task, dirfd, &path)?;
    let view = TaskView {
        tasks: &kernel.tasks,
        groups: &kernel.groups,
        current: kernel.tasks[task].record.tgid,
    };
    let file = kernel.fs.open(
        &Viewpoint {
            start,
            last_link: LastLink::Follow,
            processes: &view,
        },
        &path,
        flags,
    )?;
    let fd = kernel
        .fs
        .install(table, file, flags & O_CLOEXEC != 0, limit)?;
    value(fd)
}
