//! The window onto guest-physical memory: the direct map in the kernel, a buffer in host tests.
//!
//! Every access of the kernel to a frame's bytes goes through here.
#![allow(unsafe_code)]

use super::address::{Frame, PAGE_BYTES, PhysAddr};

/// Access to physical frames by number. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct PhysWindow {
    base: *mut u8,
}

/// The 512 entries of a page table.
pub type Table = [u64; 512];
/// The bytes of a frame.
pub type Page = [u8; PAGE_BYTES];

impl PhysWindow {
    /// A window in which GPA 0 stands at `base`.
    ///
    /// # Safety
    /// `base` is page-aligned. All frames that will be asked for must be mapped, readable and
    /// writable at `base` plus their address for as long as the window or a copy of it is used, and
    /// nothing else may hold Rust references into them.
    pub const unsafe fn new(base: *mut u8) -> Self {
        Self { base }
    }

    /// A window onto `bytes` zeroed bytes of the host's own, which are never given back: guest
    /// memory for host tests. Asking for an address behind them is undefined behaviour.
    #[cfg(not(target_os = "none"))]
    pub fn hosted(bytes: usize) -> Self {
        // Aligned by hand: an allocator that is asked to align clears the memory page by page.
        let layout = core::alloc::Layout::array::<u8>(bytes + PAGE_BYTES)
            .expect("the size of guest memory fits the address space");
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc::alloc::alloc_zeroed(layout) };
        assert!(!start.is_null(), "the host has memory for the test");
        Self {
            base: start.wrapping_add(start.align_offset(PAGE_BYTES)),
        }
    }

    fn pointer(self, address: PhysAddr) -> *mut u8 {
        self.base
            .wrapping_add(usize::try_from(address.0).expect("addresses are 64-bit"))
    }

    /// The bytes of a frame.
    #[inline]
    pub fn page(&self, frame: Frame) -> &Page {
        // SAFETY: mapped and readable by `new`'s contract; no `&mut` to it is alive, as those borrow the window mutably.
        unsafe { &*self.pointer(frame.address()).cast() }
    }

    /// The bytes of a frame, to be changed.
    #[inline]
    pub fn page_mut(&mut self, frame: Frame) -> &mut Page {
        // SAFETY: mapped and writable by `new`'s contract; the borrow of the window excludes other references.
        unsafe { &mut *self.pointer(frame.address()).cast() }
    }

    /// A frame as a page table.
    #[inline]
    pub fn table(&self, frame: Frame) -> &Table {
        // SAFETY: as `page`; a frame is page-aligned and any bytes are valid u64s.
        unsafe { &*self.pointer(frame.address()).cast() }
    }

    /// A frame as a page table, to be changed.
    #[inline]
    pub fn table_mut(&mut self, frame: Frame) -> &mut Table {
        // SAFETY: as `page_mut`; a frame is page-aligned and any bytes are valid u64s.
        unsafe { &mut *self.pointer(frame.address()).cast() }
    }

    /// The 8-byte word at an address that is a multiple of 8: an entry of a page table or of the
    /// frame table. Nothing is borrowed, so this is what code uses that edits several tables at once.
    #[inline]
    pub fn word(&self, address: PhysAddr) -> u64 {
        debug_assert!(address.0.is_multiple_of(8), "words are aligned");
        // SAFETY: mapped and readable by `new`'s contract.
        unsafe { self.pointer(address).cast::<u64>().read_unaligned() }
    }

    /// Changes the 8-byte word at an address that is a multiple of 8.
    #[inline]
    pub fn set_word(&mut self, address: PhysAddr, value: u64) {
        debug_assert!(address.0.is_multiple_of(8), "words are aligned");
        // SAFETY: mapped and writable by `new`'s contract.
        unsafe { self.pointer(address).cast::<u64>().write_unaligned(value) }
    }

    /// Fills a frame with zeros.
    #[inline]
    pub fn clear(&mut self, frame: Frame) {
        self.page_mut(frame).fill(0);
    }

    /// Copies one frame's bytes into another.
    #[inline]
    pub fn copy(&mut self, from: Frame, to: Frame) {
        assert_ne!(from, to, "a frame is not copied onto itself");
        let (from, to) = (self.pointer(from.address()), self.pointer(to.address()));
        // SAFETY: both frames are mapped by `new`'s contract and distinct, hence do not overlap.
        unsafe { core::ptr::copy_nonoverlapping(from, to, PAGE_BYTES) }
    }

    /// A run of physically contiguous bytes, such as a file of the root image.
    pub fn bytes(&self, start: PhysAddr, len: u64) -> &[u8] {
        let len = usize::try_from(len).expect("lengths are 64-bit");
        // SAFETY: mapped by `new`'s contract; callers pass spans that the VMM laid out.
        unsafe { core::slice::from_raw_parts(self.pointer(start), len) }
    }
}
