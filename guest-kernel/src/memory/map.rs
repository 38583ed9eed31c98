//! mmap(2), munmap(2), mprotect(2), mremap(2), madvise(2), brk(2) on an address space.

use super::frames::Frames;
use super::space::{AddressSpace, Backing, Protection};
use crate::errno::Errno;

/// Where a mapping goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Anywhere; the hint is taken if free (mmap without MAP_FIXED).
    Hint(u64),
    /// Exactly there; what was there is unmapped (MAP_FIXED).
    Fixed(u64),
    /// Exactly there, else EEXIST (MAP_FIXED_NOREPLACE).
    FixedNoReplace(u64),
}

/// A mapping to be made. `flags` are abi::inspect::vma bits beyond the protection (SHARED, GROWS_DOWN, STACK, HEAP).
#[derive(Clone, Copy, Debug)]
pub struct MapRequest {
    /// Where.
    pub placement: Placement,
    /// Bytes; rounded up to pages. 0 is EINVAL.
    pub len: u64,
    /// READ, WRITE, EXEC.
    pub protection: Protection,
    /// SHARED, GROWS_DOWN, STACK.
    pub flags: u64,
    /// What the pages hold.
    pub backing: Backing,
}

impl AddressSpace {
    /// Maps; returns the address. ENOMEM, EINVAL, EEXIST as mmap(2).
    pub fn map(&mut self, frames: &mut Frames, request: &MapRequest) -> Result<u64, Errno> {
        let _ = (frames, request);
        todo!()
    }

    /// Unmaps whatever lies in the range; EINVAL as munmap(2).
    pub fn unmap(&mut self, frames: &mut Frames, address: u64, len: u64) -> Result<(), Errno> {
        let _ = (frames, address, len);
        todo!()
    }

    /// Changes protection; ENOMEM where a page of the range is not mapped.
    pub fn protect(&mut self, frames: &mut Frames, address: u64, len: u64, protection: Protection) -> Result<(), Errno> {
        let _ = (frames, address, len, protection);
        todo!()
    }

    /// mremap(2); `flags` are MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP.
    pub fn remap(
        &mut self,
        frames: &mut Frames,
        old: u64,
        old_len: u64,
        new_len: u64,
        flags: u32,
        new: u64,
    ) -> Result<u64, Errno> {
        let _ = (frames, old, old_len, new_len, flags, new);
        todo!()
    }

    /// madvise(2).
    pub fn advise(&mut self, frames: &mut Frames, address: u64, len: u64, advice: u32) -> Result<(), Errno> {
        let _ = (frames, address, len, advice);
        todo!()
    }

    /// The first break, right behind the image (exec sets it).
    pub fn set_break_start(&mut self, start: u64) {
        let _ = start;
        todo!()
    }

    /// brk(2): the new break, or the old one if it cannot be moved there.
    pub fn set_break(&mut self, frames: &mut Frames, wanted: u64) -> u64 {
        let _ = (frames, wanted);
        todo!()
    }
}
