//! System calls: from registers to a handler and back.
//!
//! `table` has one line a call. [`Kernel::system_call`] looks the number up, runs the
//! handler, and is the one place that turns its result into registers. Handlers are thin:
//! decode, call the subsystem, wrap.

pub mod file;
pub mod memory;
pub mod process;
pub mod signal;
pub mod system;
pub mod table;
pub mod time;

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::task::TaskId;

/// What a handler hands back when it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// The value for rax.
    Value(u64),
    /// The caller must wait. The handler has put it on the queue of what it waits for; when woken, the
    /// handler runs again from the start with the same arguments and `Task::progress`.
    Park {
        /// What it waits in, for WCHAN.
        channel: WaitChannel,
        /// Monotonic time in nanoseconds at which it is woken at the latest.
        deadline: Option<u64>,
    },
    /// Registers are as they should be (execve, rt_sigreturn), or the caller has ended.
    Registers,
}

/// A handler's result.
pub type SyscallResult = Result<Completion, Errno>;

/// The six argument registers: rdi, rsi, rdx, r10, r8, r9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Args(pub [u64; 6]);

impl Args {
    /// Argument `index` as C's int.
    #[allow(clippy::cast_possible_truncation, reason = "C's int is the low 32 bits of the register")]
    pub fn int(&self, index: usize) -> i32 {
        self.0[index] as i32
    }

    /// Argument `index` as C's unsigned int.
    #[allow(clippy::cast_possible_truncation, reason = "C's unsigned int is the low 32 bits of the register")]
    pub fn uint(&self, index: usize) -> u32 {
        self.0[index] as u32
    }
}

/// A handler: who calls, with what.
pub type Handler = fn(&mut Kernel, TaskId, &Args) -> SyscallResult;

/// Where a task sleeps: the Linux function that ps shows as WCHAN.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum WaitChannel {
    DoWait = 1,
    KernelClone = 2,
    PipeRead = 3,
    PipeWrite = 4,
    NTtyRead = 5,
    HrtimerNanosleep = 6,
    DoSysPause = 7,
    SigSuspend = 8,
    DoSigtimedwait = 9,
    DoPoll = 10,
    FutexWait = 11,
    DoSignalStop = 12,
}
