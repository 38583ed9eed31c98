//! The page tables the kernel starts with.
//!
//! In:  the kernel's segments, RAM, the root image, the kernel's stacks.
//! Out: tables to be placed at a GPA of the caller's choice, and two roots that share them.
//!
//! Both roots hold the same upper half. In the monitor's root the top entries allow ring 3
//! (the kernel runs there), in the ring0 root they do not, and that alone makes the whole half
//! supervisor-only. The monitor's own pages are supervisor-only by their leaf entries in both.
//! A third, small path leads to the monitor's pages alone: user address spaces carry it on the
//! monitor platform, where a trap must find its handler before CR3 changes.

use crate::embedded::Segment;
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::boot::Span;
use forkvm_abi::layout::{
    DIRECT_MAP_BASE, DIRECT_MAP_SLOT, DOORBELL_GPA, DOORBELL_VA, EMERGENCY_STACK_BASE, HEAP_BASE,
    KERNEL_BASE, KERNEL_SLOT, KERNEL_STACK_BASE, KERNEL_STACK_BYTES, LAPIC_GPA, LAPIC_VA,
    MONITOR_BYTES,
};
use forkvm_abi::page_table::{
    ACCESSED, ADDRESS_MASK, CACHE_DISABLE, DIRTY, ENTRIES, NO_EXECUTE, PAGE_SIZE_BIT, PRESENT,
    USER, WRITABLE, index,
};
use zerocopy::IntoBytes;

const LARGE_PAGE: u64 = crate::memory::LARGE_PAGE;
/// Entries that lead to a table; the leaf decides.
const PATH: u64 = PRESENT | WRITABLE | USER | ACCESSED;
/// Data pages. Accessed and dirty are set here, so that the CPU need not write to the tables.
const DATA: u64 = PRESENT | WRITABLE | USER | NO_EXECUTE | ACCESSED | DIRTY;

/// One table of any level.
pub type Table = [u64; ENTRIES];

/// The finished tables.
#[derive(Debug)]
pub struct PageTables {
    base: u64,
    tables: Vec<Table>,
    /// PDPT of the direct map.
    direct_map: u64,
    /// PDPT of the kernel image, stacks, heap window and devices.
    kernel: u64,
    /// PDPT of the path to the monitor's pages alone.
    monitor_only: u64,
}

impl PageTables {
    /// Builds everything; the tables will stand at `base`. `memory` is mapped by the direct map,
    /// the kernel's stacks are the two runs of [`KERNEL_STACK_BYTES`] at `stacks`.
    pub fn build(base: u64, segments: &[Segment], memory: &[Span], stacks: u64) -> Self {
        let mut tables = Self {
            base,
            tables: Vec::with_capacity(16),
            direct_map: 0,
            kernel: 0,
            monitor_only: 0,
        };
        tables.direct_map = tables.new_table();
        tables.kernel = tables.new_table();
        tables.monitor_only = tables.new_table();
        tables.map_directly(memory);
        tables.map_kernel(segments);
        tables.map_stacks(stacks);
        tables.map_devices();
        tables.open_heap_window();
        tables.map_monitor_alone(segments);
        tables
    }

    /// PML4 of the kernel at ring 3.
    pub fn monitor_root(&self) -> Table {
        self.root(PATH)
    }

    /// PML4 of the kernel at ring 0.
    pub fn ring0_root(&self) -> Table {
        self.root(PATH & !USER)
    }

    /// What user address spaces hold in [`KERNEL_SLOT`] on the monitor platform.
    pub fn monitor_user_pml4e(&self) -> u64 {
        self.monitor_only | (PATH & !USER)
    }

    /// All tables but the roots, as they are to stand at their base.
    pub fn bytes(&self) -> &[u8] {
        self.tables.as_bytes()
    }

    fn root(&self, flags: u64) -> Table {
        let mut root = [0; ENTRIES];
        root[DIRECT_MAP_SLOT] = self.direct_map | flags;
        root[KERNEL_SLOT] = self.kernel | flags;
        root
    }

    /// All of memory, in large pages.
    fn map_directly(&mut self, memory: &[Span]) {
        for span in memory.iter().filter(|span| span.len > 0) {
            for gpa in (span.start..span.end()).step_by(LARGE_PAGE as usize) {
                let directory =
                    self.table_below(self.direct_map, index(DIRECT_MAP_BASE + gpa, 3), PATH);
                *self.entry(directory, index(DIRECT_MAP_BASE + gpa, 2)) =
                    gpa | DATA | PAGE_SIZE_BIT;
            }
        }
    }

    /// The kernel image, page by page, with the rights of its segments.
    fn map_kernel(&mut self, segments: &[Segment]) {
        for (va, gpa, flags) in segments.iter().flat_map(pages) {
            self.map_page(self.kernel, va, gpa | flags, PATH);
        }
    }

    /// The kernel stack and the emergency stack; the pages around them stay unmapped.
    fn map_stacks(&mut self, stacks: u64) {
        for (base, gpa) in [
            (KERNEL_STACK_BASE, stacks),
            (EMERGENCY_STACK_BASE, stacks + KERNEL_STACK_BYTES),
        ] {
            for offset in (0..KERNEL_STACK_BYTES).step_by(PAGE_SIZE as usize) {
                self.map_page(self.kernel, base + offset, (gpa + offset) | DATA, PATH);
            }
        }
    }

    fn map_devices(&mut self) {
        for (va, gpa) in [(DOORBELL_VA, DOORBELL_GPA), (LAPIC_VA, LAPIC_GPA)] {
            self.map_page(self.kernel, va, gpa | DATA | CACHE_DISABLE, PATH);
        }
    }

    /// A page directory for the heap; the kernel fills it as the heap grows.
    fn open_heap_window(&mut self) {
        self.table_below(self.kernel, index(HEAP_BASE, 3), PATH);
    }

    fn map_monitor_alone(&mut self, segments: &[Segment]) {
        for (va, gpa, flags) in segments
            .iter()
            .flat_map(pages)
            .filter(|(va, ..)| is_monitor(*va))
        {
            self.map_page(self.monitor_only, va, gpa | flags, PATH & !USER);
        }
    }

    /// Maps one page below a PDPT.
    fn map_page(&mut self, pdpt: u64, va: u64, entry: u64, path: u64) {
        let directory = self.table_below(pdpt, index(va, 3), path);
        let table = self.table_below(directory, index(va, 2), path);
        *self.entry(table, index(va, 1)) = entry;
    }

    /// The table an entry leads to; made if there is none.
    fn table_below(&mut self, table: u64, slot: usize, path: u64) -> u64 {
        let present = *self.entry(table, slot);
        if present != 0 {
            return present & ADDRESS_MASK;
        }
        let new = self.new_table();
        *self.entry(table, slot) = new | path;
        new
    }

    /// GPA of a new, empty table.
    fn new_table(&mut self) -> u64 {
        self.tables.push([0; ENTRIES]);
        self.base + (self.tables.len() as u64 - 1) * PAGE_SIZE
    }

    fn entry(&mut self, table: u64, slot: usize) -> &mut u64 {
        &mut self.tables[((table - self.base) / PAGE_SIZE) as usize][slot]
    }
}

/// Virtual address, GPA and leaf flags of each page of a segment.
fn pages(segment: &Segment) -> impl Iterator<Item = (u64, u64, u64)> {
    let Segment {
        address,
        gpa,
        bytes,
        writable,
        executable,
    } = *segment;
    let first = address & !(PAGE_SIZE - 1);
    let rights = match (writable, executable) {
        (true, _) => DATA,
        (false, true) => PRESENT | USER | ACCESSED,
        (false, false) => PRESENT | USER | NO_EXECUTE | ACCESSED,
    };
    (first..address + bytes)
        .step_by(PAGE_SIZE as usize)
        .map(move |va| {
            let user = if is_monitor(va) { 0 } else { USER };
            (
                va,
                (gpa & !(PAGE_SIZE - 1)) + (va - first),
                rights & !USER | user,
            )
        })
}

fn is_monitor(va: u64) -> bool {
    (KERNEL_BASE..KERNEL_BASE + MONITOR_BYTES).contains(&va)
}
