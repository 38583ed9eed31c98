//! The line on which the host tells the guest that something happened.
//!
//! Bits go into `HostEvents.pending` in guest memory, then an interrupt makes the guest look.
//! Both steps are async-signal-safe: signal handlers use the same line as the threads do.

use crate::memory::{GuestRam, OutsideRam};
use forkvm_abi::boot::HostEvents;
use forkvm_abi::layout::{HOST_EVENTS_GPA, LAPIC_GPA, vector};
use kvm_bindings::kvm_msi;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::Ordering;

/// `_IOW(KVMIO, 0xa5, struct kvm_msi)`, linux/kvm.h.
const KVM_SIGNAL_MSI: libc::c_ulong = 0x4020_aea5;

/// Where events for one guest go. It stays valid while its VM and its memory live.
#[derive(Clone, Copy, Debug)]
pub struct HostEventLine {
    events: *const HostEvents,
    vm: RawFd,
}

// SAFETY: (1) the pointed-to record is only accessed atomically; (2) an ioctl may be issued from any thread.
unsafe impl Send for HostEventLine {}

impl HostEventLine {
    /// The line into the guest of `ram`, whose VM is `vm`.
    pub fn new(ram: &GuestRam, vm: &impl AsRawFd) -> Result<Self, OutsideRam> {
        let events = ram.host_address(HOST_EVENTS_GPA, size_of::<HostEvents>() as u64)?;
        Ok(Self {
            events: events.cast(),
            vm: vm.as_raw_fd(),
        })
    }

    /// Sets event bits and interrupts the guest.
    pub fn raise(&self, bits: u64) {
        // SAFETY: (1) `new` checked that the record is in RAM, which outlives the line; (2) RAM is
        // page-aligned, so the record is aligned; (3) both sides access it atomically.
        unsafe { &*self.events }
            .pending
            .fetch_or(bits, Ordering::SeqCst);
        self.interrupt();
    }

    /// Stores a new terminal size; the caller raises the event.
    pub fn set_window(&self, rows: u16, columns: u16) {
        let packed = u64::from(rows) << 16 | u64::from(columns);
        // SAFETY: as in `raise`.
        unsafe { &*self.events }
            .window
            .store(packed, Ordering::SeqCst);
    }

    fn interrupt(&self) {
        #[expect(clippy::cast_possible_truncation, reason = "the APIC is below 4 GiB")]
        let message = kvm_msi {
            address_lo: LAPIC_GPA as u32,
            data: u32::from(vector::HOST_EVENT),
            ..Default::default()
        };
        // SAFETY: (1) the ioctl reads the record and keeps no reference to it; (2) a stale descriptor is an error, not a danger:
        // the guest then merely sees the event at its next interrupt.
        unsafe { libc::ioctl(self.vm, KVM_SIGNAL_MSI, &raw const message) };
    }
}
