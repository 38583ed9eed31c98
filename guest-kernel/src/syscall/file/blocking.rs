//! How bytes move between a file and a program's buffers: all reads end in [`Kernel::read_file`], all
//! writes in [`Kernel::write_file`]. These know how a call waits, is taken up again where it
//! stopped, and raises SIGPIPE.

use super::{Completion, SyscallResult, count};
use crate::arena::Id;
use crate::errno::Errno;
use crate::fs::OpenFile;
use crate::fs::io::{Segment, Source, UserBuffers};
use crate::kernel::Kernel;
use crate::memory::UserMemory;
use crate::process::signal::SignalInfo;
use crate::process::task::{Progress, TaskId};
use alloc::vec::Vec;
use linux_raw_sys::general::{POLLIN, POLLOUT, SIGPIPE, UIO_MAXIOV};
use zerocopy::IntoBytes;

impl Kernel {
    /// An open file that may be read. EBADF.
    pub(super) fn readable(&self, task: TaskId, fd: i32) -> Result<Id<OpenFile>, Errno> {
        let file = self.fs.file(self.table(task), fd)?;
        if self.fs.files[file].readable() {
            Ok(file)
        } else {
            Err(Errno::EBADF)
        }
    }

    /// An open file that may be written. EBADF.
    pub(super) fn writable(&self, task: TaskId, fd: i32) -> Result<Id<OpenFile>, Errno> {
        let file = self.fs.file(self.table(task), fd)?;
        if self.fs.files[file].writable() {
            Ok(file)
        } else {
            Err(Errno::EBADF)
        }
    }

    /// An open file that has a position. EBADF, ESPIPE.
    pub(super) fn seekable(&self, task: TaskId, fd: i32) -> Result<(), Errno> {
        let file = self.fs.file(self.table(task), fd)?;
        if self.fs.files[file].seekable() {
            Ok(())
        } else {
            Err(Errno::ESPIPE)
        }
    }

    /// struct iovec records from the program. EINVAL for more than UIO_MAXIOV or a negative length; EFAULT.
    pub(super) fn read_segments(
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
    pub(super) fn read_file(
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
    pub(super) fn write_file(
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
        let room = match self.fs.place_of_write(file, at) {
            Some(place) if segments.iter().any(|segment| segment.len > 0) => {
                self.room_below_limit(task, place)?
            }
            _ => u64::MAX,
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
        buffers.limit(room);
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
        if !self.fs.stale.is_empty() {
            self.settle_files();
        }
        self.finish_write(task, file, done + moved, result)
    }

    /// What a write returns that has moved `done` bytes before it came to `result`.
    pub(super) fn finish_write(
        &mut self,
        task: TaskId,
        file: Id<OpenFile>,
        done: u64,
        result: Result<usize, Errno>,
    ) -> SyscallResult {
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
