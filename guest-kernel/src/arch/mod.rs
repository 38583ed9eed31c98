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
