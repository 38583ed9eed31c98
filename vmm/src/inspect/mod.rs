//! Reads the guest kernel's own records from guest memory.
//!
//! No agent in the guest, no second copy of the truth. `translate` walks page tables, `process` finds
//! records, `frame` says who owns a page. The guest is hostile: every address is checked, every loop bounded.

pub mod frame;
pub mod process;
pub mod translate;

use crate::memory::{GuestRam, OutsideRam};
use forkvm_abi::inspect::{KERNEL_MAGIC, KernelInfo};
use forkvm_abi::layout::KERNEL_INFO_GPA;
use forkvm_abi::page_table::{COW, NO_EXECUTE, WRITABLE};
use std::fmt;

/// Why something cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// The kernel has not filled its root record.
    #[error("the guest kernel is not up yet")]
    NotUp,
    /// A record or table is not in RAM.
    #[error(transparent)]
    Memory(#[from] OutsideRam),
    /// No such process.
    #[error("no process {0}")]
    NoProcess(u32),
    /// The process has no memory any more, or never had.
    #[error("process {0} has no address space")]
    NoAddressSpace(u32),
    /// The address is not mapped: the walk ended at this level.
    #[error("{address:#x} is not mapped (no entry at level {level})")]
    NotMapped {
        /// Virtual address.
        address: u64,
        /// 4 is the PML4, 1 the page table.
        level: u32,
    },
    /// The list of processes has no end.
    #[error("the guest kernel's records make no sense")]
    Nonsense,
}

/// The root record.
pub fn kernel_info(ram: &GuestRam) -> Result<KernelInfo, InspectError> {
    let info: KernelInfo = ram.read(KERNEL_INFO_GPA)?;
    if info.magic == KERNEL_MAGIC {
        Ok(info)
    } else {
        Err(InspectError::NotUp)
    }
}

/// Where a page of a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Process id.
    pub pid: u32,
    /// Virtual address.
    pub address: u64,
    /// Its translation.
    pub mapping: translate::Mapping,
    /// References to the frame; `None` if it is not RAM (the root image).
    pub references: Option<u32>,
}

/// Looks up an address of a process from outside.
pub fn observe(ram: &GuestRam, pid: u32, address: u64) -> Result<Sighting, InspectError> {
    let info = kernel_info(ram)?;
    let process = process::find(ram, &info, pid)?;
    if process.cr3 == 0 {
        return Err(InspectError::NoAddressSpace(pid));
    }
    let mapping = translate::walk(ram, process.cr3, address)?;
    let references = frame::record(ram, &info, mapping.gpa)?.map(|frame| frame.references);
    Ok(Sighting {
        pid,
        address,
        mapping,
        references,
    })
}

impl fmt::Display for Sighting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flag = |bit: u64, letter: char| {
            if self.mapping.flags & bit != 0 {
                letter
            } else {
                '-'
            }
        };
        let execute = if self.mapping.flags & NO_EXECUTE != 0 {
            '-'
        } else {
            'X'
        };
        write!(
            out,
            "pid {}  {:#x} -> frame {:#x}  R{}{execute}",
            self.pid,
            self.address,
            self.mapping.gpa & !0xfff,
            flag(WRITABLE, 'W')
        )?;
        if self.mapping.flags & COW != 0 {
            write!(out, " COW")?;
        }
        match self.references {
            Some(1) => write!(out, "  1 reference"),
            Some(count) => write!(out, "  {count} references"),
            None => write!(out, "  root image"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forkvm_abi::inspect::{FrameRecord, ProcessRecord};
    use forkvm_abi::page_table::{ACCESSED, PAGE_SIZE_BIT, PRESENT, USER, index};
    use proptest::prelude::*;
    use zerocopy::FromZeros;

    const RAM: u64 = 16 << 20;
    const KERNEL_ROOT: u64 = 0x10_0000;
    const USER_ROOT: u64 = 0x20_0000;
    const RECORDS: u64 = 0x30_0000;
    const FRAMES: u64 = 0x40_0000;
    const PAGE: u64 = 0x50_0000;
    /// Where the kernel's records are in its address space.
    const RECORDS_VA: u64 = 0xffff_ffff_c000_0000;
    const ADDRESS: u64 = 0x40_1234;
    const PATH: u64 = PRESENT | WRITABLE | USER | ACCESSED;

    /// Maps one page below a root; the tables stand in the pages behind it.
    fn map(ram: &GuestRam, root: u64, va: u64, leaf: u64) {
        let mut table = root;
        for level in (2..=4).rev() {
            let next = table + 0x1000;
            ram.write(table + 8 * index(va, level) as u64, &(next | PATH))
                .unwrap();
            table = next;
        }
        ram.write(table + 8 * index(va, 1) as u64, &leaf).unwrap();
    }

    /// A guest with processes 2 and 3, of which 3 shares a page with somebody.
    fn guest() -> GuestRam {
        let ram = GuestRam::allocate(RAM).unwrap();
        let mut info = KernelInfo::new_zeroed();
        (info.magic, info.kernel_cr3, info.first_process) = (KERNEL_MAGIC, KERNEL_ROOT, RECORDS_VA);
        (info.frame_table, info.frame_count) = (FRAMES, RAM / 4096);
        ram.write(KERNEL_INFO_GPA, &info).unwrap();
        map(
            &ram,
            KERNEL_ROOT,
            RECORDS_VA,
            RECORDS | PRESENT | WRITABLE | NO_EXECUTE,
        );
        let mut record = ProcessRecord::new_zeroed();
        (record.pid, record.next) = (2, RECORDS_VA + 0x400);
        ram.write(RECORDS, &record).unwrap();
        (record.pid, record.next, record.cr3) = (3, 0, USER_ROOT);
        ram.write(RECORDS + 0x400, &record).unwrap();
        map(
            &ram,
            USER_ROOT,
            ADDRESS,
            PAGE | PRESENT | USER | COW | NO_EXECUTE,
        );
        ram.write(
            FRAMES + 8 * (PAGE / 4096),
            &FrameRecord {
                references: 2,
                usage: 1,
            },
        )
        .unwrap();
        ram
    }

    #[test]
    fn a_shared_page_is_described_in_one_line() {
        let sighting = observe(&guest(), 3, ADDRESS).unwrap();
        assert_eq!(
            sighting.to_string(),
            "pid 3  0x401234 -> frame 0x500000  R-- COW  2 references"
        );
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let ram = guest();
        assert_eq!(
            observe(&ram, 2, ADDRESS),
            Err(InspectError::NoAddressSpace(2))
        );
        assert_eq!(observe(&ram, 4, ADDRESS), Err(InspectError::NoProcess(4)));
        let address = ADDRESS + 0x1000;
        assert_eq!(
            observe(&ram, 3, address),
            Err(InspectError::NotMapped { address, level: 1 })
        );
        ram.write(KERNEL_INFO_GPA, &0u64).unwrap();
        assert_eq!(observe(&ram, 3, ADDRESS), Err(InspectError::NotUp));
    }

    #[test]
    fn pages_of_the_root_image_have_no_count() {
        let ram = guest();
        map(&ram, USER_ROOT, ADDRESS, 0x1_0000_0000 | PRESENT | USER);
        let line = observe(&ram, 3, ADDRESS).unwrap().to_string();
        assert_eq!(
            line,
            "pid 3  0x401234 -> frame 0x100000000  R-X  root image"
        );
    }

    #[test]
    fn large_pages_end_the_walk() {
        let ram = guest();
        ram.write(
            USER_ROOT + 0x2000 + 8 * index(ADDRESS, 2) as u64,
            &(0x60_0000 | PATH | PAGE_SIZE_BIT),
        )
        .unwrap();
        let mapping = translate::walk(&ram, USER_ROOT, ADDRESS).unwrap();
        assert_eq!((mapping.gpa, mapping.page), (0x60_1234, 2 << 20));
    }

    #[test]
    fn a_list_without_end_is_left() {
        let ram = guest();
        let mut record: ProcessRecord = ram.read(RECORDS).unwrap();
        record.next = RECORDS_VA;
        ram.write(RECORDS, &record).unwrap();
        assert_eq!(observe(&ram, 3, ADDRESS), Err(InspectError::Nonsense));
    }

    #[test]
    fn records_may_lie_across_pages() {
        let ram = guest();
        let at = RECORDS_VA + 0xff8;
        map(
            &ram,
            KERNEL_ROOT,
            RECORDS_VA + 0x1000,
            0x70_0000 | PRESENT | WRITABLE,
        );
        ram.write(RECORDS + 0xff8, &1u64).unwrap();
        ram.write(0x70_0000, &2u64).unwrap();
        assert_eq!(
            process::read_virtual::<[u64; 2]>(&ram, KERNEL_ROOT, at),
            Ok([1, 2])
        );
    }

    proptest! {
        /// A guest that was taken over writes what it likes where the VMM looks.
        #[test]
        fn nothing_in_memory_harms_the_reader(
            words in prop::collection::vec(
                (prop::sample::select(vec![KERNEL_INFO_GPA, KERNEL_ROOT, USER_ROOT, RECORDS, FRAMES]), 0u64..0x200, prop_oneof![any::<u64>(), Just(u64::MAX), Just(USER_ROOT | PATH)]),
                1..40,
            ),
            pid in 0u32..5,
            address in any::<u64>(),
        ) {
            let ram = guest();
            for (base, word, value) in words {
                ram.write(base + 8 * word, &value).unwrap();
            }
            ram.write(KERNEL_INFO_GPA, &KERNEL_MAGIC).unwrap();
            let _ = observe(&ram, pid, address);
            let _ = crate::epitaph::of_kernel(&ram);
        }
    }
}
