//! A sparse array of frames by page number: Linux's xarray of a file, in frames of its own.
//!
//! A tree of one page is that page; each level above it multiplies the reach by 512. So a file
//! of one page costs one frame, and one of 2^52 pages with two of them in use costs a dozen.
//! An entry of an index frame is the address of the frame below with PRESENT; 0 is a hole.

use super::address::{Frame, PhysAddr};
use super::frames::{Frames, OutOfFrames};
use super::page_table::frame_of;
use super::phys::PhysWindow;
use core::ops::Range;
use forkvm_abi::inspect::FrameUse;
use forkvm_abi::page_table::{ENTRIES, PRESENT};

/// Bits of a page number that one level decides.
const BITS: u32 = ENTRIES.trailing_zeros();
/// Levels at most: page numbers have 52 bits.
const LEVELS: u32 = 6;

/// The tree. It owns one reference to each of its frames.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PageTree {
    root: Option<Frame>,
    /// Levels of index frames above the pages.
    height: u32,
}

/// Pages that an entry of a table of `level` (1: the lowest) stands for.
const fn span(level: u32) -> u64 {
    1 << (BITS * (level - 1))
}

/// Where a table of `level` has the entry for a page.
const fn slot(table: Frame, page: u64, level: u32) -> PhysAddr {
    PhysAddr(table.address().0 + (page >> (BITS * (level - 1)) & (ENTRIES as u64 - 1)) * 8)
}

impl PageTree {
    /// The frame of a page; `None` for a hole.
    #[inline]
    pub(super) fn get(&self, window: &PhysWindow, page: u64) -> Option<Frame> {
        let mut at = self.root.filter(|_| self.reaches(page))?;
        for level in (1..=self.height).rev() {
            let entry = window.word(slot(at, page, level));
            if entry == 0 {
                return None;
            }
            at = frame_of(entry);
        }
        Some(at)
    }

    /// Fills a hole; the reference to `frame` is the tree's from now on. On failure there is still a hole, and
    /// the caller still has its reference.
    pub(super) fn fill(
        &mut self,
        frames: &mut Frames,
        page: u64,
        frame: Frame,
    ) -> Result<(), OutOfFrames> {
        while !self.reaches(page) {
            self.add_level(frames)?;
        }
        if self.height == 0 {
            self.root = Some(frame);
            return Ok(());
        }
        let mut at = match self.root {
            Some(root) => root,
            None => *self.root.insert(frames.allocate_zeroed(FrameUse::Kernel)?),
        };
        for level in (2..=self.height).rev() {
            let slot = slot(at, page, level);
            let entry = frames.window.word(slot);
            at = if entry == 0 {
                let lower = frames.allocate_zeroed(FrameUse::Kernel)?;
                frames.window.set_word(slot, lower.address().0 | PRESENT);
                lower
            } else {
                frame_of(entry)
            };
        }
        frames
            .window
            .set_word(slot(at, page, 1), frame.address().0 | PRESENT);
        Ok(())
    }

    /// The first page from `page` on that is no hole.
    pub(super) fn next(&self, window: &PhysWindow, page: u64) -> Option<u64> {
        let root = self.root.filter(|_| self.reaches(page))?;
        next_below(window, root, self.height, page)
    }

    /// Makes holes of a range; how many pages there were.
    pub(super) fn clear(&mut self, frames: &mut Frames, pages: Range<u64>) -> u64 {
        let Some(root) = self.root else { return 0 };
        let mut cleared = 0;
        if clear_below(frames, root, self.height, 0, &pages, &mut cleared) {
            *self = Self::default();
        }
        cleared
    }

    /// All frames of the tree and how many levels of pages are below each, for the tests.
    #[cfg(test)]
    pub(super) fn frames(&self, window: &PhysWindow) -> alloc::vec::Vec<Frame> {
        let mut found = alloc::vec::Vec::new();
        let mut tables: alloc::vec::Vec<_> =
            self.root.iter().map(|root| (*root, self.height)).collect();
        while let Some((frame, height)) = tables.pop() {
            found.push(frame);
            if height > 0 {
                let entries = window.table(frame).iter().filter(|entry| **entry != 0);
                tables.extend(entries.map(|entry| (frame_of(*entry), height - 1)));
            }
        }
        found
    }

    fn reaches(&self, page: u64) -> bool {
        page >> (BITS * self.height) == 0
    }

    /// Puts a level on top.
    fn add_level(&mut self, frames: &mut Frames) -> Result<(), OutOfFrames> {
        debug_assert!(self.height < LEVELS, "page numbers have 52 bits");
        if let Some(root) = self.root {
            let top = frames.allocate_zeroed(FrameUse::Kernel)?;
            frames
                .window
                .set_word(top.address(), root.address().0 | PRESENT);
            self.root = Some(top);
        }
        self.height += 1;
        Ok(())
    }
}

/// The first page from `page` on below a table; page numbers beyond its reach have been cut off.
fn next_below(window: &PhysWindow, table: Frame, height: u32, page: u64) -> Option<u64> {
    if height == 0 {
        return (page == 0).then_some(0);
    }
    let span = span(height);
    let mut at = page;
    while at < span * ENTRIES as u64 {
        let entry = window.word(slot(table, at, height));
        let start = at - at % span;
        if entry != 0
            && let Some(found) = next_below(window, frame_of(entry), height - 1, at % span)
        {
            return Some(start + found);
        }
        at = start + span;
    }
    None
}

/// Clears what a table (or the page itself, at height 0) has of a range; `first` is its first page. Whether nothing
/// is left of it: then it is freed.
fn clear_below(
    frames: &mut Frames,
    table: Frame,
    height: u32,
    first: u64,
    pages: &Range<u64>,
    cleared: &mut u64,
) -> bool {
    if height == 0 {
        let inside = pages.contains(&first);
        if inside {
            frames.release(table);
            *cleared += 1;
        }
        return inside;
    }
    let span = span(height);
    let mut left = false;
    for index in 0..ENTRIES as u64 {
        let slot = PhysAddr(table.address().0 + index * 8);
        let entry = frames.window.word(slot);
        let start = first + index * span;
        if entry == 0 {
            continue;
        }
        let overlaps = start < pages.end && pages.start < start.saturating_add(span);
        if overlaps && clear_below(frames, frame_of(entry), height - 1, start, pages, cleared) {
            frames.window.set_word(slot, 0);
        } else {
            left = true;
        }
    }
    if !left {
        frames.release_clean(table);
    }
    !left
}
