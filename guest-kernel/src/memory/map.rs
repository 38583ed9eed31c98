//! mmap(2) and munmap(2) on an address space: where a mapping goes, and what makes room for it.
//!
//! Mappings are placed as Linux does without randomisation: in the highest gap that fits, below
//! the space kept for the stack (arch/x86/mm/mmap.c, mmap_base; mm/mmap.c).

use super::address::page_up;
use super::frames::Frames;
use super::shared::SharedPages;
use super::space::{AddressSpace, Backing, Protection};
use super::vma::{NO_RESERVE, STACK_GUARD_BYTES, Source, Vma, is_data};
use crate::errno::Errno;
use alloc::rc::Rc;
use core::ops::Range;
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::inspect::vma as flag;
use forkvm_abi::layout::{MMAP_MIN_ADDR, USER_END};

/// VMAs a space may have (vm.max_map_count).
pub const MAX_VMAS: usize = 65530;
/// The least and the most that is kept free for the stack.
const STACK_GAP: (u64, u64) = (128 << 20, USER_END / 6 * 5);

/// Where a mapping goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Anywhere; the hint is taken if free (mmap without MAP_FIXED).
    Hint(u64),
    /// Exactly there; what was there is unmapped (MAP_FIXED).
    Fixed(u64),
    /// Exactly there, else EEXIST (MAP_FIXED_NOREPLACE).
    FixedNoReplace(u64),
}

/// A mapping to be made. `flags` are abi::inspect::vma bits beyond the protection (SHARED, GROWS_DOWN,
/// STACK, HEAP), [`NO_RESERVE`] and `NEVER_WRITE`.
#[derive(Clone, Debug)]
pub struct MapRequest {
    /// Where.
    pub placement: Placement,
    /// Bytes; rounded up to pages. 0 is EINVAL.
    pub len: u64,
    /// READ, WRITE, EXEC.
    pub protection: Protection,
    /// SHARED, GROWS_DOWN, STACK.
    pub flags: u64,
    /// What the pages hold.
    pub backing: Backing,
}

/// What the search for a gap remembers, so that mapping n regions does not look at n regions each
/// time: above `below`, no gap is larger than `largest`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GapSearch {
    base: u64,
    below: u64,
    largest: u64,
}

impl AddressSpace {
    /// Maps; returns the address. EINVAL, ENOMEM, EEXIST, EOVERFLOW, and EPERM for an address below
    /// vm.mmap_min_addr, as mmap(2).
    pub fn map(&mut self, frames: &mut Frames, request: &MapRequest) -> Result<u64, Errno> {
        if request.len == 0 {
            return Err(Errno::EINVAL);
        }
        let len = page_up(request.len)
            .filter(|len| *len <= USER_END)
            .ok_or(Errno::ENOMEM)?;
        let flags = request.protection | request.flags | backing_flag(&request.backing);
        if let Backing::Image { offset, .. } | Backing::File { offset, .. } = request.backing {
            offset.checked_add(len).ok_or(Errno::EOVERFLOW)?;
        }
        if self.vmas.len() > MAX_VMAS {
            return Err(Errno::ENOMEM);
        }

        let start = self.place(request.placement, len)?;
        let replaced = match request.placement {
            Placement::Fixed(_) => self.mapped_in(start, start + len),
            Placement::Hint(_) | Placement::FixedNoReplace(_) => 0,
        };
        if !self.may_expand(len - replaced, flags) || !may_commit(frames, len, flags) {
            return Err(Errno::ENOMEM);
        }
        if replaced != 0 {
            self.unmap(frames, start, len)?;
        }

        let vma = new_vma(start, start + len, flags, &request.backing);
        self.add_region(vma);
        Ok(start)
    }

    /// Unmaps whatever lies in the range; EINVAL as munmap(2), ENOMEM if a split would make too many VMAs.
    pub fn unmap(&mut self, frames: &mut Frames, address: u64, len: u64) -> Result<(), Errno> {
        let (start, end) = page_range(address, len)
            .filter(|(start, end)| start < end)
            .ok_or(Errno::EINVAL)?;
        self.check_splits(start, end)?;
        if self.vmas.isolate(start, end) {
            self.remove_regions(frames, start, end);
        }
        Ok(())
    }

    /// Puts a region in where nothing is, and counts it.
    pub(super) fn add_region(&mut self, vma: Vma) {
        self.account(vma.len(), vma.flags(), u64::wrapping_add);
        self.vmas.insert(vma);
    }

    /// Takes all regions of a range out, which begin and end on its edges.
    pub(super) fn remove_regions(&mut self, frames: &mut Frames, start: u64, end: u64) {
        let mut touched: Option<Range<u64>> = None;
        while let Some(vma) = self.vmas.take_first_in(start, end) {
            let range = vma.start()..vma.end();
            self.drop_pages(frames, range.start, range.end);
            self.account(vma.len(), vma.flags(), u64::wrapping_sub);
            vma.retire(frames);
            let is_last = range.end == end;
            touched = Some(touched.map_or(range.start, |touched| touched.start)..range.end);
            if is_last {
                break;
            }
        }
        let Some(touched) = touched else { return };
        let (floor, ceiling) = self.vmas.hole_around(start, end);
        self.table.free_tables(frames, touched, floor..ceiling);
        self.gaps.below = self.gaps.below.max(ceiling);
    }

    /// ENOMEM if cutting VMAs at both ends of a range would make more than there may be.
    pub(super) fn check_splits(&self, start: u64, end: u64) -> Result<(), Errno> {
        if self.vmas.len() + 2 <= MAX_VMAS {
            return Ok(());
        }
        let splits = |at| usize::from(self.vmas.find(at).is_some_and(|vma| vma.start() < at));
        let more = splits(start) + splits(end);
        if more != 0 && self.vmas.len() + more > MAX_VMAS {
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }

    /// Bytes of regions in a range.
    pub(super) fn mapped_in(&self, start: u64, end: u64) -> u64 {
        self.vmas
            .overlapping(start, end)
            .map(|vma| vma.end().min(end) - vma.start().max(start))
            .sum()
    }

    /// The address at which `len` bytes go.
    pub(super) fn place(&mut self, placement: Placement, len: u64) -> Result<u64, Errno> {
        match placement {
            Placement::Fixed(start) => check_fixed(start, len),
            Placement::FixedNoReplace(start) => {
                check_fixed(start, len)?;
                if self.mapped_in(start, start + len) != 0 {
                    Err(Errno::EEXIST)
                } else {
                    Ok(start)
                }
            }
            Placement::Hint(hint) => match page_up(hint) {
                Some(start) if hint != 0 && self.is_free(start.max(MMAP_MIN_ADDR), len) => {
                    Ok(start.max(MMAP_MIN_ADDR))
                }
                _ => self.find_gap(len).ok_or(Errno::ENOMEM),
            },
        }
    }

    /// Whether a range can be mapped without touching a region or the guard gap of a stack.
    fn is_free(&self, start: u64, len: u64) -> bool {
        USER_END.checked_sub(len).is_some_and(|last| start <= last)
            && self
                .vmas
                .first_behind(start)
                .is_none_or(|above| start + len <= above.guarded_start())
    }

    /// The highest gap of `len` bytes below the stack's space; ENOMEM if there is none above it either.
    fn find_gap(&mut self, len: u64) -> Option<u64> {
        let base = mmap_base(self.limits.stack);
        if self.gaps.base != base || len <= self.gaps.largest {
            self.gaps = GapSearch {
                base,
                below: base,
                largest: 0,
            };
        }
        let mut end = self.gaps.below.min(base);
        if let Some(above) = self.vmas.first_behind(end) {
            end = end.min(above.guarded_start());
        }
        let mut skipped = self.gaps.largest;
        for vma in self.vmas.below(end) {
            let gap = end.saturating_sub(vma.end());
            if gap >= len {
                break;
            }
            skipped = skipped.max(gap);
            end = end.min(vma.guarded_start());
        }
        let start = end
            .checked_sub(len)
            .filter(|start| *start >= MMAP_MIN_ADDR)?;
        self.gaps = GapSearch {
            base,
            below: start,
            largest: skipped,
        };
        Some(start)
    }
}

/// First address behind the area of mappings: the stack's limit and its guard gap are kept free.
fn mmap_base(stack_limit: u64) -> u64 {
    let gap = stack_limit
        .saturating_add(STACK_GUARD_BYTES)
        .clamp(STACK_GAP.0, STACK_GAP.1);
    (USER_END - gap) & !(PAGE_SIZE - 1)
}

/// The pages of a range, if its start is page-aligned and all of it lies in user space.
pub(super) fn page_range(address: u64, len: u64) -> Option<(u64, u64)> {
    let end = address.checked_add(page_up(len)?)?;
    (address.is_multiple_of(PAGE_SIZE) && end <= USER_END).then_some((address, end))
}

fn check_fixed(start: u64, len: u64) -> Result<u64, Errno> {
    if !start.is_multiple_of(PAGE_SIZE) {
        Err(Errno::EINVAL)
    } else if start.checked_add(len).is_none_or(|end| end > USER_END) {
        Err(Errno::ENOMEM)
    } else if start < MMAP_MIN_ADDR {
        Err(Errno::EPERM)
    } else {
        Ok(start)
    }
}

/// Whether a private writable mapping is not absurdly larger than RAM (Linux's overcommit heuristic,
/// vm.overcommit_memory 0).
pub(super) fn may_commit(frames: &Frames, bytes: u64, flags: u64) -> bool {
    !is_data(flags) || flags & NO_RESERVE != 0 || bytes / PAGE_SIZE <= frames.counters.frames_total
}

fn backing_flag(backing: &Backing) -> u64 {
    match backing {
        Backing::Anonymous => 0,
        Backing::Image { .. } | Backing::File { .. } => flag::FILE,
    }
}

fn new_vma(start: u64, end: u64, flags: u64, backing: &Backing) -> Vma {
    let is_shared = flags & flag::SHARED != 0;
    let (offset, inode, source) = match backing {
        Backing::Image {
            inode,
            data,
            size,
            offset,
        } => {
            let (data, size) = (*data, *size);
            (*offset, *inode, Source::Image { data, size })
        }
        Backing::File {
            inode,
            pages,
            offset,
        } if is_shared => (*offset, *inode, Source::Shared(Rc::clone(pages))),
        Backing::File {
            inode,
            pages,
            offset,
        } => (*offset, *inode, Source::Private(Rc::clone(pages))),
        Backing::Anonymous if is_shared => {
            let pages = SharedPages::new(end - start);
            (0, 0, Source::Shared(Rc::new(pages)))
        }
        Backing::Anonymous => (0, 0, Source::Anonymous),
    };
    Vma::new(start, end, flags, offset, inode, source)
}
