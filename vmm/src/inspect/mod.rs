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
