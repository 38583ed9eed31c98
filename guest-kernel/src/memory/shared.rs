//! Memory that processes share for good: what MAP_SHARED | MAP_ANONYMOUS maps.
//!
//! The pages belong to an object that every inheriting mapping refers to, so that a page first touched
//! after a fork is the same page for both sides. The object is a page table of its own, indexed
//! by offset instead of address; each of its entries holds one reference to a frame.

use super::address::Frame;
use super::frames::{Frames, OutOfFrames};
use super::page_table::{LOWER_HALF_END, PageTable, frame_of};
use forkvm_abi::inspect::FrameUse;
use forkvm_abi::page_table::PRESENT;

/// The pages of a shared mapping. Mappings hold it by `Rc`; who drops the last calls
/// [`SharedPages::destroy`].
#[derive(Debug)]
pub struct SharedPages {
    pages: PageTable,
    size: u64,
}

impl SharedPages {
    /// An object of `size` bytes, all zero, without frames for them yet.
    pub fn new(frames: &mut Frames, size: u64) -> Result<Self, OutOfFrames> {
        Ok(Self {
            pages: PageTable::new(frames)?,
            size,
        })
    }

    /// Bytes. Pages behind raise SIGBUS.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The frame at `offset`, allocated now if nobody touched it before. The caller takes a
    /// reference of its own.
    pub fn frame(&self, frames: &mut Frames, offset: u64) -> Result<Frame, OutOfFrames> {
        let slot = self.pages.slot_or_create(frames, offset)?;
        let entry = frames.window.word(slot);
        if entry != 0 {
            return Ok(frame_of(entry));
        }
        let frame = frames.allocate_zeroed(FrameUse::User)?;
        frames.window.set_word(slot, frame.address().0 | PRESENT);
        frames.counters.demand_zero += 1;
        Ok(frame)
    }

    /// Root of the table of pages.
    #[cfg(test)]
    pub(super) fn root(&self) -> Frame {
        self.pages.root()
    }

    /// Gives all frames back.
    pub fn destroy(self, frames: &mut Frames) {
        let mut at = 0;
        while let Some(run) = self.pages.next_run(&frames.window, at, self.size) {
            run.for_each_present(frames, |frames, slot, entry| {
                frames.window.set_word(slot, 0);
                frames.release(frame_of(entry));
            });
            at = run.end;
        }
        self.pages
            .free_tables(frames, 0..self.size, 0..LOWER_HALF_END);
        self.pages.free_root(frames);
    }
}
