//! Finds process records: a list in pid order, linked by kernel virtual addresses.

use super::{InspectError, translate};
use crate::memory::GuestRam;
use forkvm_abi::inspect::{KernelInfo, ProcessRecord};

/// More processes than any guest can have: the list is a loop.
const MAX_PROCESSES: usize = 1 << 16;

/// The record of a process or thread.
pub fn find(ram: &GuestRam, info: &KernelInfo, pid: u32) -> Result<ProcessRecord, InspectError> {
    let mut next = info.first_process;
    for _ in 0..MAX_PROCESSES {
        if next == 0 {
            return Err(InspectError::NoProcess(pid));
        }
        let record: ProcessRecord = read_virtual(ram, info.kernel_cr3, next)?;
        if record.pid == pid {
            return Ok(record);
        }
        next = record.next;
    }
    Err(InspectError::Nonsense)
}

/// Reads a record at a kernel virtual address; it may cross pages that are apart in memory.
pub fn read_virtual<T: zerocopy::FromBytes + zerocopy::IntoBytes>(
    ram: &GuestRam,
    root: u64,
    address: u64,
) -> Result<T, InspectError> {
    let mut value = T::new_zeroed();
    let bytes = value.as_mut_bytes();
    let mut done = 0;
    while done < bytes.len() {
        let at = address
            .checked_add(done as u64)
            .ok_or(InspectError::Nonsense)?;
        let mapping = translate::walk(ram, root, at)?;
        let rest_of_page = mapping.page - (at & (mapping.page - 1));
        let count = (bytes.len() - done).min(usize::try_from(rest_of_page).unwrap_or(usize::MAX));
        ram.read_bytes(mapping.gpa, &mut bytes[done..done + count])?;
        done += count;
    }
    Ok(value)
}
