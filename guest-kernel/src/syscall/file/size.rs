//! Calls that change how long a file is or where its memory is: truncate(2), fallocate(2), memfd_create(2).

use super::{DONE, SyscallResult, TaskView, value};
use crate::errno::Errno;
use crate::fs::file::FileKind;
use crate::kernel::Kernel;
use crate::process::signal::SignalInfo;
use crate::process::task::TaskId;
use crate::syscall::Args;
use linux_raw_sys::general::{
    AT_FDCWD, FALLOC_FL_ALLOCATE_RANGE, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE,
    MFD_ALLOW_SEALING, MFD_CLOEXEC, MFD_EXEC, MFD_NOEXEC_SEAL, RLIMIT_FSIZE, S_IFDIR, S_IFMT,
    S_IFREG, SIGXFSZ,
};

/// Bytes of a memfd's name, its NUL included: NAME_MAX without "memfd:".
const MEMFD_NAME_MAX: usize = 250;

/// truncate(2).
pub fn sys_truncate(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let size = length(args.0[1])?;
    let path = kernel.read_path(task, args.0[0])?;
    let inode = kernel.resolve_at(task, AT_FDCWD, &path, 0)?;
    match kernel.fs.metadata(inode).mode & S_IFMT {
        S_IFDIR => return Err(Errno::EISDIR),
        S_IFREG => {}
        _ => return Err(Errno::EINVAL),
    }
    let view = TaskView {
        tasks: &kernel.tasks,
        groups: &kernel.groups,
        current: kernel.tasks[task].record.tgid,
    };
    kernel.fs.may_write(inode, &view)?;
    kernel.within_file_limit(task, size)?;
    let result = kernel.fs.set_size(&mut kernel.frames, inode, size);
    kernel.settle_files();
    result?;
    DONE
}

/// ftruncate(2).
pub fn sys_ftruncate(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let size = length(args.0[1])?;
    let file = &kernel.fs.files[kernel.fs.file(kernel.table(task), args.int(0))?];
    if file.kind != FileKind::Regular || !file.writable() {
        return Err(Errno::EINVAL);
    }
    let inode = file.inode;
    kernel.within_file_limit(task, size)?;
    let result = kernel.fs.set_size(&mut kernel.frames, inode, size);
    kernel.settle_files();
    result?;
    DONE
}

/// fallocate(2).
pub fn sys_fallocate(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let id = kernel.fs.file(kernel.table(task), args.int(0))?;
    let (mode, offset, len) = (
        args.uint(1),
        args.0[2].cast_signed(),
        args.0[3].cast_signed(),
    );
    if offset < 0 || len <= 0 {
        return Err(Errno::EINVAL);
    }
    // Only these two, and the second only with the first (Linux's vfs_fallocate).
    let known = FALLOC_FL_ALLOCATE_RANGE | FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE;
    if mode & !known != 0 || mode == FALLOC_FL_PUNCH_HOLE {
        return Err(Errno::EOPNOTSUPP);
    }
    let file = &kernel.fs.files[id];
    if !file.writable() {
        return Err(Errno::EBADF);
    }
    match file.kind {
        FileKind::Pipe(_) => return Err(Errno::ESPIPE),
        FileKind::Directory => return Err(Errno::EISDIR),
        FileKind::Regular => {}
        _ => return Err(Errno::ENODEV),
    }
    let end = offset.checked_add(len).ok_or(Errno::EFBIG)?;
    let (inode, range) = (file.inode, offset.cast_unsigned()..end.cast_unsigned());
    if mode & FALLOC_FL_KEEP_SIZE == 0 {
        kernel.within_file_limit(task, range.end)?;
    }
    let result = kernel.fs.allocate(&mut kernel.frames, inode, mode, range);
    kernel.settle_files();
    result?;
    DONE
}

/// memfd_create(2), without huge pages.
pub fn sys_memfd_create(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let flags = args.uint(1);
    let both = MFD_EXEC | MFD_NOEXEC_SEAL;
    if flags & !(MFD_CLOEXEC | MFD_ALLOW_SEALING | both) != 0 || flags & both == both {
        return Err(Errno::EINVAL);
    }
    let name = kernel
        .user(task)
        .read_string(args.0[0], MEMFD_NAME_MAX, Errno::EINVAL)?;
    let (table, limit) = (kernel.table(task), kernel.descriptor_limit(task));
    kernel.fs.tables[table].has_room(0, limit)?;
    let owner = kernel.owner(task);
    let file = kernel.fs.make_memory_file(&name, flags, owner)?;
    value(
        kernel
            .fs
            .install(table, file, flags & MFD_CLOEXEC != 0, limit)?,
    )
}

impl Kernel {
    /// RLIMIT_FSIZE: EFBIG, and SIGXFSZ, if a file would become longer than `size` allows.
    fn within_file_limit(&mut self, task: TaskId, size: u64) -> Result<(), Errno> {
        if size <= self.group(task).limits.soft(RLIMIT_FSIZE) {
            return Ok(());
        }
        let pid = self.tasks[task].record.tgid;
        self.signal_task(task, SignalInfo::from_process(SIGXFSZ, pid));
        Err(Errno::EFBIG)
    }

    /// How many bytes may be written at a place of a regular file. EFBIG and SIGXFSZ if none.
    pub(super) fn room_below_limit(&mut self, task: TaskId, at: u64) -> Result<u64, Errno> {
        let limit = self.group(task).limits.soft(RLIMIT_FSIZE);
        if at >= limit {
            self.within_file_limit(task, at.saturating_add(1))?;
        }
        Ok(limit.saturating_sub(at))
    }
}

/// A size. EINVAL if negative.
fn length(argument: u64) -> Result<u64, Errno> {
    if argument.cast_signed() < 0 {
        Err(Errno::EINVAL)
    } else {
        Ok(argument)
    }
}
