//! Pages that belong to an object instead of an address space: what MAP_SHARED | MAP_ANONYMOUS maps,
//! and the contents of files in memory.
//!
//! Every mapping and the file itself refer to one object, so that a page first touched after a
//! fork is the same page for both sides, and what one writes with write(2) another reads through its
//! mapping. A page that nobody has touched is a hole: zeros, or what the root image has there.

use super::address::{Frame, PhysAddr};
use super::frames::{Frames, OutOfFrames};
use super::page_table::frame_of;
use super::page_tree::PageTree;
use super::phys::{Page, PhysWindow};
use super::space::AddressSpace;
use super::vma::Source;
use alloc::rc::Rc;
use core::cell::Cell;
use core::ops::Range;
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::inspect::FrameUse;

/// The pages. Mappings and files hold them by `Rc`; who drops the last calls [`SharedPages::destroy`].
#[derive(Debug)]
pub struct SharedPages {
    tree: Cell<PageTree>,
    size: Cell<u64>,
    /// What holes hold.
    image: Cell<ImagePart>,
    /// Pages that are no holes.
    used: Cell<u64>,
    quota: Option<Rc<Quota>>,
}

/// An object is the same as itself only.
impl PartialEq for SharedPages {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq(self, other)
    }
}

impl Eq for SharedPages {}

/// The part of the root image that shows through a file's holes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImagePart {
    /// GPA of the first byte.
    pub data: u64,
    /// Bytes that count; zeros behind them.
    pub len: u64,
    /// The image itself has zeros from `len` to the end of that page.
    pub padded: bool,
}

/// How many pages all files together may have (a mount's size= in tmpfs(5)).
#[derive(Debug)]
pub struct Quota {
    /// Pages in use.
    pub used: Cell<u64>,
    /// Pages at most.
    pub limit: u64,
}

/// Why a page cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPage {
    /// No frame is left.
    OutOfFrames,
    /// The files have used up their share of memory.
    OverQuota,
}

impl From<OutOfFrames> for NoPage {
    fn from(_: OutOfFrames) -> Self {
        Self::OutOfFrames
    }
}

impl SharedPages {
    /// Anonymous shared memory of `size` bytes, all zero, without frames yet.
    pub fn new(size: u64) -> Self {
        Self {
            tree: Cell::default(),
            size: Cell::new(size),
            image: Cell::default(),
            used: Cell::new(0),
            quota: None,
        }
    }

    /// The contents of a file: empty, or a file of the root image.
    pub fn for_file(image: ImagePart, quota: &Rc<Quota>) -> Self {
        Self {
            image: Cell::new(image),
            quota: Some(Rc::clone(quota)),
            ..Self::new(image.len)
        }
    }

    /// Bytes. Pages behind raise SIGBUS.
    pub fn size(&self) -> u64 {
        self.size.get()
    }

    /// Makes the file longer; what is new reads as zeros.
    pub fn grow(&self, size: u64) {
        debug_assert!(size >= self.size(), "a file is cut by truncate");
        self.size.set(size);
    }

    /// Pages with a frame of their own, and those of the image that show through (st_blocks).
    pub fn pages_used(&self) -> u64 {
        self.used
            .get()
            .max(self.image.get().len.div_ceil(PAGE_SIZE))
    }

    /// The frame to read a page from: its own, the image's, or the frame of zeros. `None` if the image does not have the page's bytes
    /// as a page of their own: see [`read_from_image`](Self::read_from_image).
    pub fn readable(&self, frames: &Frames, page: u64) -> Option<Frame> {
        let own = self.tree.get().get(&frames.window, page);
        let image = self.image.get();
        let is_whole = (page + 1) * PAGE_SIZE <= image.len || image.padded;
        match own {
            Some(frame) => Some(frame),
            None if page * PAGE_SIZE >= image.len => Some(frames.zero_frame()),
            None if is_whole && image.data.is_multiple_of(PAGE_SIZE) => {
                Some(Frame::containing(PhysAddr(image.data + page * PAGE_SIZE)))
            }
            None => None,
        }
    }

    /// What the image has of a page, and zeros behind its end.
    pub fn read_from_image(&self, window: &PhysWindow, page: u64, into: &mut Page) {
        let image = self.image.get();
        let start = page * PAGE_SIZE;
        let len = image.len.saturating_sub(start).min(PAGE_SIZE);
        let bytes = window.bytes(PhysAddr(image.data + start), len);
        into[..bytes.len()].copy_from_slice(bytes);
        into[bytes.len()..].fill(0);
    }

    /// The frame of a page that may be written, made now if there was a hole.
    pub fn writable(&self, frames: &mut Frames, page: u64) -> Result<Frame, NoPage> {
        match self.tree.get().get(&frames.window, page) {
            Some(frame) => Ok(frame),
            None => self.fill_hole(frames, page),
        }
    }

    /// Whether a page has no frame of its own.
    pub fn is_hole(&self, window: &PhysWindow, page: u64) -> bool {
        self.tree.get().get(window, page).is_none()
    }

    #[cold]
    fn fill_hole(&self, frames: &mut Frames, page: u64) -> Result<Frame, NoPage> {
        if let Some(quota) = &self.quota
            && quota.used.get() >= quota.limit
        {
            return Err(NoPage::OverQuota);
        }
        let frame = self.copy_of_image(frames, page)?;
        let mut tree = self.tree.get();
        let filled = tree.fill(frames, page, frame);
        self.tree.set(tree);
        if let Err(error) = filled {
            frames.release(frame);
            return Err(error.into());
        }
        frames.counters.demand_zero += 1;
        self.count(1, u64::wrapping_add);
        Ok(frame)
    }

    /// A new frame with the bytes of a hole.
    fn copy_of_image(&self, frames: &mut Frames, page: u64) -> Result<Frame, OutOfFrames> {
        let image = self.image.get();
        let start = page * PAGE_SIZE;
        if start >= image.len {
            return frames.allocate_zeroed(FrameUse::User);
        }
        let frame = frames.allocate(FrameUse::User)?;
        let mut window = frames.window;
        self.read_from_image(&frames.window, page, window.page_mut(frame));
        Ok(frame)
    }

    /// Sets a smaller size. What is cut off is gone for good: it reads as zeros if the file grows again.
    pub fn truncate(&self, frames: &mut Frames, size: u64) {
        self.cut_image(size);
        self.clear(frames, size.div_ceil(PAGE_SIZE)..u64::MAX);
        let last = self.tree.get().get(&frames.window, size / PAGE_SIZE);
        if let Some(last) = last.filter(|_| !size.is_multiple_of(PAGE_SIZE)) {
            frames.window.page_mut(last)[in_page(size)..].fill(0);
        }
        self.size.set(size);
    }

    /// Makes a range of bytes zero, with holes where it can (fallocate(2), FALLOC_FL_PUNCH_HOLE): pages that show the
    /// image, except at its end, need frames of their own for that.
    pub fn punch(&self, frames: &mut Frames, range: Range<u64>) -> Result<(), NoPage> {
        let end = range.end.min(self.size().next_multiple_of(PAGE_SIZE));
        if end >= self.image.get().len {
            self.cut_image(range.start);
        }
        let image_end = self.image.get().len;
        let whole = range.start.div_ceil(PAGE_SIZE)..end / PAGE_SIZE;
        self.clear(frames, whole.start..whole.end.max(whole.start));
        let mut at = range.start;
        while at < end {
            let page_end = (at / PAGE_SIZE + 1) * PAGE_SIZE;
            let is_whole = at.is_multiple_of(PAGE_SIZE) && page_end <= end;
            if at >= image_end && is_whole {
                // Only holes are left up to the last, partial page.
                at = page_end.max(end & !(PAGE_SIZE - 1));
                continue;
            }
            let page = at / PAGE_SIZE;
            if at < image_end || !self.is_hole(&frames.window, page) {
                let frame = self.writable(frames, page)?;
                let to = in_page(page_end.min(end) - 1) + 1;
                frames.window.page_mut(frame)[in_page(at)..to].fill(0);
            }
            at = page_end;
        }
        Ok(())
    }

    /// The image's part ends at `len` at the latest.
    fn cut_image(&self, len: u64) {
        let image = self.image.get();
        if len < image.len {
            self.image.set(ImagePart {
                len,
                padded: false,
                ..image
            });
        }
    }

    fn clear(&self, frames: &mut Frames, pages: Range<u64>) {
        let mut tree = self.tree.get();
        let cleared = tree.clear(frames, pages);
        self.tree.set(tree);
        self.count(cleared, u64::wrapping_sub);
    }

    /// The first byte of data from `offset` on, and of a hole (lseek(2)): in whole pages.
    pub fn next_data(&self, window: &PhysWindow, offset: u64) -> Option<u64> {
        if offset < self.image.get().len {
            return Some(offset);
        }
        let page = self.tree.get().next(window, offset / PAGE_SIZE)?;
        Some((page * PAGE_SIZE).max(offset)).filter(|found| *found < self.size())
    }

    /// The first byte of a hole from `offset` on, which is the file's end at the latest.
    pub fn next_hole(&self, window: &PhysWindow, offset: u64) -> u64 {
        let mut at = offset.max(self.image.get().len);
        while at < self.size() && !self.is_hole(window, at / PAGE_SIZE) {
            at = (at / PAGE_SIZE + 1) * PAGE_SIZE;
        }
        at.min(self.size())
    }

    /// All frames, for the tests.
    #[cfg(test)]
    pub(super) fn frames(&self, window: &PhysWindow) -> alloc::vec::Vec<Frame> {
        self.tree.get().frames(window)
    }

    /// Gives all frames back.
    pub fn destroy(self, frames: &mut Frames) {
        self.clear(frames, 0..u64::MAX);
    }

    fn count(&self, pages: u64, change: fn(u64, u64) -> u64) {
        self.used.set(change(self.used.get(), pages));
        if let Some(quota) = &self.quota {
            quota.used.set(change(quota.used.get(), pages));
        }
    }
}

/// Offset within a page.
#[allow(clippy::cast_possible_truncation, reason = "below the page size")]
pub(crate) const fn in_page(offset: u64) -> usize {
    (offset % PAGE_SIZE) as usize
}

/// Which pages of an object leave the address spaces that map it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmap {
    /// All, a process's own copies too: the file has become shorter.
    All,
    /// What was mapped where there was a hole: the page has a frame now.
    Holes,
}

impl AddressSpace {
    /// Takes pages of an object (by page number) out of all mappings of it here; they fault in again.
    pub fn unmap_object(
        &mut self,
        frames: &mut Frames,
        object: &Rc<SharedPages>,
        pages: Range<u64>,
        which: Unmap,
    ) {
        let (from, to) = (
            pages.start.saturating_mul(PAGE_SIZE),
            pages.end.saturating_mul(PAGE_SIZE),
        );
        let mut at = 0;
        while let Some(vma) = self.vmas.first_behind(at) {
            at = vma.end();
            let maps_it = matches!(&vma.source, Source::Shared(pages) | Source::Private(pages) if Rc::ptr_eq(pages, object));
            let offset = vma.offset_of(vma.start());
            let start = vma.start() + from.saturating_sub(offset).min(vma.len());
            let end = vma.start() + to.saturating_sub(offset).min(vma.len());
            if !maps_it || start >= end {
                continue;
            }
            match which {
                Unmap::All => self.drop_pages(frames, start, end),
                Unmap::Holes => self.drop_borrowed_pages(frames, start, end),
            }
        }
    }

    /// Takes out the PTEs of a range that lead to uncounted frames: the image's, and the frame of zeros.
    fn drop_borrowed_pages(&mut self, frames: &mut Frames, start: u64, end: u64) {
        let mut page = start;
        while page < end {
            let borrowed = self
                .translate(frames, page)
                .is_some_and(|entry| frames.references(frame_of(entry)).is_none());
            if borrowed {
                self.drop_pages(frames, page, page + PAGE_SIZE);
            }
            page += PAGE_SIZE;
        }
    }
}
