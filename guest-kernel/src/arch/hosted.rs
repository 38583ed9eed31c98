//! Stand-in for the machine under host tests: a settable clock and a doorbell that records.

use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use forkvm_abi::doorbell::Request;

std::thread_local! {
    static TSC: Cell<u64> = const { Cell::new(0) };
    static RUNG: RefCell<Vec<Request>> = const { RefCell::new(Vec::new()) };
    static ANSWER: Cell<u64> = const { Cell::new(0) };
}

/// Extended register state of a task.
#[derive(Debug, Default)]
pub struct FpuState {}

impl FpuState {
    /// A fresh process's state.
    pub fn new() -> Self {
        Self {}
    }

    /// The child's copy at fork; saves the live registers first if they are `self`'s.
    pub fn fork(&mut self) -> Self {
        Self {}
    }

    /// Back to a fresh process's state (execve).
    pub fn reset(&mut self) {}
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
