//! The local APIC in xAPIC mode (Intel SDM vol. 3, 11): one-shot timer and end of interrupt.
//!
//! The VMM has enabled it and set divider, vectors and mode. An access costs an exit to KVM, so callers arm the timer
//! only when they must.

use super::boot;
use forkvm_abi::layout::LAPIC_VA;

const EOI: u64 = 0xb0;
const INITIAL_COUNT: u64 = 0x380;

/// Raises the timer interrupt in `nanoseconds`, at least one tick and at most some seconds from now; replaces what was armed.
pub fn arm_timer(nanoseconds: u64) {
    let ticks = u128::from(nanoseconds) * u128::from(boot::lapic_khz()) / 1_000_000;
    write(
        INITIAL_COUNT,
        u32::try_from(ticks).unwrap_or(u32::MAX).max(1),
    );
}

/// Tells the APIC that the interrupt has been seen to.
pub fn end_of_interrupt() {
    write(EOI, 0);
}

fn write(register: u64, value: u32) {
    let address = core::ptr::with_exposed_provenance_mut::<u32>(
        usize::try_from(LAPIC_VA + register).expect("64-bit"),
    );
    // SAFETY: the VMM maps the APIC page at LAPIC_VA for the kernel, on both platforms.
    unsafe { address.write_volatile(value) };
}
