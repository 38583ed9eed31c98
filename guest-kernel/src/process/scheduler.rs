//! Who runs next: round robin over the runnable, and deadlines of the sleeping. Replaced by the real thing.

use crate::kernel::Kernel;
use crate::process::task::TaskId;

/// Run queue and deadlines.
#[derive(Debug, Default)]
pub struct Scheduler {}

impl Scheduler {
    /// The next runnable task goes from the front of the queue; `None`: idle.
    pub fn next(&mut self) -> Option<TaskId> {
        todo!()
    }

    /// A task that used up its slice, or was switched away from while runnable, goes to the back.
    pub fn enqueue(&mut self, task: TaskId) {
        let _ = task;
        todo!()
    }

    /// Whether anybody else waits for the vCPU.
    pub fn is_contended(&self) -> bool {
        todo!()
    }

    /// The earliest deadline (monotonic ns) of a sleeping task.
    pub fn next_deadline(&self) -> Option<u64> {
        todo!()
    }

    /// Tasks whose deadline is `now` or earlier.
    pub fn expired(&mut self, now: u64) -> Option<TaskId> {
        let _ = now;
        todo!()
    }
}

impl Kernel {
    /// Makes a sleeping task runnable; harmless for any other state. Its system call is taken up again.
    pub fn wake(&mut self, task: TaskId) {
        let _ = task;
        todo!()
    }
}
