//! brk(2) on an address space.

use super::address::page_up;
use super::frames::Frames;
use super::map::{MAX_VMAS, may_commit};
use super::space::AddressSpace;
use super::vma::{Source, Vma};
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::inspect::vma as flag;
use forkvm_abi::layout::USER_END;

/// Flags of the heap's region.
const HEAP: u64 = flag::READ | flag::WRITE | flag::HEAP;

impl AddressSpace {
    /// The first break, right behind the image (exec sets it).
    pub fn set_break_start(&mut self, start: u64) {
        self.program_break = start..start;
    }

    /// brk(2): the new break, or the old one if it cannot be moved there: below the start, beyond
    /// RLIMIT_DATA or RLIMIT_AS, or into another region.
    pub fn set_break(&mut self, frames: &mut Frames, wanted: u64) -> u64 {
        let start = self.program_break.start;
        let old = self.program_break.end;
        let (Some(old_end), Some(new_end)) = (page_up(old), page_up(wanted)) else {
            return old;
        };
        if wanted < start || new_end > USER_END || wanted - start > self.limits.data {
            return old;
        }
        let moved = if new_end < old_end {
            self.unmap(frames, new_end, old_end - new_end).is_ok()
        } else {
            new_end == old_end || self.grow_heap(frames, old_end, new_end)
        };
        if moved {
            self.program_break.end = wanted;
        }
        self.program_break.end
    }

    /// Adds pages to the heap, leaving one page to the next region as Linux does.
    fn grow_heap(&mut self, frames: &Frames, old_end: u64, new_end: u64) -> bool {
        let bytes = new_end - old_end;
        let is_free = self
            .vmas
            .first_behind(old_end)
            .is_none_or(|above| new_end + PAGE_SIZE <= above.guarded_start());
        if !is_free
            || !self.may_expand(bytes, HEAP)
            || !may_commit(frames, bytes, HEAP)
            || self.vmas.len() > MAX_VMAS
        {
            return false;
        }
        self.add_region(Vma::new(old_end, new_end, HEAP, 0, 0, Source::Anonymous));
        true
    }
}
