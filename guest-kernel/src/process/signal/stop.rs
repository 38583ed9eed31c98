//! Job control: stopping and continuing whole processes.
//!
//! A stopped thread is data like any other, so a process stops at once, wherever its
//! threads sleep; a parked system call is taken up again after SIGCONT.

use super::SignalInfo;
use super::action::SIG_IGN;
use crate::arena::Id;
use crate::kernel::Kernel;
use crate::process::task::TaskId;
use crate::process::thread_group::ThreadGroup;
use crate::syscall::WaitChannel;
use alloc::vec::Vec;
use forkvm_abi::inspect::ProcessState;
use linux_raw_sys::general as uapi;

impl Kernel {
    /// Stops all threads of a process; its parent is told. `current` is running and in no queue.
    pub(super) fn stop_process(&mut self, group: Id<ThreadGroup>, current: TaskId, signal: u32) {
        let stop = &mut self.groups[group].stop;
        let already = stop.stopped_by.replace(signal).is_some();
        stop.unreported_stop = true;
        stop.unreported_continue = false;
        let threads: Vec<TaskId> = self.living_threads(group).collect();
        for thread in threads {
            self.stop_thread(thread, thread == current);
        }
        if !already {
            self.tell_parent(group, uapi::CLD_STOPPED, signal);
        }
    }

    /// Stops one thread. A vfork parent goes on waiting; it stops when it is about to enter ring 3.
    pub(super) fn stop_thread(&mut self, thread: TaskId, is_current: bool) {
        let task = &mut self.tasks[thread];
        match task.state() {
            ProcessState::Runnable if !is_current => self.scheduler.remove(thread),
            ProcessState::Runnable => {}
            ProcessState::Sleeping => task.retry = true,
            ProcessState::Uninterruptible => {
                task.pending_work = true;
                return;
            }
            ProcessState::Stopped | ProcessState::Zombie => return,
        }
        self.scheduler.clear_deadline(thread);
        let task = &mut self.tasks[thread];
        task.set_state(ProcessState::Stopped);
        task.record.wait_channel = WaitChannel::DoSignalStop as u32;
    }

    /// SIGCONT has been sent: a stopped process goes on even if the signal is blocked or ignored.
    pub(super) fn continue_process(&mut self, group: Id<ThreadGroup>) {
        if self.groups[group].stop.stopped_by.is_none() {
            return;
        }
        self.resume_threads(group);
        self.groups[group].stop.unreported_continue = true;
        self.tell_parent(group, uapi::CLD_CONTINUED, uapi::SIGCONT);
    }

    /// Makes the threads of a stopped process runnable.
    pub(super) fn resume_threads(&mut self, group: Id<ThreadGroup>) {
        let stop = &mut self.groups[group].stop;
        if stop.stopped_by.take().is_none() {
            return;
        }
        stop.unreported_stop = false;
        let threads: Vec<TaskId> = self.living_threads(group).collect();
        for thread in threads {
            let task = &mut self.tasks[thread];
            if task.state() == ProcessState::Stopped {
                task.set_state(ProcessState::Runnable);
                task.record.wait_channel = 0;
                task.pending_work = true;
                self.scheduler.enqueue(thread);
            }
        }
    }

    /// SIGCHLD for a stop or a continuation, unless the parent does not want these; waiters look again.
    fn tell_parent(&mut self, group: Id<ThreadGroup>, code: u32, status: u32) {
        let Some(parent) = self.groups[group].family.parent else {
            return;
        };
        let action = self
            .handlers_of(parent)
            .map(|handlers| self.handlers[handlers].get(uapi::SIGCHLD));
        if action.is_some_and(|action| action.handler != SIG_IGN && !action.has(uapi::SA_NOCLDSTOP))
        {
            let (code, pid, value) = (
                code.cast_signed(),
                self.groups[group].tgid,
                u64::from(status),
            );
            self.signal_thread_group(
                parent,
                SignalInfo {
                    signal: uapi::SIGCHLD,
                    code,
                    pid,
                    value,
                },
            );
        }
        self.wake_child_waiters(parent);
    }

    /// The dispositions of a process; `None` once it has ended, and for pid 1.
    pub fn handlers_of(&self, group: Id<ThreadGroup>) -> Option<Id<super::SignalHandlers>> {
        self.living_threads(group)
            .find_map(|thread| self.tasks[thread].handlers)
    }
}
