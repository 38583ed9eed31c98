//! Calls that change what an inode says: chmod(2), chown(2), utimensat(2) and their kin (Linux:
//! fs/open.c, fs/utimes.c, fs/attr.c).

use super::{DONE, SyscallResult};
use crate::errno::Errno;
use crate::fs::Inode;
use crate::fs::inode::Timestamp;
use crate::kernel::Kernel;
use crate::process::task::TaskId;
use crate::syscall::Args;
use crate::time::NANOS;
use linux_raw_sys::general::{
    AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_PATH, S_IFLNK, UTIME_NOW, UTIME_OMIT,
};

/// chmod(2).
pub fn sys_chmod(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let inode = inode_at(kernel, task, AT_FDCWD, args.0[0], 0)?;
    change_mode(kernel, inode, args.uint(1))
}

/// fchmod(2).
pub fn sys_fchmod(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let inode = open_inode(kernel, task, args.int(0))?;
    change_mode(kernel, inode, args.uint(1))
}

/// fchmodat(2): no flags in the system call.
pub fn sys_fchmodat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let inode = inode_at(kernel, task, args.int(0), args.0[1], 0)?;
    change_mode(kernel, inode, args.uint(2))
}

/// fchmodat2(2).
pub fn sys_fchmodat2(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let flags = known_flags(args.uint(3))?;
    let inode = inode_at(kernel, task, args.int(0), args.0[1], flags)?;
    change_mode(kernel, inode, args.uint(2))
}

/// chown(2).
pub fn sys_chown(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let inode = inode_at(kernel, task, AT_FDCWD, args.0[0], 0)?;
    change_owner(kernel, inode, args.uint(1), args.uint(2))
}

/// lchown(2): the path is not followed.
pub fn sys_lchown(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let inode = inode_at(kernel, task, AT_FDCWD, args.0[0], AT_SYMLINK_NOFOLLOW)?;
    change_owner(kernel, inode, args.uint(1), args.uint(2))
}

/// fchown(2).
pub fn sys_fchown(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let inode = open_inode(kernel, task, args.int(0))?;
    change_owner(kernel, inode, args.uint(1), args.uint(2))
}

/// fchownat(2).
pub fn sys_fchownat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let flags = known_flags(args.uint(4))?;
    let inode = inode_at(kernel, task, args.int(0), args.0[1], flags)?;
    change_owner(kernel, inode, args.uint(2), args.uint(3))
}

/// utime(2): seconds.
pub fn sys_utime(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let times = match args.0[1] {
        0 => [(0, i64::from(UTIME_NOW)); 2],
        address => kernel
            .user(task)
            .read::<[i64; 2]>(address)?
            .map(|seconds| (seconds, 0)),
    };
    let inode = inode_at(kernel, task, AT_FDCWD, args.0[0], 0)?;
    change_times(kernel, inode, times)
}

/// utimes(2): microseconds.
pub fn sys_utimes(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let times = read_microseconds(kernel, task, args.0[1])?;
    let inode = inode_at(kernel, task, AT_FDCWD, args.0[0], 0)?;
    change_times(kernel, inode, times)
}

/// futimesat(2). Without a path it is about the descriptor.
pub fn sys_futimesat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let times = read_microseconds(kernel, task, args.0[2])?;
    let inode = match args.0[1] {
        0 => open_inode(kernel, task, args.int(0))?,
        path => inode_at(kernel, task, args.int(0), path, 0)?,
    };
    change_times(kernel, inode, times)
}

/// utimensat(2). Without a path it is futimens(3) on the descriptor.
pub fn sys_utimensat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let omit = i64::from(UTIME_OMIT);
    let times = match args.0[2] {
        0 => [(0, i64::from(UTIME_NOW)); 2],
        address => {
            let [one, two, three, four]: [i64; 4] = kernel.user(task).read(address)?;
            [(one, two), (three, four)]
        }
    };
    // Nothing to do: Linux does not even look at the path.
    if times[0].1 == omit && times[1].1 == omit {
        return DONE;
    }
    let flags = args.uint(3);
    let inode = if args.0[1] == 0 && args.int(0) != AT_FDCWD {
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        open_inode(kernel, task, args.int(0))?
    } else {
        let flags = known_flags(flags)?;
        inode_at(kernel, task, args.int(0), args.0[1], flags)?
    };
    change_times(kernel, inode, times)
}

/// setxattr(2) and its kin: no extended attributes here, as on a file system mounted without them.
pub fn sys_no_xattr(_kernel: &mut Kernel, _task: TaskId, _args: &Args) -> SyscallResult {
    Err(Errno::EOPNOTSUPP)
}

/// Two struct timeval, or now.
fn read_microseconds(
    kernel: &mut Kernel,
    task: TaskId,
    address: u64,
) -> Result<[(i64, i64); 2], Errno> {
    if address == 0 {
        return Ok([(0, i64::from(UTIME_NOW)); 2]);
    }
    let [one, two, three, four]: [i64; 4] = kernel.user(task).read(address)?;
    if !(0..1_000_000).contains(&two) || !(0..1_000_000).contains(&four) {
        return Err(Errno::EINVAL);
    }
    Ok([(one, two * 1000), (three, four * 1000)])
}

fn known_flags(flags: u32) -> Result<u32, Errno> {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) == 0 {
        Ok(flags)
    } else {
        Err(Errno::EINVAL)
    }
}

/// What a path leads to. Errors as [`Kernel::resolve_at`], EFAULT.
fn inode_at(
    kernel: &mut Kernel,
    task: TaskId,
    dirfd: i32,
    path: u64,
    flags: u32,
) -> Result<Inode, Errno> {
    let path = kernel.read_path(task, path)?;
    kernel.resolve_at(task, dirfd, &path, flags)
}

/// What is open under a descriptor. EBADF, also for O_PATH.
fn open_inode(kernel: &Kernel, task: TaskId, fd: i32) -> Result<Inode, Errno> {
    let file = &kernel.fs.files[kernel.fs.file(kernel.table(task), fd)?];
    debug_assert_eq!(file.flags & O_PATH, 0);
    Ok(file.inode)
}

fn change_mode(kernel: &mut Kernel, inode: Inode, mode: u32) -> SyscallResult {
    if kernel.fs.metadata(inode).is(S_IFLNK) {
        return Err(Errno::EOPNOTSUPP);
    }
    kernel.fs.set_mode(inode, mode)?;
    DONE
}

fn change_owner(kernel: &mut Kernel, inode: Inode, uid: u32, gid: u32) -> SyscallResult {
    let keep = |id: u32| (id != u32::MAX).then_some(id);
    kernel.fs.set_owner(inode, keep(uid), keep(gid))?;
    DONE
}

/// Access and modification time. EINVAL for nanoseconds that are none.
fn change_times(kernel: &mut Kernel, inode: Inode, times: [(i64, i64); 2]) -> SyscallResult {
    let now = Timestamp::from_nanoseconds(kernel.clock.realtime());
    let mut wanted = [None; 2];
    for (wanted, (seconds, nanoseconds)) in wanted.iter_mut().zip(times) {
        *wanted = match u32::try_from(nanoseconds).map_err(|_| Errno::EINVAL)? {
            UTIME_NOW => Some(now),
            UTIME_OMIT => None,
            nanoseconds if u64::from(nanoseconds) < NANOS => Some(Timestamp {
                seconds,
                nanoseconds,
            }),
            _ => return Err(Errno::EINVAL),
        };
    }
    let [accessed, modified] = wanted;
    kernel.fs.set_times(inode, accessed, modified)?;
    DONE
}
