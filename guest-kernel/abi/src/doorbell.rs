//! Requests from the kernel to the VMM.
//!
//! The kernel fills a [`Request`] in guest RAM and writes its GPA, eight bytes, to the
//! doorbell. The VMM checks every field, acts, and stores `result` before the vCPU goes on.
//! A malformed request ends the VM: the kernel is at fault or has been taken over.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What is asked for.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `args`: GPA and bytes of console records ([`ConsoleRecord`]); they are written in order.
    /// `result`: bit 0 set if standard output is broken (EPIPE), bit 1 if standard error is.
    ConsoleWrite = 1,
    /// `args`: GPA and bytes to read at most (one page). `result`: bytes read; 0 at the end of
    /// input; [`WOULD_BLOCK`] if there is none now, then `INPUT_READY` follows.
    ConsoleRead = 2,
    /// `args`: the first program's wait status as wait(2) gives it. The VM ends.
    Exit = 3,
    /// The epitaph in `KernelInfo` is complete. The VM ends with 125.
    Panic = 4,
    /// `args`: GPA and bytes of a UTF-8 message, and a [`LogLevel`].
    Log = 5,
    /// `args`: PID and virtual address: the host reads that process's page tables and says where the page is.
    Observe = 6,
    /// `args`: the requested [`PlatformChoice`](crate::boot::PlatformChoice), which the self-test rules out. The VM ends with 125.
    PlatformRefused = 7,
    /// `KernelInfo` holds the self-test's verdict. The VM ends (`SELF_TEST_ONLY`).
    SelfTestDone = 8,
    /// `args`: a [`Milestone`]. For benchmarks; sent only when the VMM asked for it.
    Milestone = 9,
}

impl Operation {
    const ALL: [Self; 9] = [
        Self::ConsoleWrite,
        Self::ConsoleRead,
        Self::Exit,
        Self::Panic,
        Self::Log,
        Self::Observe,
        Self::PlatformRefused,
        Self::SelfTestDone,
        Self::Milestone,
    ];
}

impl TryFrom<u32> for Operation {
    type Error = u32;

    fn try_from(value: u32) -> Result<Self, u32> {
        Self::ALL
            .into_iter()
            .find(|operation| *operation as u32 == value)
            .ok_or(value)
    }
}

/// [`Operation::ConsoleRead`] found nothing to read.
pub const WOULD_BLOCK: u64 = u64::MAX;

/// Severity of an [`Operation::Log`] message; the VMM passes it to its own logger.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LogLevel {
    Error = 1,
    Warn = 2,
    Info = 3,
    Debug = 4,
}

/// A request; eight-byte aligned, in RAM.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Request {
    /// An [`Operation`].
    pub operation: u32,
    /// Zero.
    pub reserved: u32,
    /// Meaning depends on the operation.
    pub args: [u64; 4],
    /// Written by the VMM.
    pub result: u64,
}

const _: () = assert!(size_of::<Request>() == 48);

/// Header of one piece of console output; the bytes follow, padded to a multiple of four.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ConsoleRecord {
    /// 1 for standard output, 2 for standard error.
    pub stream: u32,
    /// Bytes of text, padding not counted.
    pub len: u32,
}

/// Moments of a run that benchmarks ask for.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// The first user instruction is about to run.
    FirstUserInstruction = 1,
}
