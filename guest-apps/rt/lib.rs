//! The runtime of the guest apps: what stands between `_start` and an app's `main`, without a C library.
//!
//! In:  the stack that execve built (argument count, arguments, environment).
//! Out: system calls, and the exit status that `main` returns.
//!
//! Nothing here knows of forkvm except [`syscall::observe`], which Linux answers with ENOSYS: every app
//! also runs on Linux itself.
//!
//! In the order a program meets them: its start, what it writes, what it asks of the kernel.
#![no_std]

mod memory;
pub mod print;
pub mod start;
pub mod syscall;

pub use start::Program;

/// Names the app's main function: `fn main(program: &Program) -> u8`, which returns the exit status.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "Rust" fn app_main(program: &$crate::Program) -> u8 {
            $main(program)
        }
    };
}
