//! A region of an address space (VMA): a range of pages of one kind.
//!
//! It begins with the abi's [`VmaRecord`], which the VMM reads, and says what the page-table entries of its
//! pages look like. `vma_set` keeps the regions of a space together.

use super::frames::Frames;
use super::shared::SharedPages;
use alloc::rc::Rc;
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
/// A shared mapping of a file that is not open for writing: it never becomes writable (Linux: no VM_MAYWRITE).
pub const NEVER_WRITE: u64 = 1 << 35;
/// Pages below a stack that must stay free (Linux's stack_guard_gap).
pub const STACK_GUARD_BYTES: u64 = 256 * PAGE_SIZE;

/// Where the pages of a region come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Zeros.
    Anonymous,
    /// A file of the root image at GPA `data`, `size` bytes.
    Image { data: u64, size: u64 },
    /// Pages shared with whoever inherited the mapping, or a file in memory.
    Shared(Rc<SharedPages>),
    /// A file in memory, copied on write.
    Private(Rc<SharedPages>),
}

impl Source {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Anonymous, Self::Anonymous) => true,
            (Self::Image { data: one, .. }, Self::Image { data: two, .. }) => one == two,
            (Self::Shared(one), Self::Shared(two)) | (Self::Private(one), Self::Private(two)) => {
                Rc::ptr_eq(one, two)
            }
            _ => false,
        }
    }
}

/// A region: a range of pages of one kind.
#[repr(C)]
#[derive(Clone, Debug)]
pub struct Vma {
    pub(super) record: VmaRecord,
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

    /// Whether the page at `address` lies wholly behind the end of the file or shared object.
    pub(super) fn is_behind_source(&self, address: u64) -> bool {
        match &self.source {
            Source::Anonymous => false,
            Source::Image { size, .. } => self.offset_of(address) >= *size,
            Source::Shared(pages) | Source::Private(pages) => {
                self.offset_of(address) >= pages.size()
            }
        }
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
    pub(super) fn is_continued_by(&self, next: &Self) -> bool {
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
    pub(super) fn begin_at(&mut self, start: u64) {
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
        if let Source::Shared(pages) | Source::Private(pages) = self.source
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
