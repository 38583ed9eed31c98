//! read(2), write(2) and their kin, lseek(2): which file, which buffers, which position.

use super::{Completion, SyscallResult};
use crate::errno::Errno;
use crate::fs::io::Segment;
use crate::kernel::Kernel;
use crate::process::task::TaskId;
use crate::syscall::Args;
use linux_raw_sys::general::{RWF_DSYNC, RWF_HIPRI, RWF_SYNC};

/// read(2).
pub fn sys_read(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let file = kernel.readable(task, args.int(0))?;
    let buffer = one_buffer(args)?;
    kernel.read_file(task, file, None, &[buffer])
}

/// write(2).
pub fn sys_write(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let file = kernel.writable(task, args.int(0))?;
    let buffer = one_buffer(args)?;
    kernel.write_file(task, file, None, &[buffer])
}

/// pread64(2).
pub fn sys_pread64(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let at = position(args.0[3])?;
    let file = kernel
        .seekable(task, args.int(0))
        .and_then(|_| kernel.readable(task, args.int(0)))?;
    let buffer = one_buffer(args)?;
    kernel.read_file(task, file, Some(at), &[buffer])
}

/// pwrite64(2).
pub fn sys_pwrite64(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let at = position(args.0[3])?;
    let file = kernel
        .seekable(task, args.int(0))
        .and_then(|_| kernel.writable(task, args.int(0)))?;
    let buffer = one_buffer(args)?;
    kernel.write_file(task, file, Some(at), &[buffer])
}

/// readv(2).
pub fn sys_readv(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let file = kernel.readable(task, args.int(0))?;
    let buffers = kernel.read_segments(task, args.0[1], args.0[2])?;
    kernel.read_file(task, file, None, &buffers)
}

/// writev(2).
pub fn sys_writev(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let file = kernel.writable(task, args.int(0))?;
    let buffers = kernel.read_segments(task, args.0[1], args.0[2])?;
    kernel.write_file(task, file, None, &buffers)
}

/// preadv(2).
pub fn sys_preadv(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let at = position(args.0[3])?;
    let file = kernel
        .seekable(task, args.int(0))
        .and_then(|_| kernel.readable(task, args.int(0)))?;
    let buffers = kernel.read_segments(task, args.0[1], args.0[2])?;
    kernel.read_file(task, file, Some(at), &buffers)
}

/// pwritev(2).
pub fn sys_pwritev(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let at = position(args.0[3])?;
    let file = kernel
        .seekable(task, args.int(0))
        .and_then(|_| kernel.writable(task, args.int(0)))?;
    let buffers = kernel.read_segments(task, args.0[1], args.0[2])?;
    kernel.write_file(task, file, Some(at), &buffers)
}

/// preadv2(2): the position -1 means the file's own.
pub fn sys_preadv2(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    check_flags(args)?;
    if args.0[3] == u64::MAX {
        sys_readv(kernel, task, args)
    } else {
        sys_preadv(kernel, task, args)
    }
}

/// pwritev2(2): the position -1 means the file's own.
pub fn sys_pwritev2(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    check_flags(args)?;
    if args.0[3] == u64::MAX {
        sys_writev(kernel, task, args)
    } else {
        sys_pwritev(kernel, task, args)
    }
}

/// Flags that ask for what is always so, or for haste, are granted. EOPNOTSUPP.
fn check_flags(args: &Args) -> Result<(), Errno> {
    let granted = RWF_HIPRI | RWF_DSYNC | RWF_SYNC;
    if args.uint(5) & !granted == 0 {
        Ok(())
    } else {
        Err(Errno::EOPNOTSUPP)
    }
}

/// lseek(2).
pub fn sys_lseek(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let file = kernel.fs.file(kernel.table(task), args.int(0))?;
    kernel
        .fs
        .seek(file, args.0[1].cast_signed(), args.uint(2))
        .map(Completion::Value)
}

/// The buffer of read and write: second and third argument. EFAULT, EINVAL.
fn one_buffer(args: &Args) -> Result<Segment, Errno> {
    let segment = Segment::checked(args.0[1], args.0[2])?;
    if segment.len.cast_signed() < 0 {
        Err(Errno::EINVAL)
    } else {
        Ok(segment)
    }
}

/// A position in a file. EINVAL if negative.
pub(super) fn position(argument: u64) -> Result<u64, Errno> {
    if argument.cast_signed() < 0 {
        Err(Errno::EINVAL)
    } else {
        Ok(argument)
    }
}
