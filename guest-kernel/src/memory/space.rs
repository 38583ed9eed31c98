//! An address space: regions, page table, program break.
//!
//! `new` makes it, `map` and its siblings put regions in, `fault` fills them page by page, `fork` shares
//! them, `destroy` takes it all down.
//!
//! What a PTE says is always true of its region: a page of a private writable region is either
//! WRITABLE or COW, and COW is found nowhere else, so a write fault on a present page is settled by
//! the PTE alone. Pages of a PROT_NONE region stay present without USER. UNCOUNTED marks the frames that have no
//! count, so that forking and dropping them is moving words.

use super::early_writes::EarlyWrites;
use super::frames::{Frames, OutOfFrames};
use super::map::GapSearch;
use super::page_table::{LOWER_HALF_END, PageTable, frame_of, set_line, shares_table};
use super::shared::SharedPages;
use super::vma::{Vma, is_data};
use super::vma_set::VmaSet;
use alloc::rc::Rc;
use core::ops::Range;
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::layout::{DIRECT_MAP_SLOT, KERNEL_SLOT, USER_END};
use forkvm_abi::page_table::UNCOUNTED;

/// Protection of a region: bits of abi::inspect::vma (READ, WRITE, EXEC).
pub type Protection = u64;

/// What fills the pages of a region that nobody has written yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Zeros.
    Anonymous,
    /// A file of the root image: `data` is the GPA of its first page, `size` its bytes, `offset` the file offset
    /// (page-aligned) of the region's first page. Bytes behind `size` in the last page are zero; pages wholly behind it raise SIGBUS.
    Image {
        /// Number of the inode, for /proc/PID/maps.
        inode: u64,
        /// GPA of the file's first page.
        data: u64,
        /// Bytes of the file.
        size: u64,
        /// Offset in the file, page-aligned.
        offset: u64,
    },
    /// A file in memory.
    File {
        /// Number of the inode, for /proc/PID/maps.
        inode: u64,
        /// Its contents.
        pages: Rc<SharedPages>,
        /// Offset in the file, page-aligned.
        offset: u64,
    },
}

/// Limits that the owner's rlimits put on a space, in bytes; `u64::MAX` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceLimits {
    /// RLIMIT_STACK.
    pub stack: u64,
    /// RLIMIT_AS.
    pub address_space: u64,
    /// RLIMIT_DATA.
    pub data: u64,
}

impl Default for SpaceLimits {
    fn default() -> Self {
        Self {
            stack: 8 << 20,
            address_space: u64::MAX,
            data: u64::MAX,
        }
    }
}

/// Entries that every user PML4 carries in the kernel's half, by platform.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelHalf {
    /// PML4 entry of the direct map; 0 on the monitor platform.
    pub direct_map: u64,
    /// PML4 entry of the kernel image (ring0) or of the monitor's pages (monitor).
    pub kernel: u64,
}

/// What the TLB may still hold of a space's former state; merged until `arch` acts on it at the next entry into ring 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "a stale TLB entry is a hole in the isolation"]
pub enum Flush {
    /// Nothing: only rights were gained or absent entries filled.
    #[default]
    None,
    /// One page.
    Page(u64),
    /// Everything of this space.
    All,
}

impl Flush {
    /// What covers both.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, flush) | (flush, Self::None) => flush,
            (one, two) if one == two => one,
            _ => Self::All,
        }
    }
}

/// Regions, page table and program break of a process (Linux's mm_struct); shared by CLONE_VM.
#[derive(Debug)]
pub struct AddressSpace {
    /// Merged flushes since the last entry into ring 3; `arch` takes it.
    pub pending_flush: Flush,
    /// The owner's limits; setrlimit updates it.
    pub limits: SpaceLimits,
    /// [arg_start, arg_end, env_start, env_end] as /proc shows them.
    pub arguments: [u64; 4],
    pub(super) table: PageTable,
    pub(super) vmas: VmaSet,
    pub(super) usage: Usage,
    pub(super) program_break: Range<u64>,
    pub(super) gaps: GapSearch,
    pub(super) kernel_half: KernelHalf,
    /// What this program's processes write right after a fork.
    pub(super) early_writes: Rc<EarlyWrites>,
    /// Broken COW pages that are still to be noted there.
    pub(super) writes_to_note: u32,
}

/// Frees a root that leads to nothing but the kernel's half.
fn free_root(table: PageTable, frames: &mut Frames) {
    let root = frames.window.table_mut(table.root());
    root[DIRECT_MAP_SLOT] = 0;
    root[KERNEL_SLOT] = 0;
    table.free_root(frames);
}

/// Gives the frames of all skeletons back; whether there were any.
pub(super) fn free_skeletons(frames: &mut Frames) -> bool {
    let mut freed = false;
    while let Some(table) = PageTable::from_skeleton(frames) {
        table.free_all_tables(frames);
        free_root(table, frames);
        freed = true;
    }
    freed
}

/// How much a space has mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all regions (Linux's total_vm).
    pub mapped: u64,
    /// Bytes of private writable regions (Linux's data_vm).
    pub data: u64,
    /// Pages that have a PTE.
    pub resident: u64,
}

impl AddressSpace {
    /// An empty space with the kernel's half in place.
    pub fn new(frames: &mut Frames, kernel_half: KernelHalf) -> Result<Self, OutOfFrames> {
        let table = match PageTable::from_skeleton(frames) {
            Some(table) => table,
            None => {
                let table = PageTable::new(frames)?;
                let root = frames.window.table_mut(table.root());
                root[DIRECT_MAP_SLOT] = kernel_half.direct_map;
                root[KERNEL_SLOT] = kernel_half.kernel;
                table
            }
        };
        Ok(Self {
            pending_flush: Flush::None,
            limits: SpaceLimits::default(),
            arguments: [0; 4],
            table,
            vmas: VmaSet::default(),
            usage: Usage::default(),
            program_break: 0..0,
            gaps: GapSearch::default(),
            kernel_half,
            early_writes: Rc::default(),
            writes_to_note: 0,
        })
    }

    /// CR3 value.
    pub fn cr3(&self) -> u64 {
        self.table.root().address().0
    }

    /// Virtual address of the first VmaRecord; the list behind it is always intact.
    pub fn first_vma(&self) -> u64 {
        self.vmas.first_record()
    }

    /// The regions, upwards.
    pub fn vmas(&self) -> impl Iterator<Item = &Vma> {
        self.vmas.iter()
    }

    /// The region that contains an address.
    pub fn vma_at(&self, address: u64) -> Option<&Vma> {
        self.vmas.find(address)
    }

    /// How much is mapped.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Start and end of the program break's region.
    pub fn program_break(&self) -> Range<u64> {
        self.program_break.clone()
    }

    /// The PTE of a user address; `None` if the page has none now.
    pub fn translate(&self, frames: &Frames, address: u64) -> Option<u64> {
        let slot = self.table.slot(
            &frames.window,
            Some(address).filter(|address| *address < USER_END)?,
        )?;
        Some(frames.window.word(slot)).filter(|entry| *entry != 0)
    }

    /// Unmaps everything and gives all frames back, page tables included.
    ///
    /// Goes by the regions, upwards: a table is freed with the last region that uses it, and only
    /// entries that may be set are ever looked at.
    pub fn destroy(mut self, frames: &mut Frames) {
        crate::arch::forget_space(self.cr3());
        let vmas = core::mem::take(&mut self.vmas);
        let mut spans = vmas.spans(|_| Some(())).peekable();
        let mut tables_from = None;
        while let Some((span, ())) = spans.next() {
            self.drop_pages(frames, span.start, span.end);
            if frames.costly_traps {
                continue;
            }
            let next = spans.peek().map_or(LOWER_HALF_END, |(next, ())| next.start);
            let from = *tables_from.get_or_insert(span.start);
            if !shares_table(span.end - PAGE_SIZE, next) {
                self.table.free_tables(frames, from..span.end, 0..next);
                tables_from = None;
            }
        }
        drop(spans);
        vmas.into_vmas().for_each(|vma| vma.retire(frames));

        if !frames.costly_traps {
            free_root(self.table, frames);
        } else if let Some(table) = self.table.keep(frames) {
            table.free_all_tables(frames);
            free_root(table, frames);
        }
    }

    /// Takes all PTEs out of a range and gives their references back.
    pub(super) fn drop_pages(&mut self, frames: &mut Frames, start: u64, end: u64) {
        let mut dropped = 0u64;
        let mut at = start;
        while let Some(run) = self.table.next_run(&frames.window, at, end) {
            let mut by_line = 0u64;
            run.for_each_line(
                frames,
                |frames, slot, line| {
                    set_line(&mut frames.window, slot, &[0; 8]);
                    by_line = by_line.wrapping_add(line.len() as u64);
                    true
                },
                |frames, slot, entry| {
                    frames.window.set_word(slot, 0);
                    if entry & UNCOUNTED == 0 {
                        frames.release(frame_of(entry));
                    }
                    dropped = dropped.wrapping_add(1);
                },
            );
            dropped += by_line;
            at = run.end;
        }
        if dropped != 0 {
            self.usage.resident -= dropped;
            self.flush_range(start, end);
        }
    }

    /// Notes that present entries of a range lost rights or changed frames.
    pub(super) fn flush_range(&mut self, start: u64, end: u64) {
        let flush = if end - start == PAGE_SIZE {
            Flush::Page(start)
        } else {
            Flush::All
        };
        self.pending_flush = core::mem::take(&mut self.pending_flush).and(flush);
    }

    /// Adds to or takes from what is mapped.
    pub(super) fn account(&mut self, bytes: u64, flags: u64, change: fn(u64, u64) -> u64) {
        self.usage.mapped = change(self.usage.mapped, bytes);
        if is_data(flags) {
            self.usage.data = change(self.usage.data, bytes);
        }
    }

    /// Whether RLIMIT_AS and RLIMIT_DATA allow that much more (Linux: may_expand_vm).
    pub(super) fn may_expand(&self, bytes: u64, flags: u64) -> bool {
        let fits = |used: u64, limit: u64| used.checked_add(bytes).is_some_and(|sum| sum <= limit);
        fits(self.usage.mapped, self.limits.address_space)
            && (!is_data(flags) || fits(self.usage.data, self.limits.data))
    }
}
