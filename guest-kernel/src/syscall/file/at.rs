//! What a path means to a task: the first step of every path call, of the *at calls, and of execve.

use crate::arena::Arena;
use crate::errno::Errno;
use crate::fs::Inode;
use crate::fs::path::{LastLink, PATH_MAX, Viewpoint, Walk};
use crate::fs::proc::Processes;
use crate::kernel::Kernel;
use crate::process::task::{TaskId, TaskTable};
use crate::process::thread_group::ThreadGroup;
use alloc::vec::Vec;
use linux_raw_sys::general::{AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW};

/// The tasks as /proc shows them to one of them.
#[derive(Clone, Copy, Debug)]
pub struct TaskView<'a> {
    /// All tasks.
    pub tasks: &'a TaskTable,
    /// Their thread groups.
    pub groups: &'a Arena<ThreadGroup>,
    /// Thread group id of the one who looks.
    pub current: u32,
}

impl Processes for TaskView<'_> {
    fn current(&self) -> u32 {
        self.current
    }

    fn program(&self, pid: u32) -> Option<Option<Inode>> {
        let task = &self.tasks[self.tasks.by_pid(pid)?];
        let ended = task.space.is_none();
        Some(self.groups[task.group].exe.filter(|_| !ended))
    }

    fn next_after(&self, pid: u32) -> Option<u32> {
        let mut records = self.tasks.iter().map(|(_, task)| &task.record);
        records
            .find(|record| record.pid > pid && record.pid == record.tgid)
            .map(|record| record.pid)
    }
}

impl Kernel {
    /// /proc through the eyes of a task.
    pub fn view(&self, task: TaskId) -> TaskView<'_> {
        TaskView {
            tasks: &self.tasks,
            groups: &self.groups,
            current: self.tasks[task].record.tgid,
        }
    }

    /// A path from the program's memory. EFAULT, ENAMETOOLONG.
    pub fn read_path(&mut self, task: TaskId, address: u64) -> Result<Vec<u8>, Errno> {
        self.user(task)
            .read_string(address, PATH_MAX, Errno::ENAMETOOLONG)
    }

    /// The inode that `path` leads to from the directory behind `dirfd`. `flags`: AT_SYMLINK_NOFOLLOW; AT_EMPTY_PATH, with which an
    /// empty path means `dirfd` itself. EBADF, ENOTDIR, ENOENT, ELOOP, ENAMETOOLONG.
    pub fn resolve_at(
        &self,
        task: TaskId,
        dirfd: i32,
        path: &[u8],
        flags: u32,
    ) -> Result<Inode, Errno> {
        if path.is_empty() && flags & AT_EMPTY_PATH != 0 {
            return self.inode_at(task, dirfd);
        }
        let last_link = match flags & AT_SYMLINK_NOFOLLOW {
            0 => LastLink::Follow,
            _ => LastLink::FollowBeforeSlash,
        };
        self.walk_at(task, dirfd, path, last_link)?
            .existing(&self.fs)
    }

    /// Walks a path for calls that make or remove what it names. Errors as [`resolve_at`](Self::resolve_at).
    pub(super) fn walk_at<'a>(
        &'a self,
        task: TaskId,
        dirfd: i32,
        path: &'a [u8],
        last_link: LastLink,
    ) -> Result<Walk<'a>, Errno> {
        let start = self.start_of(task, dirfd, path)?;
        self.fs.walk(
            &Viewpoint {
                start,
                root: self.root(task),
                last_link,
                processes: &self.view(task),
            },
            path,
        )
    }

    /// Where a walk starts. A path from the root does not care about the descriptor. EBADF, ENOTDIR.
    pub(super) fn start_of(&self, task: TaskId, dirfd: i32, path: &[u8]) -> Result<Inode, Errno> {
        match path.first() {
            None => Err(Errno::ENOENT),
            Some(b'/') => Ok(self.root(task)),
            Some(_) => {
                let inode = self.inode_at(task, dirfd)?;
                if self.fs.is_directory(inode) {
                    Ok(inode)
                } else {
                    Err(Errno::ENOTDIR)
                }
            }
        }
    }

    /// What the task sees as `/`.
    pub(super) fn root(&self, task: TaskId) -> Inode {
        self.fs.contexts[self.context(task)].root
    }

    /// The inode behind a descriptor, or the current directory for AT_FDCWD. EBADF.
    fn inode_at(&self, task: TaskId, dirfd: i32) -> Result<Inode, Errno> {
        match dirfd {
            AT_FDCWD => Ok(self.fs.contexts[self.context(task)].cwd),
            _ => self.fs.inode_of(self.table(task), dirfd),
        }
    }
}
