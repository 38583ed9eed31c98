//! Copies an address space for fork(2): frames are shared, both sides become read-only.
//!
//! One pass over the present entries, region by region. Private writable entries lose WRITABLE and gain COW
//! on both sides; everything else (text, pages already COW, MAP_SHARED) is copied as it stands. The
//! parent's TLB may still hold writable translations, hence one flush for all of it.

use super::address::PhysAddr;
use super::frames::{Frames, OutOfFrames};
use super::page_table::{PageTable, Run, frame_of};
use super::space::{AddressSpace, Flush};
use super::vma::{DONT_FORK, Vma, WIPE_ON_FORK};
use super::vma_set::VmaSet;
use forkvm_abi::inspect::vma as flag;
use forkvm_abi::page_table::{COW, WRITABLE};

impl AddressSpace {
    /// The child's space. On failure nothing is left behind and `self` works as before (pages may have
    /// become copy-on-write, which the next write undoes).
    pub fn fork(&mut self, frames: &mut Frames) -> Result<Self, OutOfFrames> {
        let mut child = Self::new(frames, self.kernel_half)?;
        let armed_before = frames.counters.cow_armed;
        let shared = match self.vmas.fork(frames) {
            Ok(vmas) => {
                child.inherit(self, vmas);
                self.share_pages(frames, &mut child)
            }
            Err(error) => Err(error),
        };
        if frames.counters.cow_armed != armed_before {
            self.pending_flush = Flush::All;
        }
        match shared {
            Ok(()) => Ok(child),
            Err(error) => {
                child.destroy(frames);
                Err(error)
            }
        }
    }

    /// What a child has from its parent besides the pages.
    fn inherit(&mut self, parent: &Self, vmas: VmaSet) {
        self.limits = parent.limits;
        self.arguments = parent.arguments;
        self.program_break = parent.program_break.clone();
        self.gaps = parent.gaps;
        self.vmas = vmas;
        self.usage.mapped = parent.usage.mapped;
        self.usage.data = parent.usage.data;
        for left_out in parent.vmas.iter().filter(|vma| vma.has(DONT_FORK)) {
            self.account(left_out.len(), left_out.flags(), u64::wrapping_sub);
        }
    }

    /// Maps the parent's pages into the child, whose regions exist and are empty.
    fn share_pages(&self, frames: &mut Frames, child: &mut Self) -> Result<(), OutOfFrames> {
        let bits_to_take = |vma: &Vma| match vma.flags() & (DONT_FORK | WIPE_ON_FORK | flag::SHARED)
        {
            0 => Some(WRITABLE),
            flag::SHARED => Some(0),
            _ => None,
        };
        for (span, armed) in self.vmas.spans(bits_to_take) {
            let mut at = span.start;
            while let Some(run) = self.table.next_run(&frames.window, at, span.end) {
                child.usage.resident += share_run(frames, &child.table, &run, armed)?;
                at = run.end;
            }
        }
        Ok(())
    }
}

/// Copies the entries of a run into the child's table; those with the bit `armed` become COW on both
/// sides. Returns how many there were.
#[inline]
fn share_run(
    frames: &mut Frames,
    child: &PageTable,
    run: &Run,
    armed: u64,
) -> Result<u64, OutOfFrames> {
    let Some(run) = run.trimmed(&frames.window) else {
        return Ok(0);
    };
    let to = child.slot_or_create(frames, run.address)?;
    let distance = to.0.wrapping_sub(run.slot.0);
    let (mut copied, mut armed_entries) = (0u64, 0u64);
    run.for_each_present(frames, |frames, slot, mut entry| {
        if entry & armed != 0 {
            entry = entry & !WRITABLE | COW;
            frames.window.set_word(slot, entry);
            armed_entries = armed_entries.wrapping_add(1);
        }
        frames
            .window
            .set_word(PhysAddr(slot.0.wrapping_add(distance)), entry);
        frames.share(frame_of(entry));
        copied = copied.wrapping_add(1);
    });
    frames.counters.cow_armed += armed_entries;
    Ok(copied)
}
