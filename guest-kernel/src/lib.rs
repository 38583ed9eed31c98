//! forkvm's guest kernel: everything but the few lines that start it.
//!
//! It is a library so that its logic runs under ordinary host tests; the freestanding
//! binary (`main.rs`) only adds the panic handler and the allocator. All state is in one
//! [`Kernel`](kernel::Kernel); there is one vCPU, interrupts are off in the kernel, and a
//! process that must wait is parked as data, never as a stack.
//!
//! In the order control flows: `boot` builds the `Kernel`, `run` is the loop around
//! [`arch::enter`], `syscall` decodes what a process asked for, and `process`, `memory`
//! and `fs` do it. `arch` hides how ring 3 is entered and left.
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(not(target_os = "none"))]
extern crate std;

pub mod arch;
pub mod arena;
pub mod boot;
pub mod errno;
pub mod fs;
pub mod kernel;
pub mod memory;
pub mod process;
pub mod run;
pub mod syscall;
pub mod time;
