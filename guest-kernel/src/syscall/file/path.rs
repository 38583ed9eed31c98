//! Calls that look at a path without opening it: access(2), readlink(2), getcwd(2), chdir(2), umask(2).

use super::{Completion, DONE, SyscallResult, count};
use crate::errno::Errno;
use crate::fs::Inode;
use crate::kernel::Kernel;
use crate::process::task::TaskId;
use crate::syscall::Args;
use forkvm_abi::image::mode::S_IFDIR;
use linux_raw_sys::general::{
    AT_EACCESS, AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, R_OK, W_OK, X_OK,
};

/// access(2).
pub fn sys_access(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    access(kernel, task, AT_FDCWD, args.0[0], args.uint(1), 0)
}

/// faccessat(2), the system call without flags.
pub fn sys_faccessat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    access(kernel, task, args.int(0), args.0[1], args.uint(2), 0)
}

/// faccessat2(2).
pub fn sys_faccessat2(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    access(
        kernel,
        task,
        args.int(0),
        args.0[1],
        args.uint(2),
        args.uint(3),
    )
}

fn access(
    kernel: &mut Kernel,
    task: TaskId,
    dirfd: i32,
    path: u64,
    wanted: u32,
    flags: u32,
) -> SyscallResult {
    if wanted & !(R_OK | W_OK | X_OK) != 0
        || flags & !(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0
    {
        return Err(Errno::EINVAL);
    }
    let path = kernel.read_path(task, path)?;
    let metadata = kernel
        .fs
        .metadata(kernel.resolve_at(task, dirfd, &path, flags)?);
    // Root may do anything, except execute a file that nobody may.
    if wanted & X_OK != 0 && !metadata.is(S_IFDIR) && metadata.mode & 0o111 == 0 {
        return Err(Errno::EACCES);
    }
    DONE
}

/// readlink(2).
pub fn sys_readlink(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    read_link(kernel, task, AT_FDCWD, args.0[0], args.0[1], args.int(2))
}

/// readlinkat(2). An empty path means the link that `dirfd` was opened on with O_PATH.
pub fn sys_readlinkat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    read_link(kernel, task, args.int(0), args.0[1], args.0[2], args.int(3))
}

fn read_link(
    kernel: &mut Kernel,
    task: TaskId,
    dirfd: i32,
    path: u64,
    buffer: u64,
    size: i32,
) -> SyscallResult {
    let size = usize::try_from(size)
        .ok()
        .filter(|size| *size > 0)
        .ok_or(Errno::EINVAL)?;
    let path = kernel.read_path(task, path)?;
    let inode = kernel.resolve_at(task, dirfd, &path, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)?;
    let target = kernel
        .fs
        .read_link(inode, &kernel.view(task))
        .map_err(|error| match error {
            Errno::EINVAL if path.is_empty() => Errno::ENOENT,
            error => error,
        })?;
    let shown = &target[..target.len().min(size)];
    kernel.user(task).write_bytes(buffer, shown)?;
    count(shown.len())
}

/// getcwd(2): the system call returns the length, NUL included.
pub fn sys_getcwd(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let context = &kernel.fs.contexts[kernel.context(task)];
    let mut path = kernel.fs.path_below(context.root, context.cwd)?;
    path.push(0);
    if path.len() as u64 > args.0[1] {
        return Err(Errno::ERANGE);
    }
    kernel.user(task).write_bytes(args.0[0], &path)?;
    count(path.len())
}

/// chdir(2).
pub fn sys_chdir(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let path = kernel.read_path(task, args.0[0])?;
    let inode = kernel.resolve_at(task, AT_FDCWD, &path, 0)?;
    change_directory(kernel, task, inode)
}

/// fchdir(2).
pub fn sys_fchdir(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let inode = kernel.fs.inode_of(kernel.table(task), args.int(0))?;
    change_directory(kernel, task, inode)
}

fn change_directory(kernel: &mut Kernel, task: TaskId, inode: Inode) -> SyscallResult {
    if !kernel.fs.is_directory(inode) {
        return Err(Errno::ENOTDIR);
    }
    let context = kernel.context(task);
    kernel.fs.change_directory(context, inode);
    kernel.settle_files();
    DONE
}

/// chroot(2). EPERM without privilege.
pub fn sys_chroot(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let path = kernel.read_path(task, args.0[0])?;
    let inode = kernel.resolve_at(task, AT_FDCWD, &path, 0)?;
    if !kernel.fs.is_directory(inode) {
        return Err(Errno::ENOTDIR);
    }
    if !kernel.tasks[task].credentials.is_privileged() {
        return Err(Errno::EPERM);
    }
    let context = kernel.context(task);
    kernel.fs.change_root(context, inode);
    kernel.settle_files();
    DONE
}

/// umask(2).
pub fn sys_umask(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let context = kernel.context(task);
    let old = core::mem::replace(&mut kernel.fs.contexts[context].umask, args.uint(0) & 0o777);
    Ok(Completion::Value(u64::from(old)))
}
