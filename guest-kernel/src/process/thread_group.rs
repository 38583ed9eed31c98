//! A process in the sense of POSIX: what its threads have in common (Linux's signal_struct).
//!
//! Parenthood lives here too. The children of a process form a list through the children
//! themselves, oldest first, so that a birth, a death and an adoption each cost the
//! same however many processes there are.

use crate::arena::{Arena, Id};
use crate::fs::Inode;
use crate::kernel::Kernel;
use crate::process::group::ProcessGroup;
use crate::process::limits::Limits;
use crate::process::signal::PendingSignals;
use crate::process::task::TaskId;
use crate::process::usage::Usage;
use alloc::vec::Vec;
use forkvm_abi::inspect::ProcessState;

/// What only threads of one process share.
#[derive(Debug)]
pub struct ThreadGroup {
    /// What getpid(2) returns.
    pub tgid: u32,
    /// The thread whose pid is the tgid; stays, as a zombie, until the process is reaped.
    pub leader: TaskId,
    /// Living threads other than the leader.
    pub others: Vec<TaskId>,
    /// Place in the tree of processes.
    pub family: Family,
    /// Process group, and through it the session.
    pub process_group: Id<ProcessGroup>,
    /// Signals sent to the process, for any of its threads.
    pub pending: PendingSignals,
    /// setrlimit(2).
    pub limits: Limits,
    /// Signal to the parent when the process ends: SIGCHLD after fork; 0 for none.
    pub exit_signal: u32,
    /// Wait status for the whole process, once exit_group(2) or a fatal signal has decided it.
    pub exit_status: Option<u32>,
    /// Job control.
    pub stop: StopState,
    /// Threads that wait in wait4(2) for a child to change.
    pub child_waiters: Vec<TaskId>,
    /// What its ended threads have used.
    pub usage: Usage,
    /// What its reaped descendants have used (RUSAGE_CHILDREN).
    pub children_usage: Usage,
    /// PR_SET_CHILD_SUBREAPER: orphans among its descendants become its children.
    pub is_subreaper: bool,
    /// It has called execve since its fork: its parent may not move it to another process group.
    pub has_execed: bool,
    /// prctl(PR_SET_DUMPABLE).
    pub dumpable: u32,
    /// The program it runs (/proc/PID/exe).
    pub exe: Option<Inode>,
}

/// Links to relatives.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// `None` for pid 1 only.
    pub parent: Option<Id<ThreadGroup>>,
    /// The very thread that forked it: __WNOTHREAD and PR_SET_PDEATHSIG are about it.
    pub parent_thread: TaskId,
    first_child: Option<Id<ThreadGroup>>,
    last_child: Option<Id<ThreadGroup>>,
    previous: Option<Id<ThreadGroup>>,
    next: Option<Id<ThreadGroup>>,
}

impl Family {
    /// No relatives yet.
    pub const fn new(parent_thread: TaskId) -> Self {
        Self {
            parent: None,
            parent_thread,
            first_child: None,
            last_child: None,
            previous: None,
            next: None,
        }
    }

    /// The next younger child of the same parent.
    pub const fn next_sibling(&self) -> Option<Id<ThreadGroup>> {
        self.next
    }
}

/// Whether the process is stopped, and what its parent has not been told yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StopState {
    /// The signal that stopped it, while it is stopped.
    pub stopped_by: Option<u32>,
    /// WUNTRACED has not reported this stop yet.
    pub unreported_stop: bool,
    /// WCONTINUED has not reported the last continuation yet.
    pub unreported_continue: bool,
}

impl ThreadGroup {
    /// A process without relatives, with `leader` as its only thread.
    pub fn new(
        tgid: u32,
        leader: TaskId,
        process_group: Id<ProcessGroup>,
        limits: Limits,
        exit_signal: u32,
    ) -> Self {
        Self {
            tgid,
            leader,
            others: Vec::new(),
            family: Family::new(leader),
            process_group,
            pending: PendingSignals::default(),
            limits,
            exit_signal,
            exit_status: None,
            stop: StopState::default(),
            child_waiters: Vec::new(),
            usage: Usage::default(),
            children_usage: Usage::default(),
            is_subreaper: false,
            has_execed: false,
            dumpable: 1,
            exe: None,
        }
    }
}

/// `child` becomes the youngest child of `parent`, which counts as forked by `thread`.
pub fn adopt(
    groups: &mut Arena<ThreadGroup>,
    parent: Id<ThreadGroup>,
    thread: TaskId,
    child: Id<ThreadGroup>,
) {
    let elder = groups[parent].family.last_child.replace(child);
    match elder {
        Some(elder) => groups[elder].family.next = Some(child),
        None => groups[parent].family.first_child = Some(child),
    }
    let family = &mut groups[child].family;
    family.parent = Some(parent);
    family.parent_thread = thread;
    family.previous = elder;
    family.next = None;
}

/// `child` leaves its parent's list.
pub fn disown(groups: &mut Arena<ThreadGroup>, child: Id<ThreadGroup>) {
    let Family {
        parent,
        previous,
        next,
        ..
    } = groups[child].family;
    let Some(parent) = parent else { return };
    match previous {
        Some(previous) => groups[previous].family.next = next,
        None => groups[parent].family.first_child = next,
    }
    match next {
        Some(next) => groups[next].family.previous = previous,
        None => groups[parent].family.last_child = previous,
    }
    groups[child].family.parent = None;
}

/// The children of a process, oldest first.
pub fn children(
    groups: &Arena<ThreadGroup>,
    parent: Id<ThreadGroup>,
) -> impl Iterator<Item = Id<ThreadGroup>> + '_ {
    core::iter::successors(groups[parent].family.first_child, |child| {
        groups[*child].family.next
    })
}

impl Kernel {
    /// The process a task belongs to.
    pub fn group(&self, task: TaskId) -> &ThreadGroup {
        &self.groups[self.tasks[task].group]
    }

    /// The process a task belongs to.
    pub fn group_mut(&mut self, task: TaskId) -> &mut ThreadGroup {
        &mut self.groups[self.tasks[task].group]
    }

    /// Whether the task is its process's leader.
    pub fn is_leader(&self, task: TaskId) -> bool {
        self.group(task).leader == task
    }

    /// Threads that have not ended, the leader first.
    pub fn living_threads(&self, group: Id<ThreadGroup>) -> impl Iterator<Item = TaskId> + '_ {
        let leader = self.groups[group].leader;
        let living = self.tasks[leader].state() != ProcessState::Zombie;
        living
            .then_some(leader)
            .into_iter()
            .chain(self.groups[group].others.iter().copied())
    }

    /// Whether all threads have ended: the process can be waited for.
    pub fn is_zombie(&self, group: Id<ThreadGroup>) -> bool {
        let process = &self.groups[group];
        process.others.is_empty() && self.tasks[process.leader].state() == ProcessState::Zombie
    }

    /// The process of a tgid; `None` if there is none, or the number is a mere thread's.
    pub fn process_by_id(&self, tgid: u32) -> Option<Id<ThreadGroup>> {
        let task = self.tasks.by_pid(tgid)?;
        self.is_leader(task).then(|| self.tasks[task].group)
    }
}
