//! Sets of signals, and signals that wait to be taken.

use crate::process::signal::SignalInfo;
use alloc::collections::VecDeque;
use linux_raw_sys::general as uapi;

/// Signals by number as the kernel sees them: bit `n - 1` is signal `n` (Linux's sigset_t).
pub type SignalSet = u64;

/// Number of signals.
pub const SIGNALS: u32 = 64;

/// The set of one signal, 1 to 64.
pub const fn only(signal: u32) -> SignalSet {
    1 << (signal - 1)
}

/// SIGKILL and SIGSTOP can be neither blocked, caught nor ignored.
pub const UNBLOCKABLE: SignalSet = only(uapi::SIGKILL) | only(uapi::SIGSTOP);
/// What stops a process unless it is caught.
pub const STOPS: SignalSet =
    only(uapi::SIGSTOP) | only(uapi::SIGTSTP) | only(uapi::SIGTTIN) | only(uapi::SIGTTOU);
/// What does nothing unless it is caught.
pub const IGNORED_BY_DEFAULT: SignalSet =
    only(uapi::SIGCONT) | only(uapi::SIGCHLD) | only(uapi::SIGWINCH) | only(uapi::SIGURG);
/// What an instruction causes; taken before all others, while the registers still show it.
const SYNCHRONOUS: SignalSet = only(uapi::SIGSEGV)
    | only(uapi::SIGBUS)
    | only(uapi::SIGILL)
    | only(uapi::SIGTRAP)
    | only(uapi::SIGFPE)
    | only(uapi::SIGSYS);

/// Signals sent and not yet taken, of one thread or of one process.
#[derive(Debug, Default)]
pub struct PendingSignals {
    set: SignalSet,
    queue: VecDeque<SignalInfo>,
}

impl PendingSignals {
    /// Which are pending.
    pub fn set(&self) -> SignalSet {
        self.set
    }

    /// Signals queued with their information.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.set == 0
    }

    /// Adds one. A signal below 32 is pending once, however often it was sent; a real-time signal
    /// as often as it was sent, as long as `room` says that it may be queued: whether it was added.
    pub fn push(&mut self, info: SignalInfo, room: bool) -> bool {
        let pending = self.set & only(info.signal) != 0;
        if info.signal < uapi::SIGRTMIN {
            if !pending {
                self.set |= only(info.signal);
                self.queue.push_back(info);
            }
            return true;
        }
        if room {
            self.set |= only(info.signal);
            self.queue.push_back(info);
        }
        room
    }

    /// Takes the next of the signals in `wanted`: those of instructions first, then the lowest number, then the oldest.
    pub fn take(&mut self, wanted: SignalSet) -> Option<SignalInfo> {
        let candidates = self.set & wanted;
        if candidates == 0 {
            return None;
        }
        let urgent = candidates & SYNCHRONOUS;
        let signal = if urgent != 0 { urgent } else { candidates }.trailing_zeros() + 1;
        let index = self.queue.iter().position(|info| info.signal == signal)?;
        let info = self.queue.remove(index);
        if !self.queue.iter().any(|info| info.signal == signal) {
            self.set &= !only(signal);
        }
        info
    }

    /// Forgets all signals in `unwanted`.
    pub fn discard(&mut self, unwanted: SignalSet) {
        if self.set & unwanted != 0 {
            self.set &= !unwanted;
            self.queue.retain(|info| unwanted & only(info.signal) == 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(signal: u32, value: u64) -> SignalInfo {
        SignalInfo {
            signal,
            code: 0,
            pid: 0,
            value,
        }
    }

    fn take_all(pending: &mut PendingSignals) -> alloc::vec::Vec<(u32, u64)> {
        core::iter::from_fn(|| pending.take(!0))
            .map(|info| (info.signal, info.value))
            .collect()
    }

    #[test]
    fn ordinary_signals_are_pending_once_and_real_time_signals_queue() {
        let mut pending = PendingSignals::default();
        for (number, value) in [(40, 1), (uapi::SIGUSR1, 2), (uapi::SIGUSR1, 3), (40, 4)] {
            assert!(pending.push(signal(number, value), true));
        }
        assert!(!pending.push(signal(41, 5), false));
        assert_eq!(
            take_all(&mut pending),
            [(uapi::SIGUSR1, 2), (40, 1), (40, 4)]
        );
        assert!(pending.is_empty());
    }

    #[test]
    fn signals_of_instructions_come_first() {
        let mut pending = PendingSignals::default();
        for number in [uapi::SIGINT, uapi::SIGSEGV, uapi::SIGHUP] {
            pending.push(signal(number, 0), true);
        }
        assert_eq!(
            take_all(&mut pending)
                .iter()
                .map(|taken| taken.0)
                .collect::<alloc::vec::Vec<_>>(),
            [11, 1, 2]
        );
    }

    #[test]
    fn only_wanted_signals_are_taken_and_discarded() {
        let mut pending = PendingSignals::default();
        for number in [uapi::SIGTSTP, uapi::SIGINT, uapi::SIGCONT] {
            pending.push(signal(number, 0), true);
        }
        assert_eq!(
            pending.take(only(uapi::SIGINT)).map(|info| info.signal),
            Some(uapi::SIGINT)
        );
        assert_eq!(pending.take(only(uapi::SIGINT)), None);
        pending.discard(STOPS);
        assert_eq!(pending.set(), only(uapi::SIGCONT));
    }
}
