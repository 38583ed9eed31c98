//! Calls that make, remove or move a name. What concerns the syntax of paths is checked here in Linux's
//! order (fs/namei.c: filename_create, do_unlinkat, do_renameat2); the rest is `fs::tree`'s.

use super::{DONE, SyscallResult};
use crate::errno::Errno;
use crate::fs::Inode;
use crate::fs::path::{Last, LastLink, Walk};
use crate::fs::tree::{NewFile, Place};
use crate::kernel::Kernel;
use crate::process::task::TaskId;
use crate::syscall::Args;
use alloc::vec::Vec;
use linux_raw_sys::general::{
    AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW, RENAME_EXCHANGE,
    RENAME_NOREPLACE, RENAME_WHITEOUT, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT,
    S_IFREG, S_IFSOCK,
};

/// mkdir(2).
pub fn sys_mkdir(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    make_directory(kernel, task, AT_FDCWD, args.0[0], args.uint(1))
}

/// mkdirat(2).
pub fn sys_mkdirat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    make_directory(kernel, task, args.int(0), args.0[1], args.uint(2))
}

fn make_directory(
    kernel: &mut Kernel,
    task: TaskId,
    dirfd: i32,
    path: u64,
    mode: u32,
) -> SyscallResult {
    let (directory, name) = free_name(kernel, task, dirfd, path, true)?;
    let permissions = kernel.new_mode(task, mode) & 0o1777;
    make(
        kernel,
        task,
        directory,
        &name,
        S_IFDIR | permissions,
        0,
        &[],
    )
}

/// mknod(2).
pub fn sys_mknod(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    make_node(
        kernel,
        task,
        AT_FDCWD,
        args.0[0],
        args.uint(1),
        args.uint(2),
    )
}

/// mknodat(2).
pub fn sys_mknodat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    make_node(
        kernel,
        task,
        args.int(0),
        args.0[1],
        args.uint(2),
        args.uint(3),
    )
}

fn make_node(
    kernel: &mut Kernel,
    task: TaskId,
    dirfd: i32,
    path: u64,
    mode: u32,
    device: u32,
) -> SyscallResult {
    let kind = match mode & S_IFMT {
        0 => S_IFREG,
        kind @ (S_IFREG | S_IFCHR | S_IFBLK | S_IFIFO | S_IFSOCK) => kind,
        S_IFDIR => return Err(Errno::EPERM),
        _ => return Err(Errno::EINVAL),
    };
    let (directory, name) = free_name(kernel, task, dirfd, path, false)?;
    let is_device = kind == S_IFCHR || kind == S_IFBLK;
    if is_device && !kernel.tasks[task].credentials.is_privileged() {
        return Err(Errno::EPERM);
    }
    let device = if is_device { u64::from(device) } else { 0 };
    let permissions = kernel.new_mode(task, mode);
    make(
        kernel,
        task,
        directory,
        &name,
        kind | permissions,
        device,
        &[],
    )
}

/// symlink(2).
pub fn sys_symlink(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    make_link(kernel, task, args.0[0], AT_FDCWD, args.0[1])
}

/// symlinkat(2).
pub fn sys_symlinkat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    make_link(kernel, task, args.0[0], args.int(1), args.0[2])
}

fn make_link(
    kernel: &mut Kernel,
    task: TaskId,
    target: u64,
    dirfd: i32,
    path: u64,
) -> SyscallResult {
    let target = kernel.read_path(task, target)?;
    if target.is_empty() {
        return Err(Errno::ENOENT);
    }
    let (directory, name) = free_name(kernel, task, dirfd, path, false)?;
    make(kernel, task, directory, &name, S_IFLNK | 0o777, 0, &target)
}

/// link(2).
pub fn sys_link(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    link(
        kernel,
        task,
        (AT_FDCWD, args.0[0]),
        (AT_FDCWD, args.0[1]),
        AT_SYMLINK_NOFOLLOW,
    )
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
    link(
        kernel,
        task,
        (args.int(0), args.0[1]),
        (args.int(2), args.0[3]),
        nofollow | flags & AT_EMPTY_PATH,
    )
}

fn link(
    kernel: &mut Kernel,
    task: TaskId,
    old: (i32, u64),
    new: (i32, u64),
    flags: u32,
) -> SyscallResult {
    let old_path = kernel.read_path(task, old.1)?;
    let inode = kernel.resolve_at(task, old.0, &old_path, flags)?;
    let (directory, name) = free_name(kernel, task, new.0, new.1, false)?;
    kernel.fs.link(inode, directory, &name)?;
    DONE
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

fn remove(
    kernel: &mut Kernel,
    task: TaskId,
    dirfd: i32,
    path: u64,
    directory: bool,
) -> SyscallResult {
    let path = kernel.read_path(task, path)?;
    let walk = kernel.walk_at(task, dirfd, &path, LastLink::Keep)?;
    let place = Place::of(&walk).ok_or(match (walk.last, directory) {
        (_, false) => Errno::EISDIR,
        (Last::Dot, true) => Errno::EINVAL,
        (Last::DotDot, true) => Errno::ENOTEMPTY,
        (Last::Root | Last::Name(_), true) => Errno::EBUSY,
    })?;
    if directory {
        kernel.fs.remove_directory(&place)?;
    } else {
        kernel.fs.unlink(&place)?;
    }
    kernel.settle_files();
    DONE
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

/// renameat2(2), without RENAME_WHITEOUT, which file systems may refuse with EINVAL.
pub fn sys_renameat2(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    rename(
        kernel,
        task,
        (args.int(0), args.0[1]),
        (args.int(2), args.0[3]),
        args.uint(4),
    )
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
    let is_proc = |walk: &Walk<'_>| matches!(walk.directory, Inode::Proc(_));
    if is_proc(&old) != is_proc(&new) {
        return Err(Errno::EXDEV);
    }
    let (old, new) = match (Place::of(&old), Place::of(&new)) {
        (Some(old), Some(new)) => (old, new),
        (Some(_), None) if flags & RENAME_NOREPLACE != 0 => return Err(Errno::EEXIST),
        _ => return Err(Errno::EBUSY),
    };
    if flags & RENAME_WHITEOUT != 0 {
        return Err(Errno::EINVAL);
    }
    kernel.fs.rename(&old, &new, flags)?;
    kernel.settle_files();
    DONE
}

/// Linux's filename_create: the directory, and a name that is free there. EEXIST comes first, and a
/// file's name may not end in a slash.
fn free_name(
    kernel: &mut Kernel,
    task: TaskId,
    dirfd: i32,
    path: u64,
    directory: bool,
) -> Result<(Inode, Vec<u8>), Errno> {
    let path = kernel.read_path(task, path)?;
    let walk = kernel.walk_at(task, dirfd, &path, LastLink::Keep)?;
    match walk.last {
        _ if walk.inode.is_some() => Err(Errno::EEXIST),
        Last::Name(_) if walk.trailing_slash && !directory => Err(Errno::ENOENT),
        Last::Name(name) => Ok((walk.directory, name.to_vec())),
        Last::Root | Last::Dot | Last::DotDot => Err(Errno::EEXIST),
    }
}

fn make(
    kernel: &mut Kernel,
    task: TaskId,
    directory: Inode,
    name: &[u8],
    mode: u32,
    rdev: u64,
    target: &[u8],
) -> SyscallResult {
    let owner = kernel.owner(task);
    let new = NewFile {
        mode,
        owner,
        rdev,
        target,
    };
    kernel.fs.make(directory, name, &new)?;
    DONE
}
