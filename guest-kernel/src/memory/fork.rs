//! Copies an address space for fork(2): frames are shared, both sides become read-only.
//!
//! One pass over the present entries, region by region. Private writable entries lose WRITABLE and gain COW
//! on both sides; everything else (text, pages already COW, MAP_SHARED) is copied as it stands. The
//! parent's TLB may still hold writable translations, hence one flush for all of it. The few pages that are written
//! right after every fork are not shared at all: the child gets its copies here, and neither side a trap.

use super::address::{PhysAddr, page_down};
use super::early_writes::NOTED_PER_FORK;
use super::frames::{Frames, OutOfFrames};
use super::page_table::{PageTable, Run, frame_of, set_line};
use super::space::{AddressSpace, Flush};
use super::vma::{DONT_FORK, Vma, WIPE_ON_FORK};
use super::vma_set::VmaSet;
use alloc::rc::Rc;
use forkvm_abi::inspect::FrameUse;
use forkvm_abi::inspect::vma as flag;
use forkvm_abi::page_table::{ADDRESS_MASK, COW, DIRTY, UNCOUNTED, WRITABLE};

impl AddressSpace {
    /// The child's space. On failure nothing is left behind and `self` works as before (pages may have
    /// become copy-on-write, which the next write undoes).
    pub fn fork(&mut self, frames: &mut Frames) -> Result<Self, OutOfFrames> {
        let mut child = Self::new(frames, self.kernel_half)?;
        let armed_before = frames.counters.cow_armed;
        let shared = match self.vmas.fork(frames) {
            Ok(vmas) => {
                child.inherit(self, vmas);
                let borrowed_ahead = self.copy_ahead(frames, &mut child);
                self.share_pages(frames, &mut child).map(|()| {
                    if borrowed_ahead {
                        child.break_ahead(frames);
                    }
                })
            }
            Err(error) => Err(error),
        };
        if frames.counters.cow_armed != armed_before {
            self.pending_flush = Flush::All;
        }
        match shared {
            Ok(()) => {
                self.writes_to_note = NOTED_PER_FORK;
                child.writes_to_note = NOTED_PER_FORK;
                Ok(child)
            }
            Err(error) => {
                child.destroy(frames);
                Err(error)
            }
        }
    }

    /// Says that both sides of the next fork will write at `address` soon.
    pub fn expect_early_write(&mut self, address: u64) {
        self.early_writes.note(page_down(address));
    }

    /// Gives the child copies of its own of the pages that are written early. The parent keeps, or gets back, the right
    /// to write its page. Returns whether one of them is borrowed from a file or the zero frame. Where no frame is left, the
    /// page will be shared like others.
    fn copy_ahead(&mut self, frames: &mut Frames, child: &mut Self) -> bool {
        let mut is_borrowed = false;
        for page in self.early_writes.pages() {
            let Some(slot) = self.table.slot(&frames.window, page) else {
                continue;
            };
            let entry = frames.window.word(slot);
            let is_private = child.vmas.find(page).is_some_and(|vma| {
                vma.flags() & (flag::WRITE | flag::SHARED | WIPE_ON_FORK) == flag::WRITE
            });
            if entry == 0 || !is_private {
                continue;
            }
            if entry & UNCOUNTED != 0 {
                is_borrowed = true;
                continue;
            }
            let Ok(to) = child.table.slot_or_create(frames, page) else {
                break;
            };
            let Ok(copy) = frames.allocate(FrameUse::User) else {
                break;
            };
            frames.window.copy(frame_of(entry), copy);
            let own = entry & !COW | WRITABLE | DIRTY;
            frames
                .window
                .set_word(to, own & !ADDRESS_MASK | copy.address().0);
            if entry & COW != 0 && frames.references(frame_of(entry)) == Some(1) {
                frames.window.set_word(slot, own);
            }
            child.usage.resident += 1;
            frames.counters.cow_copies += 1;
        }
        is_borrowed
    }

    /// Breaks copy-on-write of the child's early pages that still have it.
    fn break_ahead(&mut self, frames: &mut Frames) {
        let early = Rc::clone(&self.early_writes);
        early
            .pages()
            .for_each(|page| self.prefault_cow(frames, page));
    }

    /// What a child has from its parent besides the pages.
    fn inherit(&mut self, parent: &Self, vmas: VmaSet) {
        self.limits = parent.limits;
        self.arguments = parent.arguments;
        self.program_break = parent.program_break.clone();
        self.gaps = parent.gaps;
        self.early_writes = Rc::clone(&parent.early_writes);
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

/// Copies the entries of a run into the child's table, where it has none yet; those with the bit `armed` become COW on
/// both sides. Returns how many there were.
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
    let (mut lines, mut copied, mut armed_entries) = (0u64, 0u64, 0u64);
    run.for_each_line(
        frames,
        |frames, slot, line| {
            let to = PhysAddr(slot.0.wrapping_add(distance));
            set_line(&mut frames.window, to, line);
            lines = lines.wrapping_add(1);
            true
        },
        |frames, slot, mut entry| {
            let to = PhysAddr(slot.0.wrapping_add(distance));
            if frames.window.word(to) != 0 {
                return;
            }
            if entry & armed != 0 {
                entry = entry & !WRITABLE | COW;
                frames.window.set_word(slot, entry);
                armed_entries = armed_entries.wrapping_add(1);
            }
            frames.window.set_word(to, entry);
            if entry & UNCOUNTED == 0 {
                frames.share(frame_of(entry));
            }
            copied = copied.wrapping_add(1);
        },
    );
    frames.counters.cow_armed += armed_entries;
    Ok(copied + 8 * lines)
}
