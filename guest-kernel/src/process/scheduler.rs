//! Who runs next: round robin over the runnable, and the deadlines of those who sleep.
//!
//! A task is in the queue exactly while it is runnable and not running. The run loop takes
//! the front ([`Scheduler::next`]), puts it back when its slice is over, and asks for the
//! next deadline when it arms the timer. [`Kernel::wake`] is the one way out of a sleep.

use crate::kernel::Kernel;
use crate::process::task::TaskId;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use forkvm_abi::inspect::ProcessState;

/// Run queue and deadlines.
#[derive(Debug, Default)]
pub struct Scheduler {
    queue: VecDeque<TaskId>,
    deadlines: BTreeSet<(u64, TaskId)>,
    armed: BTreeMap<TaskId, u64>,
    yielded: bool,
}

impl Scheduler {
    /// The next runnable task goes from the front of the queue; `None`: idle.
    #[allow(
        clippy::should_implement_trait,
        reason = "the queue is no iterator: tasks come back to it"
    )]
    pub fn next(&mut self) -> Option<TaskId> {
        self.queue.pop_front()
    }

    /// A task that used up its slice, or has become runnable, goes to the back.
    pub fn enqueue(&mut self, task: TaskId) {
        self.queue.push_back(task);
    }

    /// Takes a task out that will not run after all: it was stopped or ended by another.
    pub fn remove(&mut self, task: TaskId) {
        self.queue.retain(|queued| *queued != task);
    }

    /// Whether anybody else waits for the vCPU.
    pub fn is_contended(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The running task lets the others go first (sched_yield).
    pub fn request_yield(&mut self) {
        self.yielded = true;
    }

    /// Whether the running task asked for that since the last question.
    pub fn take_yield(&mut self) -> bool {
        core::mem::take(&mut self.yielded)
    }

    /// A sleeping task is to be woken at `deadline` (monotonic ns) at the latest; replaces an earlier request.
    pub fn set_deadline(&mut self, task: TaskId, deadline: u64) {
        self.clear_deadline(task);
        self.armed.insert(task, deadline);
        self.deadlines.insert((deadline, task));
    }

    /// The task no longer waits for a moment.
    pub fn clear_deadline(&mut self, task: TaskId) {
        if let Some(deadline) = self.armed.remove(&task) {
            self.deadlines.remove(&(deadline, task));
        }
    }

    /// The earliest deadline (monotonic ns) of a sleeping task.
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// A task whose deadline is `now` or earlier; the deadline is forgotten. The caller wakes it.
    pub fn expired(&mut self, now: u64) -> Option<TaskId> {
        let (deadline, task) = *self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.clear_deadline(task);
        Some(task)
    }
}

impl Kernel {
    /// Makes a sleeping task runnable; harmless for any other state, and for a task that is gone.
    /// Its system call is taken up again.
    pub fn wake(&mut self, task: TaskId) {
        let Some(sleeper) = self.tasks.get_mut(task) else {
            return;
        };
        let asleep = matches!(
            sleeper.state(),
            ProcessState::Sleeping | ProcessState::Uninterruptible
        );
        if !asleep || sleeper.space.is_none() {
            return;
        }
        sleeper.set_state(ProcessState::Runnable);
        sleeper.record.wait_channel = 0;
        sleeper.retry = true;
        self.scheduler.clear_deadline(task);
        self.scheduler.enqueue(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_take_turns() {
        let mut scheduler = Scheduler::default();
        scheduler.enqueue(TaskId(1));
        scheduler.enqueue(TaskId(2));
        assert_eq!(scheduler.next(), Some(TaskId(1)));
        assert!(scheduler.is_contended());
        scheduler.enqueue(TaskId(1));
        assert_eq!(
            [scheduler.next(), scheduler.next(), scheduler.next()],
            [Some(TaskId(2)), Some(TaskId(1)), None]
        );
    }

    #[test]
    fn deadlines_expire_in_order_and_once() {
        let mut scheduler = Scheduler::default();
        scheduler.set_deadline(TaskId(1), 30);
        scheduler.set_deadline(TaskId(2), 20);
        scheduler.set_deadline(TaskId(1), 10);
        assert_eq!(scheduler.next_deadline(), Some(10));
        assert_eq!(scheduler.expired(9), None);
        assert_eq!(
            [
                scheduler.expired(25),
                scheduler.expired(25),
                scheduler.expired(25)
            ],
            [Some(TaskId(1)), Some(TaskId(2)), None]
        );
        assert_eq!(scheduler.next_deadline(), None);
    }
}
