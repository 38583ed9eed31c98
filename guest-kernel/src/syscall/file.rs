//! System calls on files: decode, call `fs`, wrap.
//!
//! `transfer` moves bytes, `open` and `descriptor` make and share descriptors, `at` finds what a
//! path means to a task and is what all path calls go through (`path`, `stat`, `modify`, execve),
//! `directory` lists, `ioctl` asks devices, `poll` waits for several files at once.

mod at;
mod descriptor;
mod directory;
mod ioctl;
mod modify;
mod open;
mod path;
mod poll;
mod stat;
mod transfer;

#[cfg(test)]
mod tests;

pub use at::TaskView;
pub use descriptor::*;
pub use directory::*;
pub use ioctl::*;
pub use modify::*;
pub use open::*;
pub use path::*;
pub use poll::*;
pub use stat::*;
pub use transfer::*;

use super::{Completion, SyscallResult};
use crate::arena::Id;
use crate::fs::{FdTable, FsContext};
use crate::kernel::Kernel;
use crate::process::task::TaskId;

/// A call that worked and has nothing to tell.
const DONE: SyscallResult = Ok(Completion::Value(0));

/// A non-negative descriptor or count for rax.
fn value(number: i32) -> SyscallResult {
    Ok(Completion::Value(u64::from(number.cast_unsigned())))
}

/// A count of bytes for rax.
fn count(bytes: usize) -> SyscallResult {
    Ok(Completion::Value(bytes as u64))
}

impl Kernel {
    /// The caller's descriptors.
    fn table(&self, task: TaskId) -> Id<FdTable> {
        self.tasks[task]
            .files
            .expect("a task in a system call has descriptors")
    }

    /// The caller's current directory and umask.
    fn context(&self, task: TaskId) -> Id<FsContext> {
        self.tasks[task]
            .context
            .expect("a task in a system call has a current directory")
    }

    /// After an operation on files: those who can go on now do, frames of closed pipes are free.
    fn settle_files(&mut self) {
        self.fs.give_back_frames(&mut self.frames);
        if !self.fs.woken.is_empty() {
            self.deliver_wakeups();
        }
    }
}
