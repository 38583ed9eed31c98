//! Delivery: what becomes of pending signals when a task is about to enter ring 3
//! (Linux: get_signal in kernel/signal.c, arch_do_signal_or_restart in arch/x86/kernel/signal.c).

use super::SignalInfo;
use super::action::{Action, DefaultAction, SIG_DFL, SIG_IGN, default_action};
use super::set::only;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::exit::killed_by;
use crate::process::task::{Progress, TaskId};
use crate::syscall::WaitChannel;
use forkvm_abi::inspect::ProcessState;
use linux_raw_sys::general as uapi;

/// Bytes of the `syscall` instruction: how far rip goes back to run it again.
const SYSCALL_BYTES: u64 = 2;

/// What becomes of a parked system call when a handler interrupts it (signal(7)). Without a
/// handler it is always taken up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Runs again after a handler with SA_RESTART, else EINTR (ERESTARTSYS).
    IfHandlerAllows,
    /// Runs again after any handler (ERESTARTNOINTR).
    Always,
    /// EINTR after any handler (ERESTARTNOHAND, ERESTART_RESTARTBLOCK, EINTR).
    Never,
}

impl WaitChannel {
    /// What signal(7) says about calls that wait there.
    pub const fn restart(self) -> Restart {
        match self {
            Self::DoWait
            | Self::KernelClone
            | Self::WaitForPartner
            | Self::PipeRead
            | Self::PipeWrite
            | Self::NTtyRead
            | Self::FutexWait => Restart::IfHandlerAllows,
            Self::FutexLock => Restart::Always,
            Self::HrtimerNanosleep
            | Self::DoSysPause
            | Self::SigSuspend
            | Self::DoSigtimedwait
            | Self::DoPoll
            | Self::DoSignalStop => Restart::Never,
        }
    }
}

impl Kernel {
    /// Whether a system call that would park in `channel` must be interrupted instead: the dispatcher then
    /// calls [`Kernel::deliver_signals`] with that channel.
    pub fn is_interrupted(&self, task: TaskId, channel: WaitChannel) -> bool {
        if !self.signal_pending(task) {
            return false;
        }
        channel != WaitChannel::KernelClone || self.fatal_signal_pending(task)
    }

    /// Acts on pending signals of a task that is about to enter ring 3: may end it, stop it or build a handler
    /// frame. `interrupted`: where the task was about to park when the signal came, if it was; the call is then
    /// taken up again (`retry`), restarted by its own instruction, or fails with EINTR.
    ///
    /// Afterwards the caller must see whether the task still [is to run](Kernel::is_runnable).
    pub fn deliver_signals(&mut self, task: TaskId, interrupted: Option<WaitChannel>) {
        self.tasks[task].pending_work = false;
        self.tasks[task].retry |= interrupted.is_some();
        let group = self.tasks[task].group;
        if self.groups[group].stop.stopped_by.is_some() {
            self.stop_thread(task, true);
            return;
        }
        while let Some(info) = self.take_signal(task) {
            let Some(handlers) = self.tasks[task].handlers else {
                return;
            };
            let action = self.handlers[handlers].get(info.signal);
            match action.handler {
                SIG_IGN => {}
                SIG_DFL => match default_action(info.signal) {
                    DefaultAction::Ignore => {}
                    DefaultAction::Stop if self.may_stop(task, info.signal) => {
                        self.stop_process(group, task, info.signal);
                        return;
                    }
                    DefaultAction::Stop => {}
                    DefaultAction::Terminate => {
                        self.exit_process(task, killed_by(info.signal));
                        return;
                    }
                },
                _ => {
                    self.run_handler(task, info, action, interrupted);
                    return;
                }
            }
        }
        if let Some(mask) = self.tasks[task].signals.saved_mask.take() {
            self.set_signal_mask(task, mask);
        }
    }

    /// Whether the task is there, and neither stopped, asleep nor ended.
    pub fn is_runnable(&self, task: TaskId) -> bool {
        self.tasks
            .get(task)
            .is_some_and(|task| task.state() == ProcessState::Runnable)
    }

    /// Takes the next signal that is not blocked, the thread's own before the process's.
    fn take_signal(&mut self, task: TaskId) -> Option<SignalInfo> {
        let open = !self.tasks[task].signals.mask;
        if let Some(info) = self.tasks[task].signals.pending.take(open) {
            return Some(info);
        }
        self.group_mut(task).pending.take(open)
    }

    /// Takes a signal that sigtimedwait(2) waits for, blocked as it may be.
    pub fn take_wanted(&mut self, task: TaskId, wanted: u64) -> Option<SignalInfo> {
        let own = self.tasks[task].signals.pending.take(wanted);
        own.or_else(|| self.group_mut(task).pending.take(wanted))
    }

    fn fatal_signal_pending(&self, task: TaskId) -> bool {
        let Some(handlers) = self.tasks[task].handlers else {
            return false;
        };
        let signals = &self.tasks[task].signals;
        let open = (signals.pending.set() | self.group(task).pending.set()) & !signals.mask;
        (1..=super::set::SIGNALS).any(|signal| {
            open & only(signal) != 0
                && (signal == uapi::SIGKILL || self.handlers[handlers].kills(signal))
        })
    }

    /// SIGSTOP always stops; the terminal's stop signals do nothing in an orphaned process group.
    fn may_stop(&self, task: TaskId, signal: u32) -> bool {
        signal == uapi::SIGSTOP || !self.is_orphaned(self.group(task).process_group, None)
    }

    /// Sends the task into its handler. If its stack cannot take the frame, that is a SIGSEGV, whose own
    /// handler may have another stack to run on; if even that one fails, the task dies of it.
    fn run_handler(
        &mut self,
        task: TaskId,
        info: SignalInfo,
        action: Action,
        interrupted: Option<WaitChannel>,
    ) {
        if let Some(channel) = interrupted {
            self.finish_interrupted(task, channel, action);
        }
        let mask = self.tasks[task].signals.mask;
        let to_restore = self.tasks[task].signals.saved_mask.take().unwrap_or(mask);
        if self
            .push_signal_frame(task, info, action, to_restore)
            .is_err()
        {
            self.fail_handler(task, info.signal);
            return;
        }
        if action.has(uapi::SA_RESETHAND)
            && let Some(handlers) = self.tasks[task].handlers
        {
            self.handlers[handlers].set(
                info.signal,
                Action {
                    handler: SIG_DFL,
                    ..action
                },
            );
        }
        let own = if action.has(uapi::SA_NODEFER) {
            0
        } else {
            only(info.signal)
        };
        self.set_signal_mask(task, mask | action.mask | own);
    }

    fn fail_handler(&mut self, task: TaskId, signal: u32) {
        if signal == uapi::SIGSEGV {
            self.exit_process(task, killed_by(uapi::SIGSEGV));
        } else {
            self.force_signal(task, SignalInfo::from_kernel(uapi::SIGSEGV));
        }
    }

    /// Gives the interrupted system call the result that the program sees after its handler.
    fn finish_interrupted(&mut self, task: TaskId, channel: WaitChannel, action: Action) {
        self.futex_leave(task);
        if channel == WaitChannel::WaitForPartner {
            self.fs.abandon_opening(task);
            self.fs.give_back_frames(&mut self.frames);
        }
        let task = &mut self.tasks[task];
        task.retry = false;
        let progress = core::mem::take(&mut task.progress);
        let restarts = match channel.restart() {
            Restart::Always => true,
            // A wait with a timeout is not started over (ERESTART_RESTARTBLOCK).
            Restart::IfHandlerAllows => {
                let has_timeout =
                    matches!(progress, Progress::Deadline(deadline) if deadline != u64::MAX);
                action.has(uapi::SA_RESTART) && !has_timeout
            }
            Restart::Never => false,
        };
        match progress {
            Progress::Bytes(moved) if moved > 0 => task.record.regs.rax = moved,
            _ if restarts => {
                task.record.regs.rax = task.record.regs.orig_rax;
                task.record.regs.rip = task.record.regs.rip.wrapping_sub(SYSCALL_BYTES);
            }
            _ => task.record.regs.rax = Errno::EINTR.to_rax(),
        }
    }
}
