//! System calls on files: decode, call `fs`, wrap.
//!
//! `transfer` moves bytes, and `blocking` knows how it waits; `open` and `descriptor` make and share
//! descriptors; `at` finds what a path means to a task and is what all path calls go through
//! (`path`, `stat`, `names`, `attributes`, execve); `directory` lists, `ioctl` asks devices,
//! `poll` and `select` wait for several files at once.

mod at;
mod attributes;
mod blocking;
mod descriptor;
mod directory;
mod ioctl;
mod names;
mod open;
mod path;
mod patience;
mod poll;
mod select;
mod stat;
mod transfer;

#[cfg(test)]
mod tests;

pub use at::TaskView;
pub use attributes::*;
pub use descriptor::*;
pub use directory::*;
pub use ioctl::*;
pub use names::*;
pub use open::*;
pub use path::*;
pub use poll::*;
pub use select::*;
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
}
