//! How bytes get from files to programs and back: Linux's iov_iter in two traits.
//!
//! A file offers bytes to a [`Sink`] or takes them from a [`Source`] and need not know whether one
//! buffer, a thousand (readv), or another file (sendfile) is behind it. Both say how many bytes
//! they moved; less than was possible means that the program's memory ends there (EFAULT, or a
//! short count if something was moved before).

use crate::errno::Errno;
use crate::memory::phys::Page;
use crate::memory::{Frames, UserMemory};
use forkvm_abi::layout::USER_END;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes that one call moves at most (Linux's MAX_RW_COUNT).
pub const MAX_TRANSFER: u64 = 0x7fff_f000;

/// Zeros to offer.
static ZEROS: Page = [0; size_of::<Page>()];

/// Where the bytes of a read go.
pub trait Sink {
    /// Bytes it still takes.
    fn room(&self) -> usize;
    /// Takes bytes, no more than it has room for; how many. Fewer: the next one is not writable.
    fn put(&mut self, bytes: &[u8]) -> usize;
    /// Where frames go that are empty now.
    fn frames(&mut self) -> &mut Frames;
}

/// Where the bytes of a write come from.
pub trait Source {
    /// Bytes it still has.
    fn left(&self) -> usize;
    /// Gives bytes, no more than it has left; how many. Fewer: the next one is not readable.
    fn take(&mut self, into: &mut [u8]) -> usize;
    /// Passes over bytes without looking at them.
    fn skip(&mut self, count: usize);
    /// Where frames come from to hold them.
    fn frames(&mut self) -> &mut Frames;
}

/// Fills a sink with zeros; how many it took.
pub fn put_zeros(sink: &mut dyn Sink) -> usize {
    let mut moved = 0;
    while sink.room() > 0 {
        let chunk = sink.room().min(ZEROS.len());
        let taken = sink.put(&ZEROS[..chunk]);
        moved += taken;
        if taken < chunk {
            break;
        }
    }
    moved
}

/// A buffer of the program: struct iovec (readv(2)).
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Segment {
    /// User address.
    pub base: u64,
    /// Bytes.
    pub len: u64,
}

impl Segment {
    /// A buffer that can lie in user space. EFAULT. Whether it is mapped shows when it is used.
    pub fn checked(base: u64, len: u64) -> Result<Self, Errno> {
        match base.checked_add(len) {
            Some(end) if end <= USER_END => Ok(Self { base, len }),
            _ => Err(Errno::EFAULT),
        }
    }
}

/// The buffers of one call, used up from the front.
#[derive(Debug)]
pub struct UserBuffers<'a> {
    user: UserMemory<'a>,
    segments: &'a [Segment],
    /// Bytes of the first segment that are used up.
    offset: u64,
    left: usize,
}

impl<'a> UserBuffers<'a> {
    /// Over checked segments; beyond [`MAX_TRANSFER`] bytes the rest is left alone.
    pub fn new(user: UserMemory<'a>, segments: &'a [Segment]) -> Self {
        let total = segments
            .iter()
            .fold(0u64, |sum, segment| sum.saturating_add(segment.len))
            .min(MAX_TRANSFER);
        Self {
            user,
            segments,
            offset: 0,
            left: usize::try_from(total).expect("the limit fits"),
        }
    }

    /// Takes no more than `bytes` from here on.
    pub fn limit(&mut self, bytes: u64) {
        self.left = self.left.min(usize::try_from(bytes).unwrap_or(usize::MAX));
    }

    /// The current buffer's address and how much of `wanted` it holds.
    fn front(&mut self, wanted: usize) -> Option<(u64, usize)> {
        while let [first, rest @ ..] = self.segments {
            if self.offset < first.len {
                let room = usize::try_from(first.len - self.offset).unwrap_or(usize::MAX);
                return Some((first.base + self.offset, room.min(wanted).min(self.left)));
            }
            self.segments = rest;
            self.offset = 0;
        }
        None
    }

    fn advance(&mut self, count: usize) {
        self.offset += count as u64;
        self.left -= count;
    }
}

impl Sink for UserBuffers<'_> {
    fn room(&self) -> usize {
        self.left
    }

    fn put(&mut self, bytes: &[u8]) -> usize {
        let mut moved = 0;
        while moved < bytes.len()
            && let Some((address, len)) = self.front(bytes.len() - moved)
            && len > 0
        {
            let mut written = 0;
            // On a fault the pieces before it have been written and counted.
            let result = self.user.with_bytes_mut(address, len as u64, |piece| {
                let from = moved + written;
                piece.copy_from_slice(&bytes[from..from + piece.len()]);
                written += piece.len();
            });
            self.advance(written);
            moved += written;
            if result.is_err() {
                break;
            }
        }
        moved
    }

    fn frames(&mut self) -> &mut Frames {
        self.user.frames
    }
}

impl Source for UserBuffers<'_> {
    fn left(&self) -> usize {
        self.left
    }

    fn take(&mut self, into: &mut [u8]) -> usize {
        let mut moved = 0;
        while moved < into.len()
            && let Some((address, len)) = self.front(into.len() - moved)
            && len > 0
        {
            let mut read = 0;
            let result = self.user.with_bytes(address, len as u64, |piece| {
                let to = moved + read;
                into[to..to + piece.len()].copy_from_slice(piece);
                read += piece.len();
            });
            self.advance(read);
            moved += read;
            if result.is_err() {
                break;
            }
        }
        moved
    }

    fn skip(&mut self, count: usize) {
        let mut count = count;
        while let Some((_, len)) = self.front(count)
            && len > 0
        {
            self.advance(len);
            count -= len;
        }
    }

    fn frames(&mut self) -> &mut Frames {
        self.user.frames
    }
}

/// Bytes the kernel has at hand, as a source (sendfile).
#[derive(Debug)]
pub struct Bytes<'a> {
    /// What is left of them.
    pub bytes: &'a [u8],
    /// Where frames come from to hold them.
    pub frames: &'a mut Frames,
}

impl Source for Bytes<'_> {
    fn left(&self) -> usize {
        self.bytes.len()
    }

    fn take(&mut self, into: &mut [u8]) -> usize {
        let (now, later) = self.bytes.split_at(into.len().min(self.bytes.len()));
        into[..now.len()].copy_from_slice(now);
        self.bytes = later;
        now.len()
    }

    fn skip(&mut self, count: usize) {
        self.bytes = &self.bytes[count.min(self.bytes.len())..];
    }

    fn frames(&mut self) -> &mut Frames {
        self.frames
    }
}

/// Memory of the kernel's, as a sink (sendfile).
#[derive(Debug)]
pub struct Buffer<'a> {
    bytes: &'a mut [u8],
    used: usize,
    frames: &'a mut Frames,
}

impl<'a> Buffer<'a> {
    /// An empty one.
    pub fn new(bytes: &'a mut [u8], frames: &'a mut Frames) -> Self {
        Self {
            bytes,
            used: 0,
            frames,
        }
    }
}

impl Sink for Buffer<'_> {
    fn room(&self) -> usize {
        self.bytes.len() - self.used
    }

    fn put(&mut self, bytes: &[u8]) -> usize {
        self.bytes[self.used..self.used + bytes.len()].copy_from_slice(bytes);
        self.used += bytes.len();
        bytes.len()
    }

    fn frames(&mut self) -> &mut Frames {
        self.frames
    }
}
