//! The window onto guest-physical memory: the direct map in the kernel, a buffer in host tests.
//!
//! Every access of the kernel to a frame's bytes goes through here.
#![allow(unsafe_code)]

use super::address::Frame;
use forkvm_abi::PAGE_SIZE;

/// Access to physical frames by number. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct PhysWindow {
    base: *mut u8,
}

/// The 512 entries of a page table.
pub type Table = [u64; 512];
/// The bytes of a frame.
pub type Page = [u8; PAGE_SIZE as usize];

impl PhysWindow {
    /// A window in which GPA 0 stands at `base`.
    ///
    /// # Safety
    /// All frames that will be asked for must be mapped, readable and writable at `base` plus their
    /// address for as long as the window or a copy of it is used, and nothing else may hold Rust
    /// references into them.
    pub const unsafe fn new(base: *mut u8) -> Self {
        Self { base }
    }

    fn pointer(self, frame: Frame) -> *mut u8 {
        self.base.wrapping_add(usize::try_from(frame.address().0).expect("addresses are 64-bit"))
    }

    /// The bytes of a frame.
    pub fn page(&self, frame: Frame) -> &Page {
        // SAFETY: mapped and readable by `new`'s contract; no `&mut` to it is alive, as those borrow the window mutably.
        unsafe { &*self.pointer(frame).cast() }
    }

    /// The bytes of a frame, to be changed.
    pub fn page_mut(&mut self, frame: Frame) -> &mut Page {
        // SAFETY: mapped and writable by `new`'s contract; the borrow of the window excludes other references.
        unsafe { &mut *self.pointer(frame).cast() }
    }

    /// A frame as a page table.
    pub fn table(&self, frame: Frame) -> &Table {
        // SAFETY: as `page`; a frame is page-aligned and any bytes are valid u64s.
        unsafe { &*self.pointer(frame).cast() }
    }

    /// A frame as a page table, to be changed.
    pub fn table_mut(&mut self, frame: Frame) -> &mut Table {
        // SAFETY: as `page_mut`; a frame is page-aligned and any bytes are valid u64s.
        unsafe { &mut *self.pointer(frame).cast() }
    }

    /// Copies one frame's bytes into another.
    pub fn copy(&mut self, from: Frame, to: Frame) {
        assert_ne!(from, to, "a frame is not copied onto itself");
        // SAFETY: both frames are mapped by `new`'s contract and distinct, hence do not overlap.
        unsafe { core::ptr::copy_nonoverlapping(self.pointer(from), self.pointer(to), PAGE_SIZE as usize) }
    }

    /// A run of physically contiguous bytes, such as a file of the root image.
    pub fn bytes(&self, start: super::PhysAddr, len: u64) -> &[u8] {
        let base = self.base.wrapping_add(usize::try_from(start.0).expect("addresses are 64-bit"));
        // SAFETY: mapped by `new`'s contract; callers pass spans that the VMM laid out.
        unsafe { core::slice::from_raw_parts(base, usize::try_from(len).expect("lengths are 64-bit")) }
    }
}
