//! Time from the TSC. The frequency comes from the VMM (KVM_GET_TSC_KHZ); nothing is calibrated.

use forkvm_abi::boot::BootInfo;

/// Nanoseconds in a second.
pub const NANOS: u64 = 1_000_000_000;

/// Converts TSC ticks to nanoseconds and to the time of day.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Nanoseconds a tick, as a 32.32 fixed-point number.
    scale: u64,
    realtime_ns: u64,
    realtime_tsc: u64,
}

impl Clock {
    /// By what the VMM measured.
    pub fn new(boot: &BootInfo) -> Self {
        let khz = boot.tsc_khz.max(1);
        let scale = u64::try_from((1_000_000u128 << 32) / u128::from(khz)).unwrap_or(u64::MAX);
        Self {
            scale,
            realtime_ns: boot.realtime_ns,
            realtime_tsc: boot.realtime_tsc,
        }
    }

    /// Ticks as nanoseconds.
    pub fn nanoseconds(&self, ticks: u64) -> u64 {
        u64::try_from((u128::from(ticks) * u128::from(self.scale)) >> 32).unwrap_or(u64::MAX)
    }

    /// CLOCK_MONOTONIC: nanoseconds since the guest's TSC was zero.
    pub fn monotonic(&self) -> u64 {
        self.nanoseconds(crate::arch::tsc())
    }

    /// CLOCK_REALTIME: nanoseconds since the epoch.
    pub fn realtime(&self) -> u64 {
        self.realtime_ns + self.nanoseconds(crate::arch::tsc().wrapping_sub(self.realtime_tsc))
    }
}
