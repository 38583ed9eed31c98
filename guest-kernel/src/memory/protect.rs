//! mprotect(2) on an address space.

use super::frames::Frames;
use super::map::{may_commit, page_range};
use super::page_table::frame_of;
use super::space::{AddressSpace, Protection};
use super::vma::{NEVER_WRITE, PROTECTION, Vma, is_data};
use crate::errno::Errno;
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::inspect::vma as flag;
use forkvm_abi::page_table::{ADDRESS_MASK, NO_EXECUTE, UNCOUNTED, USER, WRITABLE};

impl AddressSpace {
    /// Changes protection. EINVAL for a range that is none, EACCES for write access to a shared mapping of a
    /// file that can only be read, ENOMEM where a page of the range is not mapped (the pages before it are
    /// changed then, as Linux does) or a limit is hit.
    pub fn protect(
        &mut self,
        frames: &mut Frames,
        address: u64,
        len: u64,
        protection: Protection,
    ) -> Result<(), Errno> {
        if !address.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        if len == 0 {
            return Ok(());
        }
        let (start, end) = page_range(address, len).ok_or(Errno::ENOMEM)?;
        self.check_splits(start, end)?;
        let mut at = start;
        while at < end {
            let vma = self.vmas.find(at).ok_or(Errno::ENOMEM)?;
            let piece_end = vma.end().min(end);
            let (old, new) = (vma.flags(), vma.flags() & !PROTECTION | protection);
            if new & NEVER_WRITE != 0 && new & flag::WRITE != 0 {
                return Err(Errno::EACCES);
            }
            if old != new {
                self.protect_region(frames, at, piece_end, old, new)?;
            }
            at = piece_end;
        }
        Ok(())
    }

    /// One region's part of the range.
    fn protect_region(
        &mut self,
        frames: &mut Frames,
        start: u64,
        end: u64,
        old: u64,
        new: u64,
    ) -> Result<(), Errno> {
        if is_data(new) && !is_data(old) {
            let fits = self
                .usage
                .data
                .checked_add(end - start)
                .is_some_and(|sum| sum <= self.limits.data);
            if !fits || !may_commit(frames, end - start, new) {
                return Err(Errno::ENOMEM);
            }
        }
        self.vmas.isolate(start, end);
        self.account(end - start, old, u64::wrapping_sub);
        self.account(end - start, new, u64::wrapping_add);
        self.vmas.change_flags(start, end, |_| new);
        self.protect_pages(frames, start, end);
        Ok(())
    }

    /// Brings the PTEs of a range, which lies in one region, in line with it.
    fn protect_pages(&mut self, frames: &mut Frames, start: u64, end: u64) {
        let Some(vma) = self.vmas.find(start) else {
            return;
        };
        let mut lost = 0;
        let mut at = start;
        while let Some(run) = self.table.next_run(&frames.window, at, end) {
            run.for_each_present(frames, |frames, slot, old| {
                let new = old & (ADDRESS_MASK | UNCOUNTED) | page_bits(frames, vma, old);
                lost |= (old & !new & (WRITABLE | USER)) | (new & !old & NO_EXECUTE);
                frames.window.set_word(slot, new);
            });
            at = run.end;
        }
        if lost != 0 {
            self.flush_range(start, end);
        }
    }
}

/// What a present page's PTE says in a region: writable at once if nobody else has the frame.
fn page_bits(frames: &Frames, vma: &Vma, entry: u64) -> u64 {
    if vma.has(flag::SHARED) || frames.references(frame_of(entry)) == Some(1) {
        vma.own_bits()
    } else {
        vma.borrowed_bits()
    }
}
