//! System calls on files: decode, call `fs`, wrap.
//!
//! `transfer` moves bytes, `copy` from one file to another, and `blocking` knows how it waits; `open` and `descriptor` make and share
//! descriptors; `at` finds what a path means to a task and is what all path calls go through
//! (`path`, `stat`, `names`, `attributes`, `size`, execve); `directory` lists, `ioctl` asks devices,
//! `poll` and `select` wait for several files at once.

mod at;
mod attributes;
mod blocking;
mod copy;
mod descriptor;
mod directory;
mod ioctl;
mod names;
mod open;
mod path;
mod patience;
mod poll;
mod select;
mod size;
mod stat;
mod transfer;

#[cfg(test)]
mod tests;

pub use at::TaskView;
pub use attributes::*;
pub use copy::*;
pub use descriptor::*;
pub use directory::*;
pub use ioctl::*;
pub use names::*;
pub use open::*;
pub use path::*;
pub use poll::*;
pub use select::*;
pub use size::*;
pub use stat::*;
pub use transfer::*;

use super::{Completion, SyscallResult};
use crate::arena::Id;
use crate::fs::tree::Owner;
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
    /// What an operation on files leaves for the rest of the kernel to do: mappings of pages that have changed their frame, and
    /// frames of what was removed.
    fn settle_files(&mut self) {
        while let Some(stale) = self.fs.stale.pop() {
            for space in self.spaces.iter_mut() {
                stale.unmap(space, &mut self.frames);
            }
            self.fs.put_object_aside(stale);
        }
        self.fs.give_back_frames(&mut self.frames);
    }

    /// Whom a new file belongs to.
    fn owner(&self, task: TaskId) -> Owner {
        let credentials = &self.tasks[task].credentials;
        Owner {
            uid: credentials.user.file_system,
            gid: credentials.group.file_system,
        }
    }

    /// Permissions for a new file, the umask's bits taken off.
    fn new_mode(&self, task: TaskId, mode: u32) -> u32 {
        mode & 0o7777 & !self.fs.contexts[self.context(task)].umask
    }

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
