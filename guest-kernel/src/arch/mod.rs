//! The machine: how ring 3 is entered and left, and everything privileged.
//!
//! `x86_64` is the real one, with two platforms behind one interface; `hosted` stands in for it under
//! host tests, where there is no ring 3 to enter.

#[cfg(not(target_os = "none"))]
mod hosted;
#[cfg(target_os = "none")]
mod x86_64;

#[cfg(not(target_os = "none"))]
pub use hosted::*;
#[cfg(target_os = "none")]
pub use x86_64::*;

use crate::memory::Access;

/// Why a task left ring 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// `syscall`: number and arguments are in the registers.
    SystemCall,
    /// #PF.
    PageFault {
        /// CR2.
        address: u64,
        /// By the error code.
        access: Access,
    },
    /// Any other exception, 0 to 31.
    Exception {
        /// Its vector.
        vector: u32,
        /// Its error code; undefined for vectors without one.
        error: u64,
    },
    /// An interrupt, abi::layout::vector.
    Interrupt {
        /// Its vector.
        vector: u32,
    },
}
