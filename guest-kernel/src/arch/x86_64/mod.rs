//! The real machine: x86-64 under KVM, on one of two platforms.
//!
//! `boot` receives control with the self-test's verdict. [`enter`] and [`idle`] go to ring 3 and to sleep by way of
//! `ring0` or `monitor`, whichever the verdict chose, and come back with a [`Trap`]. The rest is what
//! needs privileged instructions or fixed addresses: `fpu`, `lapic`, `doorbell`, `heap`, `crash`.
#![allow(unsafe_code)]

mod boot;
mod cpu;
mod crash;
mod doorbell;
mod fpu;
mod heap;
mod lapic;
mod monitor;
mod ring0;

pub use boot::{kernel_half, self_test_verdict};
pub use cpu::{load_segment_bases, save_segment_bases, tsc};
pub use crash::panic;
pub use doorbell::{ring, take_host_events};
pub use fpu::FpuState;
pub use heap::{KernelHeap, headroom, top_up_heap};
pub use lapic::{arm_timer, end_of_interrupt};

use super::Trap;
use crate::memory::{Access, AddressSpace};
use forkvm_abi::boot::PlatformChoice;
use forkvm_abi::inspect::ProcessRecord;
use forkvm_abi::layout::vector;

/// Page-fault error code: the access was made with user rights.
const FAULT_USER: u64 = 1 << 2;
const GENERAL_PROTECTION: u32 = 13;

/// Runs a task in ring 3 until something happens that the kernel must see to.
pub fn enter(record: &mut ProcessRecord, space: &mut AddressSpace) -> Trap {
    let (number, error) = match platform() {
        PlatformChoice::Monitor => monitor::run(record, space),
        _ => ring0::run(record, space),
    };
    record.vector = u64::from(number);
    match number {
        monitor::SYSTEM_CALL => Trap::SystemCall,
        // Not the program's own access but one the CPU made for it with supervisor rights, such as a descriptor
        // that a return to another ring names: nothing can be mapped to help.
        14 if error & FAULT_USER == 0 => Trap::Exception {
            vector: GENERAL_PROTECTION,
            error,
        },
        14 => Trap::PageFault {
            address: fault_address(),
            access: access(error),
        },
        0..32 => Trap::Exception {
            vector: number,
            error,
        },
        _ => Trap::Interrupt { vector: number },
    }
}

/// Sleeps until an interrupt; its vector.
pub fn idle() -> u32 {
    match platform() {
        PlatformChoice::Monitor => monitor::idle(),
        _ => ring0::idle(),
    }
}

/// The space with this CR3 is about to be taken apart: stop using it.
pub fn forget_space(cr3: u64) {
    ring0::forget(cr3);
}

/// Whether a trap is so costly that pages are worth preparing ahead of it.
pub fn traps_are_costly() -> bool {
    platform() == PlatformChoice::Monitor
}

fn platform() -> PlatformChoice {
    boot::platform()
}

fn fault_address() -> u64 {
    match platform() {
        PlatformChoice::Monitor => monitor::fault_address(),
        _ => cpu::cr2(),
    }
}

/// Page-fault error code (Intel SDM vol. 3, 4.7) as the kind of access.
fn access(error: u64) -> Access {
    const WRITE: u64 = 1 << 1;
    const FETCH: u64 = 1 << 4;
    if error & FETCH != 0 {
        Access::Execute
    } else if error & WRITE != 0 {
        Access::Write
    } else {
        Access::Read
    }
}

const _: () = assert!(vector::COUNT == monitor::SYSTEM_CALL as usize);
