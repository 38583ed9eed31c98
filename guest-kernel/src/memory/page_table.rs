//! Four-level page tables (Intel SDM vol. 3, 4.5): find, create, iterate, take down.
//!
//! The table owns its frames of tables; what the leaf entries mean is the caller's business. A slot
//! is the guest-physical address of a leaf entry: reading and writing it is one access through the
//! window, whoever else is being edited at the same time. Only the lower half is handled
//! here; the kernel's two entries of the root are put in by `space`.
//!
//! A table that holds no entry any more is freed by [`PageTable::free_tables`], whose caller knows
//! the hole between regions that it has just made: nothing is counted or searched for that.
//! All entries have been set to 0 by then, so the frame goes back clean.
//!
//! Where KVM shadows the page tables, making and unmaking them costs an emulated write for each entry of an
//! upper table. There a table whose leaf entries are all 0 is kept whole, as a *skeleton*, and the next space begins with
//! it ([`PageTable::keep`]); tables that it does not need stay until it goes.
//!
//! Every edit starts from [`PageTable::slot_or_create`] or [`PageTable::next_run`].

use super::address::{Frame, PhysAddr};
use super::frames::{Frames, OutOfFrames};
use super::phys::PhysWindow;
use core::ops::Range;
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::inspect::FrameUse;
use forkvm_abi::page_table::{
    ACCESSED, ADDRESS_MASK, ENTRIES, PRESENT, UNCOUNTED, USER, WRITABLE, index,
};

/// Rights of an entry that leads to a lower table: the leaf decides.
const TABLE: u64 = PRESENT | WRITABLE | USER | ACCESSED;

/// Bytes of entries in a cache line.
const LINE: u64 = 64;

/// The entries of a cache line.
pub type Line = [u64; 8];

/// End of the lower half of the address space, one past [`USER_END`](forkvm_abi::layout::USER_END)'s page.
pub(super) const LOWER_HALF_END: u64 = 1 << 47;

/// A page table by its root (the PML4).
#[derive(Debug)]
pub struct PageTable {
    root: Frame,
}

/// Tables below the root that a skeleton may have.
const SKELETON_TABLES: usize = 16;

/// Roots of tables that are kept for the next spaces.
#[derive(Debug, Default)]
pub struct Skeletons {
    roots: [Option<Frame>; 4],
}

impl Skeletons {
    fn take(&mut self) -> Option<Frame> {
        self.roots.iter_mut().find_map(Option::take)
    }

    /// The roots kept.
    #[cfg(test)]
    pub(super) fn roots(&self) -> impl Iterator<Item = Frame> {
        self.roots.iter().flatten().copied()
    }

    /// Whether there was room.
    fn put(&mut self, root: Frame) -> bool {
        let place = self.roots.iter_mut().find(|place| place.is_none());
        place.is_some_and(|place| {
            *place = Some(root);
            true
        })
    }
}

/// Neighbouring leaf entries within one table.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Slot of the first entry; the others follow at 8 bytes each.
    pub slot: PhysAddr,
    /// Virtual address that the first entry translates.
    pub address: u64,
    /// Virtual address behind the last.
    pub end: u64,
}

impl Run {
    /// The slot for an address of the run.
    #[inline]
    pub fn slot_of(&self, address: u64) -> PhysAddr {
        PhysAddr(self.slot.0 + (address - self.address) / PAGE_SIZE * 8)
    }

    /// The address that a slot of the run translates.
    #[inline]
    pub fn address_of(&self, slot: PhysAddr) -> u64 {
        self.address + (slot.0 - self.slot.0) / 8 * PAGE_SIZE
    }

    /// Calls `visit` with slot and value of every entry that is set.
    #[inline]
    pub fn for_each_present(
        &self,
        frames: &mut Frames,
        mut visit: impl FnMut(&mut Frames, PhysAddr, u64),
    ) {
        self.for_each_line(frames, |_, _, _| false, &mut visit);
    }

    /// Calls `visit` with slot and value of every entry that is set. Most are not, in most tables, and of
    /// the others most are a program's text: so a cache line of eight is looked at at a time, and one full
    /// of UNCOUNTED entries goes to `uncounted` as a whole. If that returns false, they are visited as others are.
    #[inline]
    pub fn for_each_line(
        &self,
        frames: &mut Frames,
        mut uncounted: impl FnMut(&mut Frames, PhysAddr, &Line) -> bool,
        mut visit: impl FnMut(&mut Frames, PhysAddr, u64),
    ) {
        let mut slot = self.slot.0;
        let end = self.slot_of(self.end).0;
        while slot < end {
            let line_end = (slot | (LINE - 1)).wrapping_add(1);
            if line_end <= end && slot.is_multiple_of(LINE) {
                let line = line_at(&frames.window, slot);
                if any_of(&line) == 0
                    || (line.iter().fold(UNCOUNTED, |all, entry| all & entry) != 0
                        && uncounted(frames, PhysAddr(slot), &line))
                {
                    slot = line_end;
                    continue;
                }
            }
            let stop = end.min(line_end);
            while slot < stop {
                let entry = frames.window.word(PhysAddr(slot));
                if entry != 0 {
                    visit(frames, PhysAddr(slot), entry);
                }
                slot = slot.wrapping_add(8);
            }
        }
    }

    /// The run from its first cache line with an entry that is set; `None` if none is.
    #[inline]
    pub fn trimmed(&self, window: &PhysWindow) -> Option<Self> {
        let mut slot = self.slot.0;
        let end = self.slot_of(self.end).0;
        while slot < end {
            let is_whole = slot.is_multiple_of(LINE) && slot.wrapping_add(LINE) <= end;
            let (any, next) = if is_whole {
                (any_of(&line_at(window, slot)), slot.wrapping_add(LINE))
            } else {
                (window.word(PhysAddr(slot)), slot.wrapping_add(8))
            };
            if any != 0 {
                let slot = PhysAddr(slot);
                return Some(Self {
                    slot,
                    address: self.address_of(slot),
                    end: self.end,
                });
            }
            slot = next;
        }
        None
    }
}

/// The bits that any entry of a line has.
#[inline]
fn any_of(line: &Line) -> u64 {
    line.iter().fold(0, |any, entry| any | entry)
}

/// The entries of a cache line.
#[inline]
fn line_at(window: &PhysWindow, slot: u64) -> Line {
    core::array::from_fn(|i| window.word(PhysAddr(slot.wrapping_add(8 * i as u64))))
}

/// Changes the entries of a cache line.
#[inline]
pub(super) fn set_line(window: &mut PhysWindow, slot: PhysAddr, line: &Line) {
    for (i, entry) in (0u64..).zip(line) {
        window.set_word(PhysAddr(slot.0.wrapping_add(8 * i)), *entry);
    }
}

/// Whether one table of leaf entries holds the entries of both addresses.
pub(super) const fn shares_table(one: u64, two: u64) -> bool {
    one / span(2) == two / span(2)
}

/// The frame that an entry of any level names.
#[inline]
pub fn frame_of(entry: u64) -> Frame {
    Frame::containing(PhysAddr(entry & ADDRESS_MASK))
}

/// Bytes that one entry of a table of `level` translates.
const fn span(level: u32) -> u64 {
    PAGE_SIZE << (9 * (level - 1))
}

/// Slot for `address` in a table of `level`.
#[inline]
const fn slot_in(table: Frame, address: u64, level: u32) -> PhysAddr {
    PhysAddr(table.address().0 | (index(address, level) as u64 * 8))
}

impl PageTable {
    /// A root, with a skeleton's empty tables below it if there is one; `None` makes a root without entries.
    pub fn from_skeleton(frames: &mut Frames) -> Option<Self> {
        let root = frames.skeletons.take()?;
        Some(Self { root })
    }

    /// Keeps the table, whose leaf entries are all 0, as a skeleton; gives it back if there are enough of them, or if it has
    /// more tables than most programs need.
    pub fn keep(self, frames: &mut Frames) -> Option<Self> {
        let is_small = count_below(&frames.window, self.root, 4) <= SKELETON_TABLES;
        if is_small && frames.skeletons.put(self.root) {
            None
        } else {
            Some(self)
        }
    }

    /// Frees all tables below the root. All leaf entries are 0.
    pub fn free_all_tables(&self, frames: &mut Frames) {
        let everything = 0..LOWER_HALF_END;
        free_below(frames, self.root, 4, everything.clone(), &everything);
    }

    /// A root without entries.
    pub fn new(frames: &mut Frames) -> Result<Self, OutOfFrames> {
        Ok(Self {
            root: frames.allocate_zeroed(FrameUse::PageTable)?,
        })
    }

    /// The root's frame.
    pub fn root(&self) -> Frame {
        self.root
    }

    /// The slot for `address`, if its table exists.
    #[inline]
    pub fn slot(&self, window: &PhysWindow, address: u64) -> Option<PhysAddr> {
        let mut table = self.root;
        for level in [4, 3, 2] {
            let entry = window.word(slot_in(table, address, level));
            if entry & PRESENT == 0 {
                return None;
            }
            table = frame_of(entry);
        }
        Some(slot_in(table, address, 1))
    }

    /// The slot for `address`; makes the tables that lead to it. On failure those made so far stay
    /// and go when the region around them does.
    pub fn slot_or_create(
        &self,
        frames: &mut Frames,
        address: u64,
    ) -> Result<PhysAddr, OutOfFrames> {
        let mut table = self.root;
        for level in [4, 3, 2] {
            let slot = slot_in(table, address, level);
            let entry = frames.window.word(slot);
            table = if entry & PRESENT != 0 {
                frame_of(entry)
            } else {
                let lower = frames.allocate_zeroed(FrameUse::PageTable)?;
                frames.window.set_word(slot, lower.address().0 | TABLE);
                lower
            };
        }
        Ok(slot_in(table, address, 1))
    }

    /// The first run of leaf entries in `start..end`; absent tables are stepped over whole. The
    /// caller goes on from the run's end.
    #[inline]
    pub fn next_run(&self, window: &PhysWindow, start: u64, end: u64) -> Option<Run> {
        let mut at = start;
        while at < end {
            match self.descend(window, at) {
                Ok(table) => {
                    let table_end = (at | (span(2) - 1)) + 1;
                    return Some(Run {
                        slot: slot_in(table, at, 1),
                        address: at,
                        end: end.min(table_end),
                    });
                }
                Err(absent) => at = (at | (span(absent) - 1)) + 1,
            }
        }
        None
    }

    /// The table of leaf entries for `address`, or the level whose entry leads nowhere.
    #[inline]
    fn descend(&self, window: &PhysWindow, address: u64) -> Result<Frame, u32> {
        let mut table = self.root;
        for level in [4, 3, 2] {
            let entry = window.word(slot_in(table, address, level));
            if entry & PRESENT == 0 {
                return Err(level);
            }
            table = frame_of(entry);
        }
        Ok(table)
    }

    /// Frees the tables that `range` used and that translate nothing outside of `hole`. All leaf
    /// entries in the hole are 0 already.
    pub fn free_tables(&self, frames: &mut Frames, range: Range<u64>, hole: Range<u64>) {
        // Most often the neighbours are near, and no whole table lies between them.
        let first = (range.start & !(span(2) - 1)).max(hole.start.next_multiple_of(span(2)));
        if first < range.end && first + span(2) <= hole.end {
            free_below(frames, self.root, 4, range, &hole);
        }
    }

    /// Frees the root. Everything below is gone, and its entries are 0.
    pub fn free_root(self, frames: &mut Frames) {
        frames.release_clean(self.root);
    }
}

/// How many tables a table of `level` leads to in the lower half.
fn count_below(window: &PhysWindow, table: Frame, level: u32) -> usize {
    let entries = if level == 4 { ENTRIES / 2 } else { ENTRIES };
    let lower = window.table(table)[..entries]
        .iter()
        .filter(|entry| **entry & PRESENT != 0);
    match level {
        2 => lower.count(),
        _ => lower.fold(0, |count, entry| {
            count + 1 + count_below(window, frame_of(*entry), level - 1)
        }),
    }
}

/// Frees what a table of `level` leads to in `range`, as far as it lies in `hole`.
fn free_below(frames: &mut Frames, table: Frame, level: u32, range: Range<u64>, hole: &Range<u64>) {
    let mut at = range.start;
    while at < range.end {
        let start = at & !(span(level) - 1);
        let end = start + span(level);
        let slot = slot_in(table, at, level);
        let entry = frames.window.word(slot);
        if entry & PRESENT != 0 {
            let lower = frame_of(entry);
            if level > 2 {
                free_below(frames, lower, level - 1, at..end.min(range.end), hole);
            }
            if hole.start <= start && end <= hole.end {
                frames.window.set_word(slot, 0);
                frames.release_clean(lower);
            }
        }
        at = end;
    }
}

const _: () = assert!(span(4) * ENTRIES as u64 / 2 == LOWER_HALF_END);
