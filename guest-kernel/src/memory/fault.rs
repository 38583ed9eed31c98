//! Resolves page faults of user code, and of the kernel's own accesses to user memory.

use super::frames::Frames;
use super::space::AddressSpace;

/// What the access wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Execute,
}

/// What became of a page fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum FaultOutcome {
    /// The page is usable now; run the instruction again.
    Resolved,
    /// Nothing is mapped there: SIGSEGV, SEGV_MAPERR.
    NotMapped,
    /// The region does not allow it: SIGSEGV, SEGV_ACCERR.
    Denied,
    /// Behind the end of the mapped file: SIGBUS, BUS_ADRERR.
    BeyondFile,
    /// No frame is left.
    OutOfMemory,
}

impl AddressSpace {
    /// Makes `address` usable for `access`, or says why not. Counts what it did in `frames`' counters.
    pub fn fault(&mut self, frames: &mut Frames, address: u64, access: Access) -> FaultOutcome {
        let _ = (frames, address, access);
        todo!()
    }
}
