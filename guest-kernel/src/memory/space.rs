//! An address space: regions, page table, program break.

use super::frames::{Frames, OutOfFrames};
use forkvm_abi::PAGE_SIZE;

/// Protection of a region: bits of abi::inspect::vma (READ, WRITE, EXEC).
pub type Protection = u64;

/// What fills the pages of a region that nobody has written yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Zeros.
    Anonymous,
    /// A file of the root image: `data` is the GPA of its first page, `size` its bytes, `offset` the file offset
    /// (page-aligned) of the region's first page. Bytes behind `size` in the last page are zero; pages wholly behind it raise SIGBUS.
    Image {
        /// Number of the inode, for /proc/PID/maps.
        inode: u64,
        /// GPA of the file's first page.
        data: u64,
        /// Bytes of the file.
        size: u64,
        /// Offset in the file, page-aligned.
        offset: u64,
    },
}

/// Limits that the owner's rlimits put on a space, in bytes; `u64::MAX` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceLimits {
    /// RLIMIT_STACK.
    pub stack: u64,
    /// RLIMIT_AS.
    pub address_space: u64,
    /// RLIMIT_DATA.
    pub data: u64,
}

impl Default for SpaceLimits {
    fn default() -> Self {
        Self { stack: 8 << 20, address_space: u64::MAX, data: u64::MAX }
    }
}

/// Entries that every user PML4 carries in the kernel's half, by platform.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelHalf {
    /// PML4 entry of the direct map; 0 on the monitor platform.
    pub direct_map: u64,
    /// PML4 entry of the kernel image (ring0) or of the monitor's pages (monitor).
    pub kernel: u64,
}

/// What the TLB may still hold of a space's former state; merged until `arch` acts on it at the next entry into ring 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "a stale TLB entry is a hole in the isolation"]
pub enum Flush {
    /// Nothing: only rights were gained or absent entries filled.
    #[default]
    None,
    /// One page.
    Page(u64),
    /// Everything of this space.
    All,
}

impl Flush {
    /// What covers both.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, flush) | (flush, Self::None) => flush,
            (one, two) if one == two => one,
            _ => Self::All,
        }
    }
}

/// Replaced by the real thing.
#[derive(Debug)]
pub struct AddressSpace {
    /// Merged flushes since the last entry into ring 3; `arch` takes it.
    pub pending_flush: Flush,
    /// The owner's limits; setrlimit updates it.
    pub limits: SpaceLimits,
    /// [arg_start, arg_end, env_start, env_end] as /proc shows them.
    pub arguments: [u64; 4],
}

impl AddressSpace {
    /// An empty space with the kernel's half in place.
    pub fn new(frames: &mut Frames, kernel_half: KernelHalf) -> Result<Self, OutOfFrames> {
        let _ = (frames, kernel_half, PAGE_SIZE);
        todo!()
    }

    /// CR3 value.
    pub fn cr3(&self) -> u64 {
        todo!()
    }

    /// Virtual address of the first VmaRecord; the list behind it is always intact.
    pub fn first_vma(&self) -> u64 {
        todo!()
    }

    /// Unmaps everything and gives all frames back, page tables included.
    pub fn destroy(self, frames: &mut Frames) {
        let _ = frames;
        todo!()
    }
}
