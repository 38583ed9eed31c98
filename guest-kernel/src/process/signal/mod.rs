//! Signals: what may come, what waits, what a process wants done about it.
//!
//! `set` holds sets and queues, `action` the dispositions; `send` puts a signal where it
//! waits and wakes a thread that will take it; `deliver` acts on it when that thread is
//! about to enter ring 3; `stop` is job control; `frame` lets a handler run and come back.

pub mod action;
pub mod deliver;
pub mod frame;
pub mod send;
pub mod set;
pub mod stop;

use linux_raw_sys::general as uapi;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use action::{Action, SignalHandlers};
pub use set::{PendingSignals, SignalSet};

/// Why a signal is sent, as siginfo tells it (sigaction(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalInfo {
    /// si_signo, 1 to 64.
    pub signal: u32,
    /// si_code: SI_USER, SI_TKILL, SEGV_MAPERR, CLD_EXITED, ...
    pub code: i32,
    /// si_pid, where it applies.
    pub pid: u32,
    /// si_addr, si_status or si_value, by signal.
    pub value: u64,
}

impl SignalInfo {
    /// From the kernel itself (SI_KERNEL).
    pub const fn from_kernel(signal: u32) -> Self {
        Self {
            signal,
            code: uapi::SI_KERNEL.cast_signed(),
            pid: 0,
            value: 0,
        }
    }

    /// By kill(2) of the process `pid` (SI_USER).
    pub const fn from_process(signal: u32, pid: u32) -> Self {
        Self {
            signal,
            code: uapi::SI_USER.cast_signed(),
            pid,
            value: 0,
        }
    }

    /// As sigqueue(3) passes it on.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "si_pid is the lower half, si_uid the upper"
    )]
    pub const fn from_user(signal: u32, info: &UserSignalInfo) -> Self {
        Self {
            signal,
            code: info.code,
            pid: info.first as u32,
            value: info.second,
        }
    }

    /// As a program gets it.
    pub fn to_user(self) -> UserSignalInfo {
        let mut info = UserSignalInfo {
            signal: self.signal,
            errno: 0,
            code: self.code,
            padding: 0,
            first: 0,
            second: 0,
            rest: [0; 12],
        };
        if self.is_fault() {
            info.first = self.value;
        } else {
            info.first = u64::from(self.pid);
            info.second = self.value;
        }
        info
    }

    /// Whether an instruction of the process caused it, so that si_addr stands where others have si_pid.
    fn is_fault(self) -> bool {
        matches!(
            self.signal,
            uapi::SIGSEGV | uapi::SIGBUS | uapi::SIGILL | uapi::SIGFPE | uapi::SIGTRAP
        ) && self.code > 0
            && self.code != uapi::SI_KERNEL.cast_signed()
    }
}

/// `siginfo_t`: 128 bytes whose middle depends on the signal.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct UserSignalInfo {
    /// si_signo.
    pub signal: u32,
    /// si_errno.
    pub errno: u32,
    /// si_code.
    pub code: i32,
    /// Zero.
    pub padding: u32,
    /// si_addr, or si_pid and (upper half) si_uid.
    pub first: u64,
    /// si_status or si_value.
    pub second: u64,
    /// The rest.
    pub rest: [u64; 12],
}

const _: () = assert!(size_of::<UserSignalInfo>() == uapi::SI_MAX_SIZE as usize);

/// What a thread has of its own.
#[derive(Debug, Default)]
pub struct TaskSignals {
    /// Blocked signals.
    pub mask: SignalSet,
    /// The mask to go back to once the signal that sigsuspend(2) waits for has been taken.
    pub saved_mask: Option<SignalSet>,
    /// Signals sent to this very thread.
    pub pending: PendingSignals,
    /// sigaltstack(2).
    pub alternate_stack: AlternateStack,
}

/// `stack_t` (sigaltstack(2)).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct AlternateStack {
    /// Lowest address.
    pub base: u64,
    /// SS_DISABLE, SS_AUTODISARM.
    pub flags: u32,
    /// Zero.
    pub padding: u32,
    /// Bytes.
    pub size: u64,
}

impl Default for AlternateStack {
    fn default() -> Self {
        Self {
            base: 0,
            flags: uapi::SS_DISABLE,
            padding: 0,
            size: 0,
        }
    }
}

impl AlternateStack {
    /// Whether a stack pointer stands on it.
    pub fn contains(&self, rsp: u64) -> bool {
        self.flags & uapi::SS_DISABLE == 0 && rsp > self.base && rsp - self.base <= self.size
    }
}
