//! Stand-in for the machine under host tests: a settable clock and a doorbell that records.

use super::Trap;
use crate::memory::phys::PhysWindow;
use crate::memory::space::KernelHalf;
use crate::memory::{AddressSpace, Frames};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use forkvm_abi::boot::{BootInfo, PlatformChoice};
use forkvm_abi::doorbell::Request;
use forkvm_abi::inspect::{HostKind, ProcessRecord};

std::thread_local! {
    static TSC: Cell<u64> = const { Cell::new(0) };
    static RUNG: RefCell<Vec<Request>> = const { RefCell::new(Vec::new()) };
    static ANSWER: Cell<u64> = const { Cell::new(0) };
}

/// Extended register state of a task, in FXSAVE's format.
#[derive(Debug)]
pub struct FpuState {
    area: [u8; 512],
}

impl Default for FpuState {
    fn default() -> Self {
        Self::new()
    }
}

impl FpuState {
    /// A fresh process's state.
    pub fn new() -> Self {
        Self { area: [0; 512] }
    }

    /// The child's copy at fork.
    pub fn fork(&mut self) -> Self {
        Self { area: self.area }
    }

    /// Back to a fresh process's state (execve).
    pub fn reset(&mut self) {
        self.area.fill(0);
    }

    /// Puts the state into the CPU: there is none.
    pub fn load(&mut self) {}

    /// The state as bytes.
    pub fn bytes(&mut self) -> &[u8] {
        &self.area
    }

    /// Length of [`FpuState::bytes`].
    pub fn frame_bytes(&self) -> usize {
        self.area.len()
    }

    /// FXSAVE's format.
    pub fn features(&self) -> u64 {
        0
    }

    /// Takes over a state that `fill` writes.
    pub fn replace<E>(&mut self, fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<(), E> {
        fill(&mut self.area)
    }
}

/// The time-stamp counter.
pub fn tsc() -> u64 {
    TSC.get()
}

/// Sets the time-stamp counter.
pub fn set_tsc(ticks: u64) {
    TSC.set(ticks);
}

/// Rings the doorbell; returns the VMM's result.
pub fn ring(request: Request) -> u64 {
    RUNG.with_borrow_mut(|rung| rung.push(request));
    ANSWER.get()
}

/// Requests rung so far; forgets them.
pub fn take_rung() -> Vec<Request> {
    RUNG.take()
}

/// What the next rings return.
pub fn set_answer(result: u64) {
    ANSWER.set(result);
}

/// There is no ring 3 to enter.
pub fn enter(_: &mut ProcessRecord, _: &mut AddressSpace) -> Trap {
    panic!("host tests do not run user code")
}

/// There is no interrupt to wait for.
pub fn idle() -> u32 {
    panic!("host tests do not idle")
}

/// Nothing is loaded.
pub fn forget_space(_: u64) {}

/// Host tests take the plain way.
pub fn traps_are_costly() -> bool {
    false
}

/// As much as an operation can want.
pub fn headroom() -> usize {
    usize::MAX
}

/// The host's allocator needs no help.
pub fn top_up_heap(_: &mut Frames) {}

/// Nothing to load.
pub fn load_segment_bases(_: &ProcessRecord) {}

/// The record is the truth.
pub fn save_segment_bases(_: &mut ProcessRecord) {}

/// Time stands still.
pub fn arm_timer(_: u64) {}

/// No interrupt to end.
pub fn end_of_interrupt() {}

/// The VMM is silent.
pub fn take_host_events() -> (u64, u64) {
    (0, 0)
}

/// No kernel to map.
pub fn kernel_half(_: &PhysWindow, _: &BootInfo) -> KernelHalf {
    KernelHalf::default()
}

/// Not known.
pub fn self_test_verdict() -> (HostKind, PlatformChoice) {
    (HostKind::Unknown, PlatformChoice::Auto)
}
