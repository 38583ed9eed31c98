//! madvise(2), msync(2) and mincore(2) on an address space.

use super::address::page_up;
use super::fault::{Access, FaultOutcome};
use super::frames::Frames;
use super::map::page_range;
use super::space::AddressSpace;
use super::vma::{DONT_FORK, Source, Vma, WIPE_ON_FORK};
use crate::errno::Errno;
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::inspect::vma as flag;
use linux_raw_sys::general as raw;

/// What an advice comes to here.
enum Action {
    /// Nothing: no swap, no read-ahead, no huge pages, no core dumps.
    Nothing,
    /// Throw the pages away: zeros or the file's contents come back on the next access.
    Drop,
    /// Throw private anonymous pages away.
    Free,
    /// Set and clear flags of the regions.
    Flags {
        set: u64,
        clear: u64,
        only_anonymous: bool,
    },
    /// Fault the pages in.
    Populate(Access),
}

impl AddressSpace {
    /// madvise(2). EINVAL for an unknown advice or one that does not fit the mapping; ENOMEM where a part is
    /// not mapped, after the mapped parts have been dealt with.
    pub fn advise(
        &mut self,
        frames: &mut Frames,
        address: u64,
        len: u64,
        advice: u32,
    ) -> Result<(), Errno> {
        let action = action_of(advice)?;
        let end = page_up(len)
            .and_then(|len| address.checked_add(len))
            .ok_or(Errno::EINVAL)?;
        if !address.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        let mut at = address;
        let mut has_hole = false;
        while at < end
            && let Some((from, to)) = self.next_piece(at, end)
        {
            has_hole |= from != at;
            self.advise_region(frames, from, to, &action)?;
            at = to;
        }
        if has_hole || at < end {
            Err(Errno::ENOMEM)
        } else {
            Ok(())
        }
    }

    /// msync(2): memory is its own backing store, so that only holes (ENOMEM) are news.
    pub fn sync(&self, address: u64, len: u64) -> Result<(), Errno> {
        let (start, end) = page_range(address, len).ok_or(Errno::ENOMEM)?;
        if self.mapped_in(start, end) == end - start {
            Ok(())
        } else {
            Err(Errno::ENOMEM)
        }
    }

    /// mincore(2) for one page: whether an access would find it in memory. ENOMEM if it is not mapped.
    pub fn is_resident(&self, frames: &Frames, address: u64) -> Result<bool, Errno> {
        let vma = self.vmas.find(address).ok_or(Errno::ENOMEM)?;
        Ok(vma.has(flag::FILE) || self.translate(frames, address).is_some())
    }

    /// The part of the next region in a range.
    fn next_piece(&self, start: u64, end: u64) -> Option<(u64, u64)> {
        self.vmas
            .overlapping(start, end)
            .next()
            .map(|vma| (vma.start().max(start), vma.end().min(end)))
    }

    /// One region's part.
    fn advise_region(
        &mut self,
        frames: &mut Frames,
        start: u64,
        end: u64,
        action: &Action,
    ) -> Result<(), Errno> {
        let is_anonymous = self.vmas.find(start).is_some_and(is_private_anonymous);
        match *action {
            Action::Nothing => Ok(()),
            Action::Free if !is_anonymous => Err(Errno::EINVAL),
            Action::Drop | Action::Free => {
                self.drop_pages(frames, start, end);
                Ok(())
            }
            Action::Flags {
                only_anonymous: true,
                set,
                ..
            } if set != 0 && !is_anonymous => Err(Errno::EINVAL),
            Action::Flags { set, clear, .. } => {
                self.check_splits(start, end)?;
                self.vmas.isolate(start, end);
                self.vmas
                    .change_flags(start, end, |flags| flags & !clear | set);
                Ok(())
            }
            Action::Populate(access) => match self.populate(frames, start, end - start, access) {
                FaultOutcome::Resolved => Ok(()),
                FaultOutcome::Denied => Err(Errno::EINVAL),
                FaultOutcome::BeyondFile => Err(Errno::EFAULT),
                FaultOutcome::NotMapped | FaultOutcome::OutOfMemory => Err(Errno::ENOMEM),
            },
        }
    }
}

fn is_private_anonymous(vma: &Vma) -> bool {
    !vma.has(flag::SHARED) && matches!(vma.source, Source::Anonymous)
}

fn action_of(advice: u32) -> Result<Action, Errno> {
    Ok(match advice {
        raw::MADV_NORMAL | raw::MADV_RANDOM | raw::MADV_SEQUENTIAL | raw::MADV_WILLNEED => {
            Action::Nothing
        }
        raw::MADV_COLD | raw::MADV_PAGEOUT | raw::MADV_DONTDUMP | raw::MADV_DODUMP => {
            Action::Nothing
        }
        raw::MADV_MERGEABLE | raw::MADV_UNMERGEABLE | raw::MADV_HUGEPAGE | raw::MADV_NOHUGEPAGE => {
            Action::Nothing
        }
        raw::MADV_DONTNEED | raw::MADV_DONTNEED_LOCKED => Action::Drop,
        raw::MADV_FREE => Action::Free,
        raw::MADV_DONTFORK => Action::Flags {
            set: DONT_FORK,
            clear: 0,
            only_anonymous: false,
        },
        raw::MADV_DOFORK => Action::Flags {
            set: 0,
            clear: DONT_FORK,
            only_anonymous: false,
        },
        raw::MADV_WIPEONFORK => Action::Flags {
            set: WIPE_ON_FORK,
            clear: 0,
            only_anonymous: true,
        },
        raw::MADV_KEEPONFORK => Action::Flags {
            set: 0,
            clear: WIPE_ON_FORK,
            only_anonymous: false,
        },
        raw::MADV_POPULATE_READ => Action::Populate(Access::Read),
        raw::MADV_POPULATE_WRITE => Action::Populate(Access::Write),
        _ => return Err(Errno::EINVAL),
    })
}
