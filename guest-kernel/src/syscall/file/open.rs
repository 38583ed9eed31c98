//! open(2), openat(2), creat(2), openat2(2).

use super::{Completion, SyscallResult, value};
use crate::arena::Id;
use crate::errno::Errno;
use crate::fs::OpenFile;
use crate::fs::file::FileKind;
use crate::fs::open::KNOWN_FLAGS;
use crate::fs::path::{LastLink, Viewpoint};
use crate::kernel::Kernel;
use crate::process::task::{Progress, TaskId};
use crate::syscall::file::TaskView;
use crate::syscall::{Args, WaitChannel};
use linux_raw_sys::general::{AT_FDCWD, O_CLOEXEC, O_CREAT, O_PATH, O_TMPFILE, O_TRUNC, O_WRONLY};

/// A FIFO's other end is not open yet.
const WAITS_FOR_PARTNER: Completion = Completion::Park {
    channel: WaitChannel::WaitForPartner,
    deadline: None,
};

/// open(2).
pub fn sys_open(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    open_at(
        kernel,
        task,
        AT_FDCWD,
        args.0[0],
        args.uint(1),
        args.uint(2),
    )
}

/// creat(2).
pub fn sys_creat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    open_at(
        kernel,
        task,
        AT_FDCWD,
        args.0[0],
        O_CREAT | O_WRONLY | O_TRUNC,
        args.uint(1),
    )
}

/// openat(2).
pub fn sys_openat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    open_at(
        kernel,
        task,
        args.int(0),
        args.0[1],
        args.uint(2),
        args.uint(3),
    )
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
    let mode = u32::try_from(mode).map_err(|_| Errno::EINVAL)?;
    open_at(kernel, task, args.int(0), args.0[1], flags, mode)
}

fn open_at(
    kernel: &mut Kernel,
    task: TaskId,
    dirfd: i32,
    path: u64,
    flags: u32,
    mode: u32,
) -> SyscallResult {
    let (table, limit) = (kernel.table(task), kernel.descriptor_limit(task));
    if kernel.tasks[task].progress == Progress::Opening
        && let Some(opened) = kernel.fs.opened_meanwhile(task)
    {
        return match opened {
            Ok(file) => value(
                kernel
                    .fs
                    .install(table, file, flags & O_CLOEXEC != 0, limit)?,
            ),
            Err(()) => Ok(WAITS_FOR_PARTNER),
        };
    }
    let path = kernel.read_path(task, path)?;
    kernel.fs.tables[table].has_room(0, limit)?;
    let start = kernel.start_of(task, dirfd, &path)?;
    let (mode, owner, root) = (
        kernel.new_mode(task, mode),
        kernel.owner(task),
        kernel.root(task),
    );
    let view = TaskView {
        tasks: &kernel.tasks,
        groups: &kernel.groups,
        current: kernel.tasks[task].record.tgid,
    };
    let viewpoint = Viewpoint {
        start,
        root,
        last_link: LastLink::Follow,
        processes: &view,
    };
    let file = kernel.fs.open(&viewpoint, &path, flags, mode, owner)?;
    if flags & O_TRUNC != 0 && flags & O_PATH == 0 {
        kernel.truncate_opened(file)?;
    }
    if kernel.fs.waits_for_partner(task, file) {
        kernel.tasks[task].progress = Progress::Opening;
        return Ok(WAITS_FOR_PARTNER);
    }
    let fd = kernel
        .fs
        .install(table, file, flags & O_CLOEXEC != 0, limit)?;
    value(fd)
}

impl Kernel {
    /// O_TRUNC: a regular file becomes empty; if that fails it is closed again.
    fn truncate_opened(&mut self, file: Id<OpenFile>) -> Result<(), Errno> {
        let open = &self.fs.files[file];
        if open.kind != FileKind::Regular {
            return Ok(());
        }
        let inode = open.inode;
        let result = self.fs.set_size(&mut self.frames, inode, 0);
        if result.is_err() {
            self.fs.close_file(file);
        }
        self.settle_files();
        result
    }
}
