//! Guest-physical addresses that are devices: one page, the doorbell's.

use crate::devices::doorbell::Doorbell;
use crate::exit::{Fault, Outcome};
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::layout::DOORBELL_GPA;

/// The devices of a guest.
#[derive(Debug)]
pub struct Bus {
    /// The one device.
    pub doorbell: Doorbell,
}

impl Bus {
    /// Whether the address is on the doorbell's page.
    pub fn is_doorbell(address: u64) -> bool {
        (DOORBELL_GPA..DOORBELL_GPA + PAGE_SIZE).contains(&address)
    }

    /// A write of the guest to an address that is not RAM.
    pub fn write(&mut self, address: u64, data: &[u8]) -> Result<Outcome, Fault> {
        if Self::is_doorbell(address) {
            Ok(self.doorbell.write(address - DOORBELL_GPA, data)?)
        } else {
            Err(Fault::NoDevice {
                what: "guest-physical address",
                address,
            })
        }
    }
}
