//! Wait queues: who is parked until something happens to a pipe, the console, a file.
//!
//! A task may stand in several queues (poll) and may be woken for nothing: its system call is
//! simply run again and looks for itself. So a queue is a set of names and needs no clean-up when a
//! task is woken by something else, is killed, or its slot is used again.

use crate::process::task::TaskId;
use alloc::vec::Vec;

/// Tasks that wait for one kind of event.
#[derive(Debug, Default)]
pub struct WaitQueue {
    waiting: Vec<TaskId>,
}

impl WaitQueue {
    /// Nobody waits.
    pub const fn new() -> Self {
        Self {
            waiting: Vec::new(),
        }
    }

    /// The task waits here from now on. At most once each, so that the queue is bounded by the number of tasks.
    pub fn push(&mut self, task: TaskId) {
        if !self.waiting.contains(&task) {
            self.waiting.push(task);
        }
    }

    /// The event: everybody goes from the queue to `woken`.
    pub fn wake(&mut self, woken: &mut Vec<TaskId>) {
        woken.append(&mut self.waiting);
    }
}
