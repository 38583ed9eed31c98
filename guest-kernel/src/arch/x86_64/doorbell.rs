//! The doorbell: how the kernel asks the VMM for something, and how it hears from it.

use forkvm_abi::boot::HostEvents;
use forkvm_abi::doorbell::Request;
use forkvm_abi::layout::{DIRECT_MAP_BASE, DOORBELL_VA, HOST_EVENTS_GPA, REQUEST_GPA};

/// Rings; the VMM acts before the next instruction. Returns its result.
pub fn ring(request: Request) -> u64 {
    let slot = core::ptr::with_exposed_provenance_mut::<Request>(direct(REQUEST_GPA));
    let doorbell = core::ptr::with_exposed_provenance_mut::<u64>(
        usize::try_from(DOORBELL_VA).expect("64-bit"),
    );
    // SAFETY: (1) the request page is mapped by the direct map and only used here; (2) the doorbell page is mapped for
    // the kernel; the write leaves the guest, and the VMM changes `result` meanwhile: volatile.
    unsafe {
        slot.write_volatile(request);
        doorbell.write_volatile(REQUEST_GPA);
        (&raw const (*slot).result).read_volatile()
    }
}

/// Takes what the VMM has told since the last time: bits of abi::boot::event, and the window size as `rows << 16 | cols`.
pub fn take_host_events() -> (u64, u64) {
    // SAFETY: the page holds a HostEvents, zero at start; both sides touch it with atomic operations only.
    let events =
        unsafe { &*core::ptr::with_exposed_provenance::<HostEvents>(direct(HOST_EVENTS_GPA)) };
    use core::sync::atomic::Ordering::AcqRel;
    (
        events.pending.swap(0, AcqRel),
        events.window.load(core::sync::atomic::Ordering::Acquire),
    )
}

fn direct(gpa: u64) -> usize {
    usize::try_from(DIRECT_MAP_BASE + gpa).expect("64-bit")
}
