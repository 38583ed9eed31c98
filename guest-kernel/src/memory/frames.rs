//! Page frames with reference counts.
//!
//! Behind everything the VMM placed lies the frame table, one [`FrameRecord`] of 8 bytes for each
//! frame of RAM; behind it the frame of zeros, then the frames that are handed out:
//!
//! ```text
//! free_start          frame table: references (u32), usage (u32) of each frame, low then high RAM
//!   + 8 * frames      the frame of zeros
//!   + 4096 = first    frames that are counted: handed out, freed, handed out again
//!     fresh ->        never used yet: still zero, as the VMM delivered them
//! ```
//!
//! A frame that is asked for comes from a list of freed ones if there is any, as a fresh one costs
//! the host a page fault and a page. There are two lists: page tables are emptied entry by entry
//! when they are taken down, so they are *clean* (all zeros) and the next table need not be
//! cleared; everything else is *dirty*. Both are linked through the `usage` half of the records.
//!
//! Frames below `first` and outside RAM (the root image) are not counted: sharing and releasing
//! them does nothing, and nobody owns them.
//!
//! [`FrameRecord`]: forkvm_abi::inspect::FrameRecord

use super::address::{Frame, PhysAddr};
use super::page_table::Skeletons;
use super::phys::PhysWindow;
use super::space::free_skeletons;
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::boot::BootInfo;
use forkvm_abi::inspect::{Counters, FrameRecord, FrameUse};
use forkvm_abi::layout::HIGH_RAM_GPA;

/// All RAM the kernel may hand out, and the window to reach it.
#[derive(Debug)]
pub struct Frames {
    /// The door to the bytes of frames.
    pub window: PhysWindow,
    /// What has happened so far. The memory code keeps the counts of faults and frames here, the
    /// rest of the kernel its own.
    pub counters: Counters,
    /// Pages that a write fault on anonymous memory maps at once: 1, or a power of two up to 16
    /// where a trap costs far more than a frame. The platform sets it.
    pub fault_around: u64,
    /// A trap costs far more than a page: KVM shadows the page tables, and the kernel prepares what it can. There a frame
    /// that has been a page table becomes nothing else while others are left, as KVM goes on watching it.
    pub costly_traps: bool,
    /// Page tables for the next spaces, where traps are costly.
    pub(super) skeletons: Skeletons,
    /// GPA of the frame table.
    table: u64,
    /// GPA of the first counted frame.
    first: u64,
    /// Bytes of low RAM from `first` on.
    low_bytes: u64,
    /// Bytes of RAM from 4 GiB up.
    high_bytes: u64,
    /// End of low RAM.
    low_end: u64,
    /// Index of the first frame never handed out.
    fresh: u64,
    /// Number of the first freed frame of unknown contents; 0: none.
    dirty: u64,
    /// Number of the first freed frame that is all zeros; 0: none.
    clean: u64,
    /// Allocations until one fails on purpose; 0: none does.
    #[cfg(not(target_os = "none"))]
    fail_in: u64,
}

/// No frame is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfFrames;

/// The `references` half of a record as a little-endian word.
const REFERENCES: u64 = 0xffff_ffff;
/// Where the `usage` half begins.
const USAGE_SHIFT: u32 = 32;

const _: () =
    assert!(core::mem::offset_of!(FrameRecord, usage) == 4 && size_of::<FrameRecord>() == 8);

impl Frames {
    /// Puts the frame table at `boot.free_start` and takes all RAM behind it. Touches no frame that
    /// is not in use, and of the table only the record of the zero frame: fresh RAM is zero, so
    /// start-up does not depend on the size of RAM.
    ///
    /// # Panics
    /// If RAM has no room for the table; the VMM refuses to start so small a guest.
    pub fn new(window: PhysWindow, boot: &BootInfo) -> Self {
        let low_end = boot.low_ram.end();
        let count = (low_end + boot.high_ram.len) / PAGE_SIZE;
        let zero = boot.free_start + (count * 8).next_multiple_of(PAGE_SIZE);
        let first = zero + PAGE_SIZE;
        assert!(first < low_end, "no RAM is left behind the frame table");

        let mut frames = Self {
            window,
            counters: Counters::default(),
            fault_around: 1,
            costly_traps: false,
            skeletons: Skeletons::default(),
            table: boot.free_start,
            first,
            low_bytes: low_end - first,
            high_bytes: boot.high_ram.len,
            low_end,
            fresh: first / PAGE_SIZE,
            dirty: 0,
            clean: 0,
            #[cfg(not(target_os = "none"))]
            fail_in: 0,
        };
        frames.counters.frames_total = count - frames.fresh;
        let zero_record = PhysAddr(frames.table + zero / PAGE_SIZE * 8);
        frames
            .window
            .set_word(zero_record, 1 | (FrameUse::Zero as u64) << USAGE_SHIFT);
        frames
    }

    /// GPA of the frame table and number of its records, for `KernelInfo`.
    pub fn frame_table(&self) -> (u64, u64) {
        (self.table, (self.low_end + self.high_bytes) / PAGE_SIZE)
    }

    /// A frame with count 1; its bytes are zero.
    pub fn allocate_zeroed(&mut self, usage: FrameUse) -> Result<Frame, OutOfFrames> {
        self.fail_on_purpose()?;
        let is_table = usage == FrameUse::PageTable;
        if self.clean != 0 && (is_table || !self.costly_traps) {
            Ok(self.take_clean(usage))
        } else if self.dirty != 0 && !(is_table && self.costly_traps) {
            Ok(self.take_cleared(usage))
        } else {
            match self.allocate_fresh(usage) {
                Err(OutOfFrames) if self.clean != 0 || free_skeletons(self) => {
                    Ok(self.take_clean(usage))
                }
                Err(OutOfFrames) if self.dirty != 0 => Ok(self.take_cleared(usage)),
                fresh => fresh,
            }
        }
    }

    /// A frame with count 1 whose bytes are whatever they were: the caller overwrites all of it.
    pub fn allocate(&mut self, usage: FrameUse) -> Result<Frame, OutOfFrames> {
        self.fail_on_purpose()?;
        if self.dirty != 0 {
            Ok(self.take_dirty(usage))
        } else if self.clean != 0 && !self.costly_traps {
            Ok(self.take_clean(usage))
        } else {
            match self.allocate_fresh(usage) {
                Err(OutOfFrames) if self.clean != 0 || free_skeletons(self) => {
                    Ok(self.take_clean(usage))
                }
                fresh => fresh,
            }
        }
    }

    /// The first of the clean list, which is not empty.
    #[inline]
    fn take_clean(&mut self, usage: FrameUse) -> Frame {
        let frame = Frame::from_number(self.clean);
        self.clean = self.claim(frame, usage);
        frame
    }

    /// The first of the dirty list, which is not empty.
    #[inline]
    fn take_dirty(&mut self, usage: FrameUse) -> Frame {
        let frame = Frame::from_number(self.dirty);
        self.dirty = self.claim(frame, usage);
        frame
    }

    /// The same, cleared.
    #[inline]
    fn take_cleared(&mut self, usage: FrameUse) -> Frame {
        let frame = self.take_dirty(usage);
        self.window.clear(frame);
        frame
    }

    /// The next frame that was never used.
    fn allocate_fresh(&mut self, usage: FrameUse) -> Result<Frame, OutOfFrames> {
        let low_count = self.low_end / PAGE_SIZE;
        let index = self.fresh;
        if index >= low_count + self.high_bytes / PAGE_SIZE {
            return Err(OutOfFrames);
        }
        self.fresh += 1;
        let number = if index < low_count {
            index
        } else {
            index - low_count + HIGH_RAM_GPA / PAGE_SIZE
        };
        let frame = Frame::from_number(number);
        self.claim(frame, usage);
        Ok(frame)
    }

    /// Gives a free frame its first reference; returns the number of the frame behind it in its list.
    #[inline]
    fn claim(&mut self, frame: Frame, usage: FrameUse) -> u64 {
        let record = self
            .record(frame)
            .expect("only counted frames are handed out");
        let next = self.window.word(record) >> USAGE_SHIFT;
        self.window
            .set_word(record, 1 | (usage as u64) << USAGE_SHIFT);
        self.counters.frames_used += 1;
        self.counters.frames_peak = self.counters.frames_peak.max(self.counters.frames_used);
        next
    }

    /// One more reference. Frames outside RAM (the root image) and the zero frame are not counted.
    /// The 32-bit count cannot overflow: each reference takes 8 bytes of guest RAM in some table.
    #[inline]
    pub fn share(&mut self, frame: Frame) {
        if let Some(record) = self.record(frame) {
            let word = self.window.word(record);
            self.window.set_word(record, word.wrapping_add(1));
        }
    }

    /// One reference less; the last frees the frame.
    #[inline]
    pub fn release(&mut self, frame: Frame) {
        let Some(record) = self.record(frame) else {
            return;
        };
        let word = self.window.word(record);
        debug_assert_ne!(word & REFERENCES, 0, "{frame:?} is released but free");
        if word & REFERENCES > 1 {
            self.window.set_word(record, word - 1);
        } else {
            self.window.set_word(record, self.dirty << USAGE_SHIFT);
            self.dirty = frame.number();
            self.counters.frames_used -= 1;
        }
    }

    /// Frees a frame that has one reference and whose bytes are all zero: a page table taken down
    /// entry by entry.
    #[inline]
    pub fn release_clean(&mut self, frame: Frame) {
        let Some(record) = self.record(frame) else {
            return;
        };
        debug_assert_eq!(
            self.window.word(record) & REFERENCES,
            1,
            "{frame:?} has another owner"
        );
        debug_assert!(
            self.window.page(frame).iter().all(|byte| *byte == 0),
            "{frame:?} is not clean"
        );
        self.window.set_word(record, self.clean << USAGE_SHIFT);
        self.clean = frame.number();
        self.counters.frames_used -= 1;
    }

    /// References of a counted frame; `None` for one outside RAM (the root image) and for the zero
    /// frame: never owned, always copied on write.
    #[inline]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the low half of the word is the count"
    )]
    pub fn references(&self, frame: Frame) -> Option<u32> {
        self.record(frame)
            .map(|record| self.window.word(record) as u32)
    }

    /// Frames that can still be had.
    pub fn available(&self) -> u64 {
        self.counters.frames_total - self.counters.frames_used
    }

    /// The shared frame of zeros; mapped read-only, never freed, not counted.
    #[inline]
    pub fn zero_frame(&self) -> Frame {
        Frame::containing(PhysAddr(self.first - PAGE_SIZE))
    }

    /// Where the record of a counted frame is.
    #[inline]
    fn record(&self, frame: Frame) -> Option<PhysAddr> {
        let address = frame.address().0;
        let high = address.wrapping_sub(HIGH_RAM_GPA);
        if address.wrapping_sub(self.first) < self.low_bytes {
            Some(PhysAddr(self.table.wrapping_add(address / PAGE_SIZE * 8)))
        } else if high < self.high_bytes {
            Some(PhysAddr(self.table.wrapping_add(
                self.low_end.wrapping_add(high) / PAGE_SIZE * 8,
            )))
        } else {
            None
        }
    }

    #[cfg(target_os = "none")]
    #[inline]
    fn fail_on_purpose(&mut self) -> Result<(), OutOfFrames> {
        Ok(())
    }

    #[cfg(not(target_os = "none"))]
    fn fail_on_purpose(&mut self) -> Result<(), OutOfFrames> {
        self.fail_in = self.fail_in.saturating_sub(1);
        if self.fail_in == 1 {
            Err(OutOfFrames)
        } else {
            Ok(())
        }
    }

    /// Makes one allocation fail, for host tests: the next for 1, the one after it for 2, and so on; 0
    /// calls it off. Returns whether an earlier request is still to come.
    #[cfg(not(target_os = "none"))]
    pub fn fail_allocation(&mut self, nth: u64) -> bool {
        let outstanding = self.fail_in > 1;
        self.fail_in = if nth == 0 { 0 } else { nth + 1 };
        outstanding
    }
}
