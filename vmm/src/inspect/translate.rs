//! Walks the guest's page tables (Intel SDM vol. 3, 4.5).

use super::InspectError;
use crate::memory::GuestRam;
use forkvm_abi::page_table::{
    ADDRESS_MASK, NO_EXECUTE, PAGE_SIZE_BIT, PRESENT, USER, WRITABLE, index,
};

/// Where an address leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Guest-physical address.
    pub gpa: u64,
    /// The leaf's flags; USER and WRITABLE only if every level grants them, NO_EXECUTE if any level sets it.
    pub flags: u64,
    /// Bytes of the page: 4 KiB, 2 MiB or 1 GiB.
    pub page: u64,
}

/// Follows one virtual address from a root: four reads at most.
pub fn walk(ram: &GuestRam, root: u64, address: u64) -> Result<Mapping, InspectError> {
    let mut table = root & ADDRESS_MASK;
    let (mut granted, mut forbidden) = (USER | WRITABLE, 0);
    for level in (1..=4).rev() {
        let entry: u64 = ram.read(table + 8 * index(address, level) as u64)?;
        if entry & PRESENT == 0 {
            return Err(InspectError::NotMapped { address, level });
        }
        granted &= entry;
        forbidden |= entry & NO_EXECUTE;
        let large = entry & PAGE_SIZE_BIT != 0 && (level == 2 || level == 3);
        if level == 1 || large {
            let page = 1u64 << (12 + 9 * (level - 1));
            let own = entry & !ADDRESS_MASK & !(USER | WRITABLE | NO_EXECUTE);
            let gpa = (entry & ADDRESS_MASK & !(page - 1)) | (address & (page - 1));
            return Ok(Mapping {
                gpa,
                flags: own | granted | forbidden,
                page,
            });
        }
        table = entry & ADDRESS_MASK;
    }
    unreachable!("level 1 is always a leaf")
}
