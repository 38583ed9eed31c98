//! Calls that change what an inode says or holds: chmod(2), chown(2), utimensat(2), truncate(2) and
//! their kin. Every file system is read-only, so each finds out what Linux finds out before it
//! comes to EROFS (fs/open.c, fs/attr.c).

use super::{DONE, SyscallResult};
use crate::errno::Errno;
use crate::fs::file::FileKind;
use crate::kernel::Kernel;
use crate::process::task::TaskId;
use crate::syscall::Args;
use linux_raw_sys::general::{
    AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, S_IFDIR, S_IFMT, S_IFREG,
};

/// chmod(2), chown(2), utime(2), utimes(2), and setxattr(2): a path that is followed, and something to set.
pub fn sys_change_path(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    kernel.mode_at(task, AT_FDCWD, args.0[0], 0)?;
    Err(Errno::EROFS)
}

/// lchown(2): a path that is not followed.
pub fn sys_change_link(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    kernel.mode_at(task, AT_FDCWD, args.0[0], AT_SYMLINK_NOFOLLOW)?;
    Err(Errno::EROFS)
}

/// fchmod(2), fchown(2).
pub fn sys_change_descriptor(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let id = kernel.fs.file(kernel.table(task), args.int(0))?;
    match kernel.fs.files[id].kind {
        FileKind::Pipe(_) | FileKind::Console(_) => DONE,
        _ => Err(Errno::EROFS),
    }
}

/// fchmodat(2), futimesat(2): no flags in the system call.
pub fn sys_change_at(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    kernel.mode_at(task, args.int(0), args.0[1], 0)?;
    Err(Errno::EROFS)
}

/// fchownat(2).
pub fn sys_fchownat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    change_with_flags(kernel, task, args, args.uint(4))
}

/// fchmodat2(2).
pub fn sys_fchmodat2(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    change_with_flags(kernel, task, args, args.uint(3))
}

/// utimensat(2). Without a path it is futimens(3) on the descriptor.
pub fn sys_utimensat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    if args.0[1] == 0 && args.int(0) != AT_FDCWD {
        return sys_change_descriptor(kernel, task, args);
    }
    change_with_flags(kernel, task, args, args.uint(3))
}

fn change_with_flags(kernel: &mut Kernel, task: TaskId, args: &Args, flags: u32) -> SyscallResult {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    kernel.mode_at(task, args.int(0), args.0[1], flags)?;
    Err(Errno::EROFS)
}

/// truncate(2).
pub fn sys_truncate(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    if args.0[1].cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    let mode = kernel.mode_at(task, AT_FDCWD, args.0[0], 0)?;
    match mode & S_IFMT {
        S_IFDIR => Err(Errno::EISDIR),
        S_IFREG => Err(Errno::EROFS),
        _ => Err(Errno::EINVAL),
    }
}

/// ftruncate(2): no regular file is open for writing.
pub fn sys_ftruncate(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    if args.0[1].cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    kernel.fs.file(kernel.table(task), args.int(0))?;
    Err(Errno::EINVAL)
}

/// fallocate(2): no regular file is open for writing.
pub fn sys_fallocate(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let id = kernel.fs.file(kernel.table(task), args.int(0))?;
    match kernel.fs.files[id].kind {
        _ if args.0[2].cast_signed() < 0 || args.0[3].cast_signed() <= 0 => Err(Errno::EINVAL),
        FileKind::Pipe(_) => Err(Errno::ESPIPE),
        FileKind::Image { .. } | FileKind::Directory => Err(Errno::EBADF),
        _ => Err(Errno::ENODEV),
    }
}

impl Kernel {
    /// st_mode of what a path leads to. Errors as [`resolve_at`](Self::resolve_at), EFAULT.
    pub(super) fn mode_at(
        &mut self,
        task: TaskId,
        dirfd: i32,
        path: u64,
        flags: u32,
    ) -> Result<u32, Errno> {
        let path = self.read_path(task, path)?;
        Ok(self
            .fs
            .metadata(self.resolve_at(task, dirfd, &path, flags)?)
            .mode)
    }
}
