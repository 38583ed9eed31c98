//! Calls that make, remove or move a name. Every file system is read-only, so each finds out what
//! Linux finds out before it comes to EROFS (fs/namei.c).

use super::SyscallResult;
use crate::errno::Errno;
use crate::fs::path::{Last, LastLink};
use crate::kernel::Kernel;
use crate::process::task::TaskId;
use crate::syscall::Args;
use linux_raw_sys::general::{
    AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW, RENAME_EXCHANGE,
    RENAME_NOREPLACE, RENAME_WHITEOUT, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFMT, S_IFREG,
    S_IFSOCK,
};

/// mkdir(2).
pub fn sys_mkdir(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    make(kernel, task, AT_FDCWD, args.0[0], true)
}

/// mkdirat(2).
pub fn sys_mkdirat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    make(kernel, task, args.int(0), args.0[1], true)
}

/// mknod(2).
pub fn sys_mknod(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    make_node(kernel, task, AT_FDCWD, args.0[0], args.uint(1))
}

/// mknodat(2).
pub fn sys_mknodat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    make_node(kernel, task, args.int(0), args.0[1], args.uint(2))
}

/// symlink(2).
pub fn sys_symlink(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    make_link(kernel, task, args.0[0], AT_FDCWD, args.0[1])
}

/// symlinkat(2).
pub fn sys_symlinkat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    make_link(kernel, task, args.0[0], args.int(1), args.0[2])
}

/// link(2).
pub fn sys_link(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    kernel.mode_at(task, AT_FDCWD, args.0[0], AT_SYMLINK_NOFOLLOW)?;
    make(kernel, task, AT_FDCWD, args.0[1], false)
}

/// linkat(2).
pub fn sys_linkat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let flags = args.uint(4);
    if flags & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let nofollow = if flags & AT_SYMLINK_FOLLOW != 0 {
        0
    } else {
        AT_SYMLINK_NOFOLLOW
    };
    kernel.mode_at(
        task,
        args.int(0),
        args.0[1],
        nofollow | flags & AT_EMPTY_PATH,
    )?;
    make(kernel, task, args.int(2), args.0[3], false)
}

/// rmdir(2).
pub fn sys_rmdir(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    remove(kernel, task, AT_FDCWD, args.0[0], true)
}

/// unlink(2).
pub fn sys_unlink(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    remove(kernel, task, AT_FDCWD, args.0[0], false)
}

/// unlinkat(2).
pub fn sys_unlinkat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let flags = args.uint(2);
    if flags & !AT_REMOVEDIR != 0 {
        return Err(Errno::EINVAL);
    }
    remove(kernel, task, args.int(0), args.0[1], flags != 0)
}

/// rename(2).
pub fn sys_rename(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    rename(
        kernel,
        task,
        (AT_FDCWD, args.0[0]),
        (AT_FDCWD, args.0[1]),
        0,
    )
}

/// renameat(2).
pub fn sys_renameat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    rename(
        kernel,
        task,
        (args.int(0), args.0[1]),
        (args.int(2), args.0[3]),
        0,
    )
}

/// renameat2(2).
pub fn sys_renameat2(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    rename(
        kernel,
        task,
        (args.int(0), args.0[1]),
        (args.int(2), args.0[3]),
        args.uint(4),
    )
}

/// Linux's filename_create: EEXIST comes before EROFS, and a file's name may not end in a slash.
fn make(
    kernel: &mut Kernel,
    task: TaskId,
    dirfd: i32,
    path: u64,
    directory: bool,
) -> SyscallResult {
    let path = kernel.read_path(task, path)?;
    let walk = kernel.walk_at(task, dirfd, &path, LastLink::Keep)?;
    if walk.inode.is_some() {
        return Err(Errno::EEXIST);
    }
    Err(if walk.trailing_slash && !directory {
        Errno::ENOENT
    } else {
        Errno::EROFS
    })
}

fn make_node(kernel: &mut Kernel, task: TaskId, dirfd: i32, path: u64, mode: u32) -> SyscallResult {
    match mode & S_IFMT {
        S_IFDIR => Err(Errno::EPERM),
        0 | S_IFREG | S_IFCHR | S_IFBLK | S_IFIFO | S_IFSOCK => {
            make(kernel, task, dirfd, path, false)
        }
        _ => Err(Errno::EINVAL),
    }
}

fn make_link(
    kernel: &mut Kernel,
    task: TaskId,
    target: u64,
    dirfd: i32,
    path: u64,
) -> SyscallResult {
    if kernel.read_path(task, target)?.is_empty() {
        return Err(Errno::ENOENT);
    }
    make(kernel, task, dirfd, path, false)
}

/// Linux asks whether the mount is writable before it looks for the name.
fn remove(
    kernel: &mut Kernel,
    task: TaskId,
    dirfd: i32,
    path: u64,
    directory: bool,
) -> SyscallResult {
    let path = kernel.read_path(task, path)?;
    let walk = kernel.walk_at(task, dirfd, &path, LastLink::Keep)?;
    Err(match (walk.last, directory) {
        (Last::Name(_), _) => Errno::EROFS,
        (_, false) => Errno::EISDIR,
        (Last::Root, true) => Errno::EBUSY,
        (Last::Dot, true) => Errno::EINVAL,
        (Last::DotDot, true) => Errno::ENOTEMPTY,
    })
}

fn rename(
    kernel: &mut Kernel,
    task: TaskId,
    old: (i32, u64),
    new: (i32, u64),
    flags: u32,
) -> SyscallResult {
    let excluded = RENAME_NOREPLACE | RENAME_WHITEOUT;
    if flags & !(excluded | RENAME_EXCHANGE) != 0
        || (flags & RENAME_EXCHANGE != 0 && flags & excluded != 0)
    {
        return Err(Errno::EINVAL);
    }
    let (old_path, new_path) = (
        kernel.read_path(task, old.1)?,
        kernel.read_path(task, new.1)?,
    );
    let old = kernel.walk_at(task, old.0, &old_path, LastLink::Keep)?;
    let new = kernel.walk_at(task, new.0, &new_path, LastLink::Keep)?;
    match (old.last, new.last) {
        (Last::Name(_), Last::Name(_)) => Err(Errno::EROFS),
        (Last::Name(_), _) if flags & RENAME_NOREPLACE != 0 => Err(Errno::EEXIST),
        _ => Err(Errno::EBUSY),
    }
}
