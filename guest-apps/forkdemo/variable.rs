//! The variable that parent and child share until one of them writes.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use rt::println;
use rt::syscall::{Errno, getpid, observe};

/// Alone in its page, so that nothing else in the program makes the page move.
#[repr(C, align(4096))]
pub(crate) struct Variable(AtomicU64, [u8; 4088]);

/// One address in every process that comes from this program.
pub(crate) static VARIABLE: Variable = Variable(AtomicU64::new(1), [0; 4088]);

impl Variable {
    pub(crate) fn write(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// Says where the variable is and what it holds here, then lets the host say which frame that is.
    pub(crate) fn show(&self) -> Result<(), Errno> {
        println!(
            "   [pid {}] the variable at {:p} holds {}",
            getpid(),
            self,
            self.0.load(Relaxed)
        );
        match observe(self) {
            Ok(()) | Err(Errno(38)) => Ok(()), // ENOSYS: this is Linux
            Err(error) => Err(error),
        }
    }
}
