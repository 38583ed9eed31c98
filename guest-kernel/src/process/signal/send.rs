//! Sending: a signal is put where it waits, and a thread that will take it is woken
//! (Linux: send_signal_locked and complete_signal in kernel/signal.c).

use super::SignalInfo;
use super::action::{Action, SIG_DFL};
use super::set::{STOPS, UNBLOCKABLE, only};
use crate::arena::Id;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::exit::FIRST_PROGRAM;
use crate::process::task::TaskId;
use crate::process::thread_group::ThreadGroup;
use alloc::vec::Vec;
use forkvm_abi::inspect::ProcessState;
use linux_raw_sys::general as uapi;

/// Whom a signal is for.
#[derive(Clone, Copy, Debug)]
enum Destination {
    /// This very thread.
    Thread(TaskId),
    /// Any thread of the process.
    Process,
}

impl Kernel {
    /// Sends a signal to one task (tgkill, faults).
    pub fn signal_task(&mut self, task: TaskId, info: SignalInfo) {
        let group = self.tasks[task].group;
        // A full queue loses a real-time signal; only sigqueue(3) reports that.
        let _ = self.send(group, Destination::Thread(task), info);
    }

    /// Sends a signal to a process (kill, SIGCHLD): any of its threads may take it.
    pub fn signal_process(&mut self, tgid: u32, info: SignalInfo) {
        if let Some(group) = self.process_by_id(tgid) {
            self.signal_thread_group(group, info);
        }
    }

    /// Sends a signal to a process by its group object.
    pub fn signal_thread_group(&mut self, group: Id<ThreadGroup>, info: SignalInfo) {
        // As in signal_task.
        let _ = self.send(group, Destination::Process, info);
    }

    /// Sends a signal to all processes of a group (Ctrl-C). Whether there was one.
    pub fn signal_group(&mut self, pgid: u32, info: SignalInfo) -> bool {
        let Some(group) = self.process_group_by_id(pgid) else {
            return false;
        };
        for member in self.members(group) {
            self.signal_thread_group(member, info);
        }
        true
    }

    /// Sends a signal of the kernel's to the terminal's foreground process group (Ctrl-C); before any was set,
    /// to the first program's.
    pub fn signal_foreground(&mut self, signal: u32) {
        let group = match self.fs.foreground_group() {
            0 => FIRST_PROGRAM,
            group => group,
        };
        self.signal_group(group, SignalInfo::from_kernel(signal));
    }

    /// Sends a signal of the kernel's to the first program.
    pub fn signal_first(&mut self, signal: u32) {
        self.signal_process(FIRST_PROGRAM, SignalInfo::from_kernel(signal));
    }

    /// sigqueue(3) and its like: as the others, but EAGAIN when the queue is full.
    pub fn queue_signal(
        &mut self,
        group: Id<ThreadGroup>,
        thread: Option<TaskId>,
        info: SignalInfo,
    ) -> Result<(), Errno> {
        self.send(
            group,
            thread.map_or(Destination::Process, Destination::Thread),
            info,
        )
    }

    /// A fault of user code: the signal cannot be blocked or ignored; if it is, the process dies of it all the same.
    pub fn force_signal(&mut self, task: TaskId, info: SignalInfo) {
        let Some(handlers) = self.tasks[task].handlers else {
            return;
        };
        let blocked = self.tasks[task].signals.mask & only(info.signal) != 0;
        if blocked || self.handlers[handlers].ignores(info.signal) {
            self.handlers[handlers].set(
                info.signal,
                Action {
                    handler: SIG_DFL,
                    ..Action::default()
                },
            );
            self.tasks[task].signals.mask &= !only(info.signal);
        }
        self.signal_task(task, info);
    }

    /// Whether a signal is pending that is not blocked.
    pub fn signal_pending(&self, task: TaskId) -> bool {
        let signals = &self.tasks[task].signals;
        (signals.pending.set() | self.group(task).pending.set()) & !signals.mask != 0
    }

    /// Changes a thread's mask; what has become unblocked is looked at before ring 3 is entered.
    pub fn set_signal_mask(&mut self, task: TaskId, mask: u64) {
        let old = core::mem::replace(&mut self.tasks[task].signals.mask, mask & !UNBLOCKABLE);
        if self.signal_pending(task) {
            self.tasks[task].pending_work = true;
        }
        // What was sent to the process while this thread would have taken it is now another thread's.
        let newly_blocked = mask & !old;
        let group = self.tasks[task].group;
        if newly_blocked & self.groups[group].pending.set() != 0 {
            let others: Vec<TaskId> = self
                .living_threads(group)
                .filter(|thread| *thread != task)
                .collect();
            for thread in others {
                if self.signal_pending(thread) {
                    self.interrupt(thread, false);
                }
            }
        }
    }

    fn send(
        &mut self,
        group: Id<ThreadGroup>,
        destination: Destination,
        info: SignalInfo,
    ) -> Result<(), Errno> {
        let gone = match destination {
            Destination::Thread(thread) => self.tasks[thread].state() == ProcessState::Zombie,
            Destination::Process => self.is_zombie(group),
        };
        if gone || Some(group) == self.tasks.init {
            return Ok(());
        }

        // Stopping and continuing cancel each other at once, whatever becomes of the signal itself.
        if only(info.signal) & STOPS != 0 {
            self.discard_signals(group, only(uapi::SIGCONT));
        } else if info.signal == uapi::SIGCONT {
            self.discard_signals(group, STOPS);
            self.continue_process(group);
        } else if info.signal == uapi::SIGKILL {
            self.resume_threads(group);
        }

        let representative = match destination {
            Destination::Thread(thread) => thread,
            Destination::Process => self.groups[group].leader,
        };
        if self.is_ignored(group, representative, info.signal) {
            return Ok(());
        }
        let room = self.has_room(group);
        let pending = match destination {
            Destination::Thread(thread) => &mut self.tasks[thread].signals.pending,
            Destination::Process => &mut self.groups[group].pending,
        };
        if !pending.push(info, room) {
            return Err(Errno::EAGAIN);
        }
        if let Some(thread) = self.taker(group, destination, info.signal) {
            let fatal = self.is_fatal(thread, info.signal);
            self.interrupt(thread, fatal);
        }
        Ok(())
    }

    /// Whether a signal need not even be queued. A blocked one must: its disposition may change.
    fn is_ignored(&self, group: Id<ThreadGroup>, thread: TaskId, signal: u32) -> bool {
        let Some(handlers) = self
            .living_threads(group)
            .find_map(|living| self.tasks[living].handlers)
        else {
            return true;
        };
        let signals = &self.tasks[thread].signals;
        let blocked = (signals.mask | signals.saved_mask.unwrap_or(0)) & only(signal) != 0;
        !blocked && self.handlers[handlers].ignores(signal)
    }

    /// RLIMIT_SIGPENDING, which bounds the kernel memory that unread signals take.
    fn has_room(&self, group: Id<ThreadGroup>) -> bool {
        let queued: usize = self
            .living_threads(group)
            .map(|thread| self.tasks[thread].signals.pending.len())
            .sum();
        let limit = self.groups[group].limits.soft(uapi::RLIMIT_SIGPENDING);
        ((queued + self.groups[group].pending.len()) as u64) < limit.min(1024)
    }

    /// The thread that will take a signal just sent; `None` if all block it or are stopped.
    fn taker(
        &self,
        group: Id<ThreadGroup>,
        destination: Destination,
        signal: u32,
    ) -> Option<TaskId> {
        let wants = |thread: &TaskId| {
            let task = &self.tasks[*thread];
            let open =
                task.signals.mask & only(signal) == 0 && task.state() != ProcessState::Stopped;
            signal == uapi::SIGKILL || open
        };
        match destination {
            Destination::Thread(thread) => Some(thread).filter(wants),
            Destination::Process => self.living_threads(group).find(wants),
        }
    }

    fn is_fatal(&self, thread: TaskId, signal: u32) -> bool {
        let handlers = self.tasks[thread].handlers;
        signal == uapi::SIGKILL
            || handlers.is_some_and(|handlers| self.handlers[handlers].kills(signal))
    }

    /// Lets a thread see that it has a signal to take. An uninterruptible sleep ends for a fatal one only.
    fn interrupt(&mut self, thread: TaskId, fatal: bool) {
        let task = &mut self.tasks[thread];
        task.pending_work = true;
        if task.state() == ProcessState::Sleeping
            || (fatal && task.state() == ProcessState::Uninterruptible)
        {
            self.wake(thread);
        }
    }

    /// Forgets pending signals of a process and of all its threads.
    pub fn discard_signals(&mut self, group: Id<ThreadGroup>, unwanted: u64) {
        self.groups[group].pending.discard(unwanted);
        let threads: Vec<TaskId> = self.living_threads(group).collect();
        for thread in threads {
            self.tasks[thread].signals.pending.discard(unwanted);
        }
    }
}
