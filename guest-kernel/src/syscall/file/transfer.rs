//! read(2), write(2) and their kin, lseek(2), sendfile(2).
//!
//! All reads end in [`Kernel::read_file`], all writes in [`Kernel::write_file`]: these two know how a
//! call waits, is taken up again where it stopped, and raises SIGPIPE.

use super::{Completion, SyscallResult, count};
use crate::arena::Id;
use crate::errno::Errno;
use crate::fs::OpenFile;
use crate::fs::file::FileKind;
use crate::fs::io::{Bytes, MAX_TRANSFER, Segment, Source, UserBuffers};
use crate::kernel::Kernel;
use crate::memory::{PhysAddr, UserMemory};
use crate::process::signal::SignalInfo;
use crate::process::task::{Progress, TaskId};
use crate::syscall::Args;
use alloc::vec::Vec;
use linux_raw_sys::general::{
    O_APPEND, POLLIN, POLLOUT, RWF_DSYNC, RWF_HIPRI, RWF_SYNC, SIGPIPE, UIO_MAXIOV,
};
use zerocopy::IntoBytes;

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

/// sendfile(2): from a regular file to anything.
pub fn sys_sendfile(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let (offset_address, wanted) = (args.0[2], args.0[3].min(MAX_TRANSFER));
    let from = kernel.readable(task, args.int(1))?;
    let to = kernel.writable(task, args.int(0))?;
    let FileKind::Image { data, size } = kernel.fs.files[from].kind else {
        return Err(Errno::EINVAL);
    };
    if kernel.fs.files[to].flags & O_APPEND != 0 {
        return Err(Errno::EINVAL);
    }
    let start = match offset_address {
        0 => kernel.fs.files[from].offset,
        address => position(kernel.user(task).read(address)?)?,
    };
    let window = kernel.frames.window;
    let bytes = window.bytes(
        PhysAddr(data.0 + start.min(size)),
        wanted.min(size - start.min(size)),
    );
    let mut source = Bytes {
        bytes,
        frames: &mut kernel.frames,
    };
    let result = kernel.fs.write(to, None, &mut source);
    let moved = match kernel.finish_write(task, to, 0, result)? {
        Completion::Value(moved) => moved,
        parked => return Ok(parked),
    };
    match offset_address {
        0 => kernel.fs.files[from].offset = start + moved,
        address => kernel.user(task).write(address, &(start + moved))?,
    }
    Ok(Completion::Value(moved))
}

impl Kernel {
    /// An open file that may be read. EBADF.
    fn readable(&self, task: TaskId, fd: i32) -> Result<Id<OpenFile>, Errno> {
        let file = self.fs.file(self.table(task), fd)?;
        if self.fs.files[file].readable() {
            Ok(file)
        } else {
            Err(Errno::EBADF)
        }
    }

    /// An open file that may be written. EBADF.
    fn writable(&self, task: TaskId, fd: i32) -> Result<Id<OpenFile>, Errno> {
        let file = self.fs.file(self.table(task), fd)?;
        if self.fs.files[file].writable() {
            Ok(file)
        } else {
            Err(Errno::EBADF)
        }
    }

    /// An open file that has a position. EBADF, ESPIPE.
    fn seekable(&self, task: TaskId, fd: i32) -> Result<(), Errno> {
        let file = self.fs.file(self.table(task), fd)?;
        if self.fs.files[file].seekable() {
            Ok(())
        } else {
            Err(Errno::ESPIPE)
        }
    }

    /// struct iovec records from the program. EINVAL for more than UIO_MAXIOV or a negative length; EFAULT.
    fn read_segments(
        &mut self,
        task: TaskId,
        address: u64,
        count: u64,
    ) -> Result<Vec<Segment>, Errno> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > UIO_MAXIOV as usize {
            return Err(Errno::EINVAL);
        }
        let mut segments = alloc::vec![Segment::default(); count];
        self.user(task)
            .read_bytes(address, segments.as_mut_bytes())?;
        for segment in &segments {
            if segment.len.cast_signed() < 0 {
                return Err(Errno::EINVAL);
            }
            Segment::checked(segment.base, segment.len)?;
        }
        Ok(segments)
    }

    /// Reads into the program's buffers, or waits until there is something to read.
    fn read_file(
        &mut self,
        task: TaskId,
        file: Id<OpenFile>,
        at: Option<u64>,
        segments: &[Segment],
    ) -> SyscallResult {
        let space = self.tasks[task]
            .space
            .expect("a task in a system call has an address space");
        let user = UserMemory {
            space: &mut self.spaces[space],
            frames: &mut self.frames,
        };
        let result = self.fs.read(
            file,
            at,
            &mut UserBuffers::new(user, segments),
            &mut self.random,
        );
        self.settle_files();
        match result {
            Ok(moved) => count(moved),
            Err(Errno::EAGAIN) if !self.fs.files[file].nonblocking() => {
                let channel = self.fs.wait_for(file, POLLIN, task);
                Ok(Completion::Park {
                    channel,
                    deadline: None,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Writes the program's buffers, waiting for room as often as it takes to write all.
    fn write_file(
        &mut self,
        task: TaskId,
        file: Id<OpenFile>,
        at: Option<u64>,
        segments: &[Segment],
    ) -> SyscallResult {
        let done = match self.tasks[task].progress {
            Progress::Bytes(done) => done,
            _ => 0,
        };
        let space = self.tasks[task]
            .space
            .expect("a task in a system call has an address space");
        let user = UserMemory {
            space: &mut self.spaces[space],
            frames: &mut self.frames,
        };
        let mut buffers = UserBuffers::new(user, segments);
        buffers.skip(usize::try_from(done).unwrap_or(usize::MAX));
        let mut moved = 0;
        let result = loop {
            match self.fs.write(file, at.map(|at| at + moved), &mut buffers) {
                Ok(count) => moved += count as u64,
                Err(error) => break Err(error),
            }
            // After a short count the next attempt tells why: a fault, no reader, no room.
            if buffers.left() == 0 {
                break Ok(0);
            }
        };
        self.finish_write(task, file, done + moved, result)
    }

    /// What a write returns that has moved `done` bytes before it came to `result`.
    fn finish_write(
        &mut self,
        task: TaskId,
        file: Id<OpenFile>,
        done: u64,
        result: Result<usize, Errno>,
    ) -> SyscallResult {
        self.settle_files();
        match result {
            Ok(moved) => Ok(Completion::Value(done + moved as u64)),
            Err(Errno::EAGAIN) if !self.fs.files[file].nonblocking() => {
                self.tasks[task].progress = Progress::Bytes(done);
                let channel = self.fs.wait_for(file, POLLOUT, task);
                Ok(Completion::Park {
                    channel,
                    deadline: None,
                })
            }
            Err(error) => {
                if error == Errno::EPIPE {
                    let pid = self.tasks[task].record.tgid;
                    self.signal_task(task, SignalInfo::from_process(SIGPIPE, pid));
                }
                if done > 0 {
                    Ok(Completion::Value(done))
                } else {
                    Err(error)
                }
            }
        }
    }
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
fn position(argument: u64) -> Result<u64, Errno> {
    if argument.cast_signed() < 0 {
        Err(Errno::EINVAL)
    } else {
        Ok(argument)
    }
}
