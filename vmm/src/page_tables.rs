//! The page tables the kernel starts with.
//!
//! In:  the kernel's segments, RAM, the root image, the kernel's stacks, the beginning of its heap.
//! Out: tables to be placed at a GPA of the caller's choice, and two roots that share them.
//!
//! Both roots hold the same upper half. In the monitor's root the top entries allow ring 3
//! (the kernel runs there), in the ring0 root they do not, and that alone makes the whole half
//! supervisor-only. The monitor's own pages are supervisor-only by their leaf entries in both.
//! A third, small path leads to the monitor's pages alone: user address spaces carry it on the
//! monitor platform, where a trap must find its handler before CR3 changes.

use crate::embedded::Segment;
use crate::memory::native;
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
    /// the kernel's stacks are the two runs of [`KERNEL_STACK_BYTES`] at `stacks`, and `heap` is where its heap begins.
    pub fn build(
        base: u64,
        segments: &[Segment],
        memory: &[Span],
        stacks: u64,
        heap: Span,
    ) -> Self {
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
        tables.map_heap(heap);
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
            for gpa in (span.start..span.end()).step_by(native(LARGE_PAGE)) {
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
            for offset in (0..KERNEL_STACK_BYTES).step_by(native(PAGE_SIZE)) {
                self.map_page(self.kernel, base + offset, (gpa + offset) | DATA, PATH);
            }
        }
    }

    fn map_devices(&mut self) {
        for (va, gpa) in [(DOORBELL_VA, DOORBELL_GPA), (LAPIC_VA, LAPIC_GPA)] {
            self.map_page(self.kernel, va, gpa | DATA | CACHE_DISABLE, PATH);
        }
    }

    /// The beginning of the heap, and with it the page directory that the kernel fills as the heap grows.
    fn map_heap(&mut self, heap: Span) {
        for offset in (0..heap.len).step_by(native(PAGE_SIZE)) {
            self.map_page(
                self.kernel,
                HEAP_BASE + offset,
                (heap.start + offset) | DATA,
                PATH,
            );
        }
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
        &mut self.tables[native((table - self.base) / PAGE_SIZE)][slot]
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
        .step_by(native(PAGE_SIZE))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::InspectError;
    use crate::inspect::translate::{Mapping, walk};
    use crate::memory::GuestRam;
    use forkvm_abi::layout::{
        EMERGENCY_STACK_TOP, HIGH_RAM_GPA, KERNEL_STACK_TOP, MONITOR_PML4_GPA, RING0_PML4_GPA,
    };

    const BASE: u64 = 0x40_0000;
    const STACKS: u64 = 0x60_0000;
    const HEAP: Span = Span {
        start: 0x64_0000,
        len: 0x3000,
    };
    const SEGMENTS: [Segment; 4] = [
        Segment {
            address: KERNEL_BASE,
            gpa: 0x10_0000,
            bytes: 0x2000,
            writable: false,
            executable: true,
        },
        Segment {
            address: KERNEL_BASE + 0x2000,
            gpa: 0x10_2000,
            bytes: 0x6000,
            writable: true,
            executable: false,
        },
        Segment {
            address: KERNEL_BASE + 0x8000,
            gpa: 0x10_8000,
            bytes: 0x2_0001,
            writable: false,
            executable: true,
        },
        Segment {
            address: KERNEL_BASE + 0x2_9000,
            gpa: 0x12_9000,
            bytes: 0x1f_0000,
            writable: false,
            executable: false,
        },
    ];

    /// Tables in RAM, as a guest with high RAM and an image gets them.
    fn ram() -> (GuestRam, u64) {
        let ram = GuestRam::allocate(16 << 20).unwrap();
        let memory = [
            Span {
                start: 0,
                len: 16 << 20,
            },
            Span {
                start: HIGH_RAM_GPA,
                len: 4 << 20,
            },
            Span {
                start: HIGH_RAM_GPA + (4 << 20),
                len: 2 << 20,
            },
        ];
        let tables = PageTables::build(BASE, &SEGMENTS, &memory, STACKS, HEAP);
        ram.write_bytes(BASE, tables.bytes()).unwrap();
        ram.write(MONITOR_PML4_GPA, &tables.monitor_root()).unwrap();
        ram.write(RING0_PML4_GPA, &tables.ring0_root()).unwrap();
        (ram, tables.monitor_user_pml4e())
    }

    fn rights(mapping: Mapping) -> (bool, bool, bool) {
        (
            mapping.flags & USER != 0,
            mapping.flags & WRITABLE != 0,
            mapping.flags & NO_EXECUTE == 0,
        )
    }

    #[test]
    fn the_direct_map_shows_all_memory() {
        let (ram, _) = ram();
        for gpa in [
            0,
            0x1234,
            (16 << 20) - 1,
            HIGH_RAM_GPA,
            HIGH_RAM_GPA + (6 << 20) - 1,
        ] {
            let mapping = walk(&ram, MONITOR_PML4_GPA, DIRECT_MAP_BASE + gpa).unwrap();
            assert_eq!((mapping.gpa, mapping.page), (gpa, LARGE_PAGE));
            assert_eq!(rights(mapping), (true, true, false));
        }
        for gap in [
            16 << 20,
            DOORBELL_GPA,
            HIGH_RAM_GPA - 1,
            HIGH_RAM_GPA + (6 << 20),
        ] {
            assert!(matches!(
                walk(&ram, MONITOR_PML4_GPA, DIRECT_MAP_BASE + gap),
                Err(InspectError::NotMapped { .. })
            ));
        }
    }

    #[test]
    fn rights_follow_the_segments_and_the_root() {
        let (ram, _) = ram();
        // Offset in the image, and in the monitor's root: ring 3, writable, executable.
        let pages = [
            (0x0, (false, false, true)),
            (0x1fff, (false, false, true)),
            (0x2000, (false, true, false)),
            (0x7fff, (false, true, false)),
            (0x8000, (true, false, true)),
            (0x2_8000, (true, false, true)),
            (0x2_9000, (true, false, false)),
            (0x21_8fff, (true, false, false)),
        ];
        for (offset, (user, writable, executable)) in pages {
            let at = |root| walk(&ram, root, KERNEL_BASE + offset).unwrap();
            assert_eq!(at(MONITOR_PML4_GPA).gpa, 0x10_0000 + offset);
            assert_eq!(
                rights(at(MONITOR_PML4_GPA)),
                (user, writable, executable),
                "{offset:#x}"
            );
            assert_eq!(
                rights(at(RING0_PML4_GPA)),
                (false, writable, executable),
                "{offset:#x} in ring 0"
            );
        }
        assert!(walk(&ram, RING0_PML4_GPA, KERNEL_BASE + 0x21_9000).is_err());
    }

    #[test]
    fn stacks_have_guard_pages() {
        let (ram, _) = ram();
        let gpa = |va| {
            walk(&ram, RING0_PML4_GPA, va)
                .map(|mapping| mapping.gpa)
                .ok()
        };
        assert_eq!(gpa(KERNEL_STACK_BASE), Some(STACKS));
        assert_eq!(
            gpa(KERNEL_STACK_TOP - 1),
            Some(STACKS + KERNEL_STACK_BYTES - 1)
        );
        assert_eq!(gpa(EMERGENCY_STACK_BASE), Some(STACKS + KERNEL_STACK_BYTES));
        for guard in [
            KERNEL_STACK_BASE - 1,
            KERNEL_STACK_TOP,
            EMERGENCY_STACK_BASE - 1,
            EMERGENCY_STACK_TOP,
        ] {
            assert_eq!(gpa(guard), None);
        }
    }

    #[test]
    fn devices_are_mapped_uncached() {
        let (ram, _) = ram();
        for (va, gpa) in [(DOORBELL_VA, DOORBELL_GPA), (LAPIC_VA, LAPIC_GPA)] {
            let mapping = walk(&ram, MONITOR_PML4_GPA, va).unwrap();
            assert_eq!(
                (mapping.gpa, mapping.flags & CACHE_DISABLE),
                (gpa, CACHE_DISABLE)
            );
        }
    }

    #[test]
    fn the_heap_begins_mapped_and_has_a_table_to_grow_in() {
        let (ram, _) = ram();
        for offset in [0, 0x2fff] {
            let mapping = walk(&ram, MONITOR_PML4_GPA, HEAP_BASE + offset).unwrap();
            assert_eq!(mapping.gpa, HEAP.start + offset);
            assert_eq!(rights(mapping), (true, true, false));
        }
        assert_eq!(
            walk(&ram, MONITOR_PML4_GPA, HEAP_BASE + HEAP.len),
            Err(InspectError::NotMapped {
                address: HEAP_BASE + HEAP.len,
                level: 1
            })
        );
    }

    #[test]
    fn user_spaces_reach_the_monitor_and_nothing_else() {
        let (ram, entry) = ram();
        let root = 0x70_0000;
        ram.write(root + 8 * KERNEL_SLOT as u64, &entry).unwrap();
        for offset in (0..MONITOR_BYTES).step_by(native(PAGE_SIZE)) {
            let mapping = walk(&ram, root, KERNEL_BASE + offset).unwrap();
            assert_eq!(
                mapping,
                walk(&ram, RING0_PML4_GPA, KERNEL_BASE + offset).unwrap()
            );
            assert_eq!(mapping.flags & USER, 0);
        }
        for elsewhere in [
            KERNEL_BASE + MONITOR_BYTES,
            KERNEL_STACK_BASE,
            HEAP_BASE,
            DOORBELL_VA,
            DIRECT_MAP_BASE,
        ] {
            assert!(walk(&ram, root, elsewhere).is_err());
        }
    }
}
