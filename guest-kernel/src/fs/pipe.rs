//! Pipes, as pipe(7) and Linux's fs/pipe.c have them: a queue of page-sized buffers.
//!
//! In:  a [`Source`] from the writers, a [`Sink`] from the readers; EAGAIN when the other side has to move first,
//!      and the caller parks or not.
//! Out: the same bytes in the same order. Frames are taken as bytes arrive and given back as they leave;
//!      an empty pipe holds none.
//!
//! A write of up to PIPE_BUF bytes is atomic because it goes whole into the last buffer or whole
//! into a fresh one. How small writes share a buffer decides when a pipe is full, which programs
//! can see, so it follows Linux.

use super::io::{Sink, Source};
use super::wait::WaitQueue;
use crate::errno::Errno;
use crate::memory::Frame;
use crate::memory::phys::{Page, PhysWindow};
use crate::process::task::TaskId;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use forkvm_abi::inspect::FrameUse;

/// Buffers of a new pipe: 64 KiB.
pub const DEFAULT_BUFFERS: usize = 16;
/// Bytes F_SETPIPE_SZ grants at most (fs.pipe-max-size).
pub const MAX_BYTES: u64 = 1 << 20;

const PAGE: usize = size_of::<Page>();

/// A page or less of bytes on their way.
#[derive(Clone, Copy, Debug)]
struct Buffer {
    frame: Frame,
    start: u16,
    len: u16,
    /// Written with O_DIRECT: one read takes it, whole or not (pipe2(2)).
    packet: bool,
}

impl Buffer {
    fn end(self) -> usize {
        usize::from(self.start) + usize::from(self.len)
    }
}

/// A pipe.
#[derive(Debug)]
pub struct Pipe {
    /// st_ino.
    pub number: u64,
    /// Open files that read from it.
    pub readers: u32,
    /// Open files that write to it.
    pub writers: u32,
    /// How often it has been opened for reading, and for writing: who opens a FIFO waits for the other number to change.
    pub opened: [u32; 2],
    buffers: VecDeque<Buffer>,
    limit: usize,
    waiting_readers: WaitQueue,
    waiting_writers: WaitQueue,
}

impl Pipe {
    /// An empty pipe with one open file at each end.
    pub fn new(number: u64) -> Self {
        Self {
            number,
            readers: 1,
            writers: 1,
            opened: [1; 2],
            buffers: VecDeque::new(),
            limit: DEFAULT_BUFFERS,
            waiting_readers: WaitQueue::new(),
            waiting_writers: WaitQueue::new(),
        }
    }

    /// The pipe of a FIFO that nobody has open yet.
    pub fn of_fifo(number: u64) -> Self {
        Self {
            readers: 0,
            writers: 0,
            opened: [0; 2],
            ..Self::new(number)
        }
    }

    /// Moves what there is to the sink; how many bytes. 0 at the end (no writers), EAGAIN if writers may still come up with something.
    pub fn read(
        &mut self,
        window: PhysWindow,
        sink: &mut dyn Sink,
        woken: &mut Vec<TaskId>,
    ) -> Result<usize, Errno> {
        if sink.room() == 0 {
            return Ok(0);
        }
        if self.buffers.is_empty() {
            return if self.writers == 0 {
                Ok(0)
            } else {
                Err(Errno::EAGAIN)
            };
        }
        let mut moved = 0;
        while sink.room() > 0
            && let Some(front) = self.buffers.front_mut()
        {
            let count = sink.room().min(usize::from(front.len));
            let start = usize::from(front.start);
            if sink.put(&window.page(front.frame)[start..start + count]) < count {
                // As Linux: bytes of the buffer that faulted stay in the pipe.
                if moved == 0 {
                    return Err(Errno::EFAULT);
                }
                break;
            }
            moved += count;
            let packet = front.packet;
            front.start += small(count);
            front.len -= small(count);
            if packet || front.len == 0 {
                sink.frames().release(front.frame);
                self.buffers.pop_front();
                self.waiting_writers.wake(woken);
            }
            if packet {
                break;
            }
        }
        Ok(moved)
    }

    /// Takes what fits from the source; how many bytes. EAGAIN if there is no room for any (for all, up to PIPE_BUF), EPIPE without readers.
    pub fn write(
        &mut self,
        window: PhysWindow,
        source: &mut dyn Source,
        packets: bool,
        woken: &mut Vec<TaskId>,
    ) -> Result<usize, Errno> {
        if source.left() == 0 {
            return Ok(0);
        }
        if self.readers == 0 {
            return Err(Errno::EPIPE);
        }
        let mut moved = 0;
        let result = loop {
            if source.left() == 0 {
                break Ok(moved);
            }
            let step = if moved == 0 && !packets {
                self.append(window, source)
            } else {
                None
            };
            match step.unwrap_or_else(|| self.add_buffer(window, source, packets)) {
                Ok(count) => moved += count,
                Err(error) => break if moved > 0 { Ok(moved) } else { Err(error) },
            }
        };
        if moved > 0 {
            self.waiting_readers.wake(woken);
        }
        result
    }

    /// Puts the odd bytes of a write (those beyond whole pages) behind the last buffer's, if they fit there; `None` if not.
    fn append(
        &mut self,
        mut window: PhysWindow,
        source: &mut dyn Source,
    ) -> Option<Result<usize, Errno>> {
        let odd = source.left() % PAGE;
        let last = self
            .buffers
            .back_mut()
            .filter(|last| !last.packet && odd > 0 && last.end() + odd <= PAGE)?;
        let end = last.end();
        if source.take(&mut window.page_mut(last.frame)[end..end + odd]) < odd {
            return Some(Err(Errno::EFAULT));
        }
        last.len += small(odd);
        Some(Ok(odd))
    }

    fn add_buffer(
        &mut self,
        mut window: PhysWindow,
        source: &mut dyn Source,
        packet: bool,
    ) -> Result<usize, Errno> {
        if self.buffers.len() >= self.limit {
            return Err(Errno::EAGAIN);
        }
        let count = source.left().min(PAGE);
        let frame = source
            .frames()
            .allocate(FrameUse::Kernel)
            .map_err(|_| Errno::ENOMEM)?;
        if source.take(&mut window.page_mut(frame)[..count]) < count {
            source.frames().release(frame);
            return Err(Errno::EFAULT);
        }
        self.buffers.push_back(Buffer {
            frame,
            start: 0,
            len: small(count),
            packet,
        });
        Ok(count)
    }

    /// Bytes on their way (FIONREAD).
    pub fn len(&self) -> usize {
        self.buffers
            .iter()
            .map(|buffer| usize::from(buffer.len))
            .sum()
    }

    /// A read would find nothing.
    pub fn is_empty(&self) -> bool {
        self.buffers.is_empty()
    }

    /// A write of a page would find no room.
    pub fn is_full(&self) -> bool {
        self.buffers.len() >= self.limit
    }

    /// Bytes that a write finds room for at least.
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.buffers.len()) * PAGE
    }

    /// Bytes it holds at most (F_GETPIPE_SZ).
    pub fn capacity(&self) -> usize {
        self.limit * PAGE
    }

    /// F_SETPIPE_SZ: the new capacity, rounded up to a power of two pages. EINVAL above 2 GiB, EPERM above the system's
    /// maximum, EBUSY if more is in the pipe.
    pub fn set_capacity(&mut self, bytes: u64, woken: &mut Vec<TaskId>) -> Result<usize, Errno> {
        if bytes > 1 << 31 {
            return Err(Errno::EINVAL);
        }
        if bytes > MAX_BYTES {
            return Err(Errno::EPERM);
        }
        let limit = usize::try_from(bytes)
            .expect("at most MAX_BYTES")
            .div_ceil(PAGE)
            .next_power_of_two();
        if limit < self.buffers.len() {
            return Err(Errno::EBUSY);
        }
        self.limit = limit;
        self.waiting_writers.wake(woken);
        Ok(self.capacity())
    }

    /// The task is woken when there may be something to read, or nothing ever again.
    pub fn wait_readable(&mut self, task: TaskId) {
        self.waiting_readers.push(task);
    }

    /// The task is woken when there may be room, or never any use for it.
    pub fn wait_writable(&mut self, task: TaskId) {
        self.waiting_writers.push(task);
    }

    /// An end was closed: everybody looks again.
    pub fn wake_all(&mut self, woken: &mut Vec<TaskId>) {
        self.waiting_readers.wake(woken);
        self.waiting_writers.wake(woken);
    }

    /// The frames of what nobody will read any more.
    pub fn into_frames(self) -> impl Iterator<Item = Frame> {
        self.buffers.into_iter().map(|buffer| buffer.frame)
    }
}

#[allow(clippy::cast_possible_truncation, reason = "at most a page")]
fn small(count: usize) -> u16 {
    count as u16
}
