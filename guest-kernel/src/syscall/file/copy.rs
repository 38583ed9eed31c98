//! Calls that move bytes from one file to another: sendfile(2), copy_file_range(2), splice(2).
//!
//! Bytes go a page at a time through a buffer on the kernel's stack. What has been taken from a
//! regular file and finds no room is taken again later: its position moves at the very end.

use super::transfer::position;
use super::{Completion, SyscallResult};
use crate::arena::Id;
use crate::errno::Errno;
use crate::fs::OpenFile;
use crate::fs::file::FileKind;
use crate::fs::io::{Buffer, Bytes, MAX_TRANSFER};
use crate::kernel::Kernel;
use crate::memory::address::PAGE_BYTES;
use crate::process::task::{Progress, TaskId};
use crate::syscall::Args;
use linux_raw_sys::general::{O_APPEND, POLLIN, SPLICE_F_NONBLOCK};

/// What to copy.
struct Copy {
    from: Id<OpenFile>,
    to: Id<OpenFile>,
    /// User addresses of positions; 0: the files' own.
    from_at: u64,
    to_at: u64,
    wanted: u64,
}

/// sendfile(2): from anything that can be read like a file to anything.
pub fn sys_sendfile(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let from = kernel.readable(task, args.int(1))?;
    let to = kernel.writable(task, args.int(0))?;
    let kind = kernel.fs.files[from].kind;
    if !matches!(
        kind,
        FileKind::Regular | FileKind::Zero | FileKind::Full | FileKind::Random
    ) {
        return Err(Errno::EINVAL);
    }
    if kernel.fs.files[to].flags & O_APPEND != 0 {
        return Err(Errno::EINVAL);
    }
    let copy = Copy {
        from,
        to,
        from_at: args.0[2],
        to_at: 0,
        wanted: args.0[3].min(MAX_TRANSFER),
    };
    kernel.copy(task, &copy)
}

/// copy_file_range(2): between regular files.
pub fn sys_copy_file_range(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let from = kernel.readable(task, args.int(0))?;
    let to = kernel.writable(task, args.int(2))?;
    if args.uint(5) != 0 {
        return Err(Errno::EINVAL);
    }
    for file in [from, to] {
        match kernel.fs.files[file].kind {
            FileKind::Regular => {}
            FileKind::Directory => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        }
    }
    if kernel.fs.files[to].flags & O_APPEND != 0 {
        return Err(Errno::EBADF);
    }
    let copy = Copy {
        from,
        to,
        from_at: args.0[1],
        to_at: args.0[3],
        wanted: args.0[4].min(MAX_TRANSFER),
    };
    let start = |kernel: &mut Kernel, file, at| match at {
        0 => Ok(kernel.fs.files[file].offset),
        address => position(kernel.user(task).read(address)?),
    };
    let (source, target) = (
        start(kernel, from, copy.from_at)?,
        start(kernel, to, copy.to_at)?,
    );
    let (source_end, target_end) = (
        source.checked_add(copy.wanted).ok_or(Errno::EOVERFLOW)?,
        target.checked_add(copy.wanted).ok_or(Errno::EOVERFLOW)?,
    );
    let same = kernel.fs.files[from].inode == kernel.fs.files[to].inode;
    if same && source < target_end && target < source_end {
        return Err(Errno::EINVAL);
    }
    kernel.copy(task, &copy)
}

/// splice(2): one of the two is a pipe.
pub fn sys_splice(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    if args.0[4] == 0 {
        return Ok(Completion::Value(0));
    }
    if args.uint(5) & !0xf != 0 {
        return Err(Errno::EINVAL);
    }
    let from = kernel.readable(task, args.int(0))?;
    let to = kernel.writable(task, args.int(2))?;
    let is_pipe = |file: Id<OpenFile>| kernel.fs.pipe_of(file).is_some();
    if !is_pipe(from) && !is_pipe(to) {
        return Err(Errno::EINVAL);
    }
    if (is_pipe(from) && args.0[1] != 0) || (is_pipe(to) && args.0[3] != 0) {
        return Err(Errno::ESPIPE);
    }
    if kernel.fs.files[to].flags & O_APPEND != 0 && !is_pipe(to) {
        return Err(Errno::EINVAL);
    }
    if is_pipe(from) && is_pipe(to) && kernel.fs.files[from].inode == kernel.fs.files[to].inode {
        return Err(Errno::EINVAL);
    }
    let copy = Copy {
        from,
        to,
        from_at: args.0[1],
        to_at: args.0[3],
        wanted: args.0[4].min(MAX_TRANSFER),
    };
    if is_pipe(from) {
        kernel.drain_pipe(task, &copy, args.uint(5) & SPLICE_F_NONBLOCK != 0)
    } else {
        kernel.copy(task, &copy)
    }
}

impl Kernel {
    /// Copies from a file with a position.
    fn copy(&mut self, task: TaskId, copy: &Copy) -> SyscallResult {
        let mut done = match self.tasks[task].progress {
            Progress::Bytes(done) => done,
            _ => 0,
        };
        let start = self.position_of(task, copy.from, copy.from_at)?;
        let target = match copy.to_at {
            0 => None,
            address => Some(self.position_of(task, copy.to, address)?),
        };
        let mut bytes = [0; PAGE_BYTES];
        let result = loop {
            let wanted = (copy.wanted - done).min(PAGE_BYTES as u64);
            let wanted = usize::try_from(wanted).expect("at most a page");
            if wanted == 0 {
                break Ok(0);
            }
            let mut buffer = Buffer::new(&mut bytes[..wanted], &mut self.frames);
            let read = self
                .fs
                .read(copy.from, Some(start + done), &mut buffer, &mut self.random);
            let got = match read {
                Ok(0) => break Ok(0),
                Ok(got) => got,
                Err(error) => break Err(error),
            };
            let mut source = Bytes {
                bytes: &bytes[..got],
                frames: &mut self.frames,
            };
            match self
                .fs
                .write(copy.to, target.map(|at| at + done), &mut source)
            {
                Ok(moved) => done += moved as u64,
                Err(error) => break Err(error),
            }
        };
        self.settle_files();
        let moved = match self.finish_write(task, copy.to, done, result)? {
            Completion::Value(moved) => moved,
            parked => return Ok(parked),
        };
        self.move_position(task, copy.from, copy.from_at, start + moved)?;
        if let Some(target) = target {
            self.move_position(task, copy.to, copy.to_at, target + moved)?;
        }
        Ok(Completion::Value(moved))
    }

    /// Takes what a pipe has, no more than there is room for, so that nothing is lost.
    fn drain_pipe(&mut self, task: TaskId, copy: &Copy, nonblocking: bool) -> SyscallResult {
        let room = match self.fs.pipe_of(copy.to) {
            Some(pipe) => pipe.room(),
            None => PAGE_BYTES,
        };
        if room == 0 {
            return self.wait_or_again(task, copy.to, nonblocking, linux_raw_sys::general::POLLOUT);
        }
        let target = match copy.to_at {
            0 => None,
            address => Some(self.position_of(task, copy.to, address)?),
        };
        let mut bytes = [0; PAGE_BYTES];
        let wanted = usize::try_from(copy.wanted)
            .unwrap_or(usize::MAX)
            .min(room)
            .min(PAGE_BYTES);
        let mut buffer = Buffer::new(&mut bytes[..wanted], &mut self.frames);
        let got = match self.fs.read(copy.from, None, &mut buffer, &mut self.random) {
            Ok(0) => return Ok(Completion::Value(0)),
            Ok(got) => got,
            Err(Errno::EAGAIN) => return self.wait_or_again(task, copy.from, nonblocking, POLLIN),
            Err(error) => return Err(error),
        };
        let mut source = Bytes {
            bytes: &bytes[..got],
            frames: &mut self.frames,
        };
        let result = self.fs.write(copy.to, target, &mut source);
        self.settle_files();
        let moved = match self.finish_write(task, copy.to, 0, result)? {
            Completion::Value(moved) => moved,
            parked => return Ok(parked),
        };
        if let Some(target) = target {
            self.move_position(task, copy.to, copy.to_at, target + moved)?;
        }
        Ok(Completion::Value(moved))
    }

    fn wait_or_again(
        &mut self,
        task: TaskId,
        file: Id<OpenFile>,
        nonblocking: bool,
        events: u32,
    ) -> SyscallResult {
        if nonblocking || self.fs.files[file].nonblocking() {
            return Err(Errno::EAGAIN);
        }
        let channel = self.fs.wait_for(file, events, task);
        Ok(Completion::Park {
            channel,
            deadline: None,
        })
    }

    /// A file's own position, or the one the program keeps. EFAULT, EINVAL.
    fn position_of(
        &mut self,
        task: TaskId,
        file: Id<OpenFile>,
        address: u64,
    ) -> Result<u64, Errno> {
        match address {
            0 => Ok(self.fs.files[file].offset),
            address => position(self.user(task).read(address)?),
        }
    }

    fn move_position(
        &mut self,
        task: TaskId,
        file: Id<OpenFile>,
        address: u64,
        to: u64,
    ) -> Result<(), Errno> {
        match address {
            0 => {
                self.fs.files[file].offset = to;
                Ok(())
            }
            address => self.user(task).write(address, &to),
        }
    }
}
