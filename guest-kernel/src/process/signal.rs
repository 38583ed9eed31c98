//! Signals. Replaced by the real thing.

use crate::kernel::Kernel;
use crate::process::task::TaskId;

/// Dispositions of the 64 signals, shared by CLONE_SIGHAND.
#[derive(Debug)]
pub struct SignalHandlers {}

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

impl Kernel {
    /// Sends a signal to one task (tgkill, faults).
    pub fn signal_task(&mut self, task: TaskId, info: SignalInfo) {
        let _ = (task, info);
        todo!()
    }

    /// Sends a signal to a process (kill, SIGCHLD): any of its threads may take it.
    pub fn signal_process(&mut self, tgid: u32, info: SignalInfo) {
        let _ = (tgid, info);
        todo!()
    }

    /// Sends a signal to all processes of a group (Ctrl-C). Whether there was one.
    pub fn signal_group(&mut self, pgid: u32, info: SignalInfo) -> bool {
        let _ = (pgid, info);
        todo!()
    }

    /// A fault of user code: the signal cannot be blocked or ignored; if it is, the process dies of it all the same.
    pub fn force_signal(&mut self, task: TaskId, info: SignalInfo) {
        let _ = (task, info);
        todo!()
    }

    /// Acts on pending signals of a task that is about to enter ring 3: may end it, stop it or build a handler frame.
    /// `interrupted` is the system call (its number) that was waiting when the signal came, if any: it is to be restarted or to fail with EINTR.
    pub fn deliver_signals(&mut self, task: TaskId, interrupted: bool) {
        let _ = (task, interrupted);
        todo!()
    }

    /// Whether a signal is pending that is not blocked.
    pub fn signal_pending(&self, task: TaskId) -> bool {
        let _ = task;
        todo!()
    }
}
