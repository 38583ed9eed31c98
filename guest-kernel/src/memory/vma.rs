//! The regions of an address space, in address order, readable by the VMM.
//!
//! A [`Vma`] begins with the abi's [`VmaRecord`] and stays where it is for life, so that the records
//! can link each other by address. The tree is keyed by the *end* of a VMA: finding the VMA of
//! an address is one look-up ("the first that ends behind it", Linux's find_vma), and growing
//! downwards, which stacks and top-down mmap do, changes no key.
//!
//! Neighbours that continue each other are merged as Linux does (mm/mmap.c, vma_merge), so a program that
//! maps page after page has one VMA.

use super::frames::Frames;
use super::shared::SharedPages;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use core::ops::Bound::{Excluded, Unbounded};
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::inspect::{VmaRecord, vma as flag};
use forkvm_abi::page_table::{ACCESSED, COW, DIRTY, NO_EXECUTE, PRESENT, USER, WRITABLE};

/// READ, WRITE, EXEC: what mprotect(2) changes.
pub const PROTECTION: u64 = flag::READ | flag::WRITE | flag::EXEC;
/// madvise(MADV_DONTFORK): a child does not get the region. The kernel's own, above the abi's bits.
pub const DONT_FORK: u64 = 1 << 32;
/// madvise(MADV_WIPEONFORK): a child gets the region empty.
pub const WIPE_ON_FORK: u64 = 1 << 33;
/// MAP_NORESERVE: mapping more than there is RAM is fine.
pub const NO_RESERVE: u64 = 1 << 34;
/// Pages below a stack that must stay free (Linux's stack_guard_gap).
pub const STACK_GUARD_BYTES: u64 = 256 * PAGE_SIZE;

/// Where the pages of a region come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Zeros.
    Anonymous,
    /// A file of the root image at GPA `data`, `size` bytes.
    Image { data: u64, size: u64 },
    /// Pages shared with whoever inherited the mapping.
    Shared(Rc<SharedPages>),
}

impl Source {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Anonymous, Self::Anonymous) => true,
            (Self::Image { data: one, .. }, Self::Image { data: two, .. }) => one == two,
            (Self::Shared(one), Self::Shared(two)) => Rc::ptr_eq(one, two),
            _ => false,
        }
    }
}

/// A region: a range of pages of one kind.
#[repr(C)]
#[derive(Clone, Debug)]
pub struct Vma {
    record: VmaRecord,
    pub(super) source: Source,
}

impl Vma {
    /// `start` and `end` are page-aligned; `offset` and `inode` as in [`VmaRecord`].
    pub(super) fn new(
        start: u64,
        end: u64,
        flags: u64,
        offset: u64,
        inode: u64,
        source: Source,
    ) -> Self {
        Self {
            record: VmaRecord {
                next: 0,
                start,
                end,
                flags,
                offset,
                inode,
            },
            source,
        }
    }

    /// First address.
    pub fn start(&self) -> u64 {
        self.record.start
    }

    /// First address behind it.
    pub fn end(&self) -> u64 {
        self.record.end
    }

    /// Bytes.
    pub fn len(&self) -> u64 {
        self.record.end - self.record.start
    }

    /// Never: a region has at least one page.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bits of `abi::inspect::vma`, and the kernel's own.
    pub fn flags(&self) -> u64 {
        self.record.flags
    }

    /// Any of the flags is set.
    pub fn has(&self, flags: u64) -> bool {
        self.record.flags & flags != 0
    }

    /// Number of the mapped file's inode; 0 for anonymous memory.
    pub fn inode(&self) -> u64 {
        self.record.inode
    }

    /// Offset in the file (or shared object) of the page at `address`.
    pub fn offset_of(&self, address: u64) -> u64 {
        self.record.offset + (address - self.record.start)
    }

    /// Writable and private: counts against RLIMIT_DATA (Linux: is_data_mapping).
    pub fn is_data(&self) -> bool {
        is_data(self.record.flags)
    }

    /// Lowest address that others may not use: a stack keeps a gap below.
    pub fn guarded_start(&self) -> u64 {
        if self.has(flag::GROWS_DOWN) {
            self.record.start.saturating_sub(STACK_GUARD_BYTES)
        } else {
            self.record.start
        }
    }

    /// Bits of a PTE for a page that is the region's own, or that it shares by MAP_SHARED.
    pub(super) fn own_bits(&self) -> u64 {
        if self.has(flag::WRITE) {
            self.common_bits() | WRITABLE | DIRTY
        } else {
            self.common_bits()
        }
    }

    /// Bits of a PTE for a page that belongs to somebody else as well: read-only, copied on write.
    pub(super) fn borrowed_bits(&self) -> u64 {
        match self.flags() & (flag::WRITE | flag::SHARED) {
            flag::WRITE => self.common_bits() | COW,
            _ => self.common_bits(),
        }
    }

    /// Accessed and dirty are set in advance: the CPU (or a shadow page table) need not do it later.
    /// PROT_NONE keeps the page present but out of ring 3's reach.
    fn common_bits(&self) -> u64 {
        let user = if self.has(PROTECTION) { USER } else { 0 };
        let no_execute = if self.has(flag::EXEC) { 0 } else { NO_EXECUTE };
        PRESENT | ACCESSED | user | no_execute
    }

    /// Whether `next` begins where this ends and is more of the same.
    fn is_continued_by(&self, next: &Self) -> bool {
        let (one, two) = (&self.record, &next.record);
        one.end == two.start
            && one.flags == two.flags
            && one.inode == two.inode
            && self.source.is_same(&next.source)
            && (matches!(self.source, Source::Anonymous) || self.offset_of(one.end) == two.offset)
    }

    /// Takes the part below `at` off; `self` keeps the rest.
    pub(super) fn cut_below(&mut self, at: u64) -> Self {
        let mut lower = self.clone();
        lower.record.end = at;
        self.begin_at(at);
        lower
    }

    /// Moves the start; the offset goes with it.
    fn begin_at(&mut self, start: u64) {
        if !matches!(self.source, Source::Anonymous) {
            self.record.offset = self
                .record
                .offset
                .wrapping_add(start.wrapping_sub(self.record.start));
        }
        self.record.start = start;
    }

    /// A copy of the region from `from` on that begins at `to` with `len` bytes, as mremap(2) makes it.
    pub(super) fn moved_to(&self, from: u64, to: u64, len: u64) -> Self {
        let mut moved = self.clone();
        moved.begin_at(from);
        moved.record.start = to;
        moved.record.end = to + len;
        moved
    }

    /// Ends the region's hold on what it maps.
    pub(super) fn retire(self, frames: &mut Frames) {
        if let Source::Shared(pages) = self.source
            && let Some(pages) = Rc::into_inner(pages)
        {
            pages.destroy(frames);
        }
    }
}

/// Whether flags are those of a private writable mapping.
pub(super) fn is_data(flags: u64) -> bool {
    flags & (flag::WRITE | flag::SHARED | flag::STACK | flag::GROWS_DOWN) == flag::WRITE
}

/// All VMAs of a space.
#[derive(Debug, Default)]
pub(super) struct VmaSet {
    by_end: BTreeMap<u64, Box<Vma>>,
    first: u64,
}

impl VmaSet {
    /// Number of VMAs.
    pub(super) fn len(&self) -> usize {
        self.by_end.len()
    }

    /// Address of the first record; 0: none.
    pub(super) fn first_record(&self) -> u64 {
        self.first
    }

    /// All, upwards.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Vma> {
        self.by_end.values().map(|vma| &**vma)
    }

    /// The first that ends behind `address` (Linux: find_vma).
    pub(super) fn first_behind(&self, address: u64) -> Option<&Vma> {
        self.by_end
            .range((Excluded(address), Unbounded))
            .next()
            .map(|(_, vma)| &**vma)
    }

    /// The last that ends at `address` or below it.
    pub(super) fn last_below(&self, address: u64) -> Option<&Vma> {
        self.by_end
            .range(..=address)
            .next_back()
            .map(|(_, vma)| &**vma)
    }

    /// Those that end at `address` or below it, downwards.
    pub(super) fn below(&self, address: u64) -> impl Iterator<Item = &Vma> {
        self.by_end.range(..=address).rev().map(|(_, vma)| &**vma)
    }

    /// Those that have a page in the range, upwards.
    pub(super) fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = &Vma> {
        let behind = self
            .by_end
            .range((Excluded(start), Unbounded))
            .map(|(_, vma)| &**vma);
        behind.take_while(move |vma| vma.start() < end)
    }

    /// The one that contains `address`.
    pub(super) fn find(&self, address: u64) -> Option<&Vma> {
        self.first_behind(address)
            .filter(|vma| vma.start() <= address)
    }

    /// The unmapped addresses around a range that no VMA overlaps.
    pub(super) fn hole_around(&self, start: u64, end: u64) -> (u64, u64) {
        let floor = self.last_below(start).map_or(0, Vma::end);
        let ceiling = self
            .first_behind(end)
            .map_or(super::page_table::LOWER_HALF_END, Vma::start);
        (floor, ceiling)
    }

    /// Adds a VMA where none is, merging it with its neighbours.
    pub(super) fn insert(&mut self, mut new: Vma) {
        if let Some(lower) = self.by_end.get(&new.start())
            && lower.is_continued_by(&new)
        {
            let lower = self.remove(new.start()).expect("it was just found");
            new.begin_at(lower.start());
        }
        if let Some((_, upper)) = self
            .by_end
            .range_mut((Excluded(new.end()), Unbounded))
            .next()
            && new.is_continued_by(upper)
        {
            upper.begin_at(new.start());
            return;
        }
        self.link(Box::new(new));
    }

    /// Puts a VMA into tree and list.
    fn link(&mut self, mut new: Box<Vma>) {
        let address = address_of(&new);
        match self.by_end.range_mut(..new.end()).next_back() {
            Some((_, before)) => {
                new.record.next = before.record.next;
                before.record.next = address;
            }
            None => {
                new.record.next = self.first;
                self.first = address;
            }
        }
        self.by_end.insert(new.end(), new);
    }

    /// Takes the VMA that ends at `end` out.
    pub(super) fn remove(&mut self, end: u64) -> Option<Box<Vma>> {
        let old = self.by_end.remove(&end)?;
        match self.by_end.range_mut(..end).next_back() {
            Some((_, before)) => before.record.next = old.record.next,
            None => self.first = old.record.next,
        }
        Some(old)
    }

    /// Makes `at` a boundary between VMAs, where it is inside of one.
    pub(super) fn split(&mut self, at: u64) {
        if let Some((_, vma)) = self.by_end.range_mut((Excluded(at), Unbounded)).next()
            && vma.start() < at
        {
            let lower = vma.cut_below(at);
            self.link(Box::new(lower));
        }
    }

    /// Moves the start of the VMA that ends at `end` down.
    pub(super) fn extend_down(&mut self, end: u64, start: u64) {
        if let Some(vma) = self.by_end.get_mut(&end) {
            vma.begin_at(start);
        }
    }

    /// Changes the flags of the VMAs in a range, which begin and end on its edges, and merges what
    /// has become alike.
    pub(super) fn change_flags(
        &mut self,
        start: u64,
        end: u64,
        mut change: impl FnMut(u64) -> u64,
    ) {
        for (_, vma) in self
            .by_end
            .range_mut((Excluded(start), Unbounded))
            .take_while(|(_, vma)| vma.start() < end)
        {
            vma.record.flags = change(vma.record.flags);
        }
        let mut at = start;
        while let Some(end_of_next) = self.first_behind(at).map(Vma::end) {
            self.merge_at(at);
            if at >= end {
                break;
            }
            at = end_of_next;
        }
    }

    /// Merges the VMAs that meet at `at`, if they continue each other.
    fn merge_at(&mut self, at: u64) {
        if let Some(lower) = self.by_end.get(&at)
            && let Some(upper) = self.first_behind(at)
            && lower.is_continued_by(upper)
        {
            let (start, end) = (lower.start(), upper.end());
            self.remove(at);
            self.extend_down(end, start);
        }
    }

    /// A copy for a child, without those that `keep` refuses.
    pub(super) fn fork(&self) -> Self {
        let mut by_end = self.by_end.clone();
        if self.iter().any(|vma| vma.has(DONT_FORK)) {
            by_end.retain(|_, vma| !vma.has(DONT_FORK));
        }
        let mut next = 0;
        for vma in by_end.values_mut().rev() {
            vma.record.next = next;
            next = address_of(vma);
        }
        Self {
            by_end,
            first: next,
        }
    }

    /// Takes the lowest VMA out.
    pub(super) fn pop_first(&mut self) -> Option<Box<Vma>> {
        let (_, vma) = self.by_end.pop_first()?;
        self.first = vma.record.next;
        Some(vma)
    }
}

/// The kernel virtual address of a VMA's record, for the reader in the VMM.
fn address_of(vma: &Vma) -> u64 {
    core::ptr::from_ref(&vma.record).addr() as u64
}
