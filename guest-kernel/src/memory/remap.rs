//! mremap(2) on an address space: pages change their address by moving PTEs, never by copying.

use super::address::page_up;
use super::frames::{Frames, OutOfFrames};
use super::map::{MAX_VMAS, Placement, may_commit, page_range};
use super::space::AddressSpace;
use super::vma::{Source, Vma};
use crate::errno::Errno;
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::inspect::vma as flag;
use forkvm_abi::layout::USER_END;
use linux_raw_sys::general::{MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE};

impl AddressSpace {
    /// mremap(2); `flags` are MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP. EINVAL for what the man page
    /// forbids, EFAULT where the old range is not one mapping, ENOMEM where it cannot grow.
    pub fn remap(
        &mut self,
        frames: &mut Frames,
        old: u64,
        old_len: u64,
        new_len: u64,
        flags: u32,
        new: u64,
    ) -> Result<u64, Errno> {
        let (old_len, new_len) = check_arguments(old, old_len, new_len, flags)?;
        let fixed = flags & MREMAP_FIXED != 0;
        let keep = flags & MREMAP_DONTUNMAP != 0;
        if fixed || keep {
            return self.remap_elsewhere(
                frames,
                (old, old_len),
                new_len,
                fixed.then_some(new),
                keep,
            );
        }

        if new_len <= old_len && old_len != 0 {
            if new_len < old_len {
                self.unmap(frames, old + new_len, old_len - new_len)?;
            }
            return Ok(old);
        }
        self.check_growth(frames, old, old_len, new_len)?;
        if self.grow_in_place(old, old_len, new_len) {
            return Ok(old);
        }
        if flags & MREMAP_MAYMOVE == 0 {
            return Err(Errno::ENOMEM);
        }
        let target = self.place(Placement::Hint(0), new_len)?;
        self.move_region(frames, (old, old_len), target, new_len, false)
    }

    /// MREMAP_FIXED and MREMAP_DONTUNMAP: to a given place, or anywhere.
    fn remap_elsewhere(
        &mut self,
        frames: &mut Frames,
        (old, mut old_len): (u64, u64),
        new_len: u64,
        fixed: Option<u64>,
        keep: bool,
    ) -> Result<u64, Errno> {
        if let Some(new) = fixed {
            let (new, new_end) = page_range(new, new_len).ok_or(Errno::EINVAL)?;
            if new < old + old_len && old < new_end {
                return Err(Errno::EINVAL);
            }
            self.place(Placement::Fixed(new), new_len)?;
            self.check_growth(frames, old, old_len.min(new_len), new_len)?;
            self.unmap(frames, new, new_len)?;
            if new_len < old_len {
                self.unmap(frames, old + new_len, old_len - new_len)?;
                old_len = new_len;
            }
        }
        self.check_growth(frames, old, old_len, new_len)?;
        let target = match fixed {
            Some(new) => new,
            None => self.place(Placement::Hint(0), new_len)?,
        };
        self.move_region(frames, (old, old_len), target, new_len, keep)
    }

    /// Whether the old range is part of one mapping that may become that large.
    fn check_growth(
        &self,
        frames: &Frames,
        old: u64,
        old_len: u64,
        new_len: u64,
    ) -> Result<(), Errno> {
        let vma = self.vmas.find(old).ok_or(Errno::EFAULT)?;
        if old_len == 0 && !vma.has(flag::SHARED) {
            return Err(Errno::EINVAL);
        }
        if old + old_len > vma.end() {
            return Err(Errno::EFAULT);
        }
        // No offset in a file or shared object may overflow.
        vma.offset_of(old)
            .checked_add(new_len)
            .ok_or(Errno::EINVAL)?;
        let more = new_len - old_len;
        if !self.may_expand(more, vma.flags()) || !may_commit(frames, more, vma.flags()) {
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }

    /// Extends a mapping upwards into free addresses. Only the end of a mapping can be extended.
    fn grow_in_place(&mut self, old: u64, old_len: u64, new_len: u64) -> bool {
        let (end, new_end) = (old + old_len, old.saturating_add(new_len));
        let Some(vma) = self
            .vmas
            .find(old)
            .filter(|vma| vma.end() == end && old_len != 0)
        else {
            return false;
        };
        let is_free = new_end <= USER_END
            && self
                .vmas
                .first_behind(end)
                .is_none_or(|above| new_end <= above.guarded_start());
        if !is_free {
            return false;
        }
        let extension = Vma::new(
            end,
            new_end,
            vma.flags(),
            vma.extension_offset(),
            vma.inode(),
            vma.source.clone(),
        );
        self.add_region(extension);
        true
    }

    /// Moves the pages and the region. Everything that can fail comes first.
    fn move_region(
        &mut self,
        frames: &mut Frames,
        (old, old_len): (u64, u64),
        target: u64,
        new_len: u64,
        keep: bool,
    ) -> Result<u64, Errno> {
        if self.vmas.len() + 3 > MAX_VMAS {
            return Err(Errno::ENOMEM);
        }
        let vma = self.vmas.find(old).ok_or(Errno::EFAULT)?;
        if keep && !self.may_expand(new_len, vma.flags()) {
            return Err(Errno::ENOMEM);
        }
        let moved = vma.moved_to(old, target, new_len);
        if self.create_targets(frames, old, old_len, target).is_err() {
            let (floor, ceiling) = self.vmas.hole_around(target, target + new_len);
            self.table
                .free_tables(frames, target..target + new_len, floor..ceiling);
            return Err(Errno::ENOMEM);
        }

        self.move_pages(frames, old, old_len, target);
        self.add_region(moved);
        if !keep && old_len != 0 {
            self.unmap(frames, old, old_len)?;
        }
        Ok(target)
    }

    /// Makes the tables that the moved pages need.
    fn create_targets(
        &self,
        frames: &mut Frames,
        old: u64,
        len: u64,
        target: u64,
    ) -> Result<(), OutOfFrames> {
        let mut at = old;
        while let Some(run) = self.table.next_run(&frames.window, at, old + len) {
            // One table's pages go to two tables at most.
            self.table
                .slot_or_create(frames, run.address - old + target)?;
            self.table
                .slot_or_create(frames, run.end - PAGE_SIZE - old + target)?;
            at = run.end;
        }
        Ok(())
    }

    /// Moves the entries themselves.
    fn move_pages(&mut self, frames: &mut Frames, old: u64, len: u64, target: u64) {
        let table = &self.table;
        let mut at = old;
        while let Some(run) = table.next_run(&frames.window, at, old + len) {
            run.for_each_present(frames, |frames, slot, entry| {
                let to = table.slot(&frames.window, run.address_of(slot) - old + target);
                frames
                    .window
                    .set_word(to.expect("the tables were made before"), entry);
                frames.window.set_word(slot, 0);
            });
            at = run.end;
        }
        self.flush_range(old, old + len);
    }
}

/// The lengths in whole pages; EINVAL for what mremap(2) forbids.
fn check_arguments(old: u64, old_len: u64, new_len: u64, flags: u32) -> Result<(u64, u64), Errno> {
    let known = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
    let needs_maymove = flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) != 0;
    if flags & !known != 0 || (needs_maymove && flags & MREMAP_MAYMOVE == 0) {
        return Err(Errno::EINVAL);
    }
    let old_len = page_up(old_len).ok_or(Errno::EINVAL)?;
    let new_len = page_up(new_len)
        .filter(|len| *len != 0)
        .ok_or(Errno::EINVAL)?;
    let keeps_other_size = flags & MREMAP_DONTUNMAP != 0 && old_len != new_len;
    if !old.is_multiple_of(PAGE_SIZE) || keeps_other_size {
        return Err(Errno::EINVAL);
    }
    if old.checked_add(old_len).is_none_or(|end| end > USER_END) {
        return Err(if old_len > new_len {
            Errno::EINVAL
        } else {
            Errno::EFAULT
        });
    }
    Ok((old_len, new_len))
}

impl Vma {
    /// Offset at which a region behind this one continues it.
    fn extension_offset(&self) -> u64 {
        match self.source {
            Source::Anonymous => 0,
            Source::Image { .. } | Source::Shared(_) | Source::Private(_) => {
                self.offset_of(self.end())
            }
        }
    }
}
