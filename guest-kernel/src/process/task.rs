//! The record of a process or thread, and the table of them.
//!
//! A task is named by its slot ([`TaskId`]) inside the kernel and by its pid outside. The
//! table also keeps the records linked in pid order for the VMM, which reads them straight
//! from guest memory.

use crate::arch::FpuState;
use crate::arena::{Arena, Id};
use crate::fs::{FdTable, FsContext};
use crate::memory::AddressSpace;
use crate::process::credentials::Credentials;
use crate::process::futex::Waiter;
use crate::process::group::{ProcessGroup, Session};
use crate::process::pid::{PidTable, Role};
use crate::process::signal::{SignalHandlers, TaskSignals};
pub use crate::process::thread_group::ThreadGroup;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use forkvm_abi::inspect::{ProcessRecord, ProcessState};

/// Tasks at most, whatever RLIMIT_NPROC says: bounds the kernel's heap.
pub const MAX_TASKS: usize = 16384;

/// A slot of the task table: the kernel's own, constant-time name of a task. Pids are the user's.
/// A slot is used again once its task has been reaped, so a `TaskId` left on a wait queue may
/// wake a stranger; that is harmless, since a woken system call looks again for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskId(pub u32);

/// How far an interrupted or parked system call had come, so that it can be taken up again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// Nothing yet.
    #[default]
    None,
    /// Bytes moved already (a write to a full pipe).
    Bytes(u64),
    /// Monotonic deadline in nanoseconds (a sleep).
    Deadline(u64),
    /// A vfork parent waits for the child of this pid to let go of its memory.
    Vfork(u32),
    /// An open(2) waits for the other end of a FIFO; its open file is kept by the file system.
    Opening,
    /// The awaited thing has happened; the value is what the call returns.
    Done(u64),
}

/// A process or thread: Linux's task_struct. Everything a task is, is here, in its address space and its files.
#[repr(C)]
#[derive(Debug)]
pub struct Task {
    /// What the VMM reads: pids, state, registers. First, so that its address is the task's.
    pub record: ProcessRecord,
    /// Extended register state, when it is not in the CPU.
    pub fpu: FpuState,
    /// Address space; `None` once exited, and for pid 1.
    pub space: Option<Id<AddressSpace>>,
    /// Descriptors; `None` once exited, and for pid 1.
    pub files: Option<Id<FdTable>>,
    /// Current directory and umask; `None` once exited, and for pid 1.
    pub context: Option<Id<FsContext>>,
    /// Signal dispositions; `None` once exited.
    pub handlers: Option<Id<SignalHandlers>>,
    /// Thread group.
    pub group: Id<ThreadGroup>,
    /// State of the system call that is parked.
    pub progress: Progress,
    /// A parked system call is to be run again instead of entering ring 3.
    pub retry: bool,
    /// [`Kernel::deliver_signals`](crate::kernel::Kernel::deliver_signals) has something to do before ring 3 is entered.
    pub pending_work: bool,
    /// Mask, pending signals and alternate stack of this thread.
    pub signals: TaskSignals,
    /// set_tid_address / CLONE_CHILD_CLEARTID.
    pub clear_child_tid: u64,
    /// set_robust_list(2): head and length.
    pub robust_list: [u64; 2],
    /// Where it stands in the queues of futexes.
    pub futex: Option<Waiter>,
    /// The parent that waits in vfork until this task execs or exits.
    pub vfork_parent: Option<TaskId>,
    /// PR_SET_PDEATHSIG; 0 is none.
    pub parent_death_signal: u32,
    /// User and group ids.
    pub credentials: Credentials,
    /// personality(2).
    pub personality: u32,
    /// setpriority(2), -20 to 19.
    pub nice: i32,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privileges: bool,
    /// Page faults resolved for it (ru_minflt).
    pub minor_faults: u64,
}

impl Task {
    /// A task that nobody knows yet: no pid, no memory, no files.
    pub fn new(group: Id<ThreadGroup>, fpu: FpuState) -> Box<Self> {
        let mut record: ProcessRecord = zerocopy::FromZeros::new_zeroed();
        record.state = ProcessState::Runnable as u32;
        record.start_tsc = crate::arch::tsc();
        Box::new(Self {
            record,
            fpu,
            space: None,
            files: None,
            context: None,
            handlers: None,
            group,
            progress: Progress::None,
            retry: false,
            pending_work: false,
            signals: TaskSignals::default(),
            clear_child_tid: 0,
            robust_list: [0; 2],
            futex: None,
            vfork_parent: None,
            parent_death_signal: 0,
            credentials: Credentials::default(),
            personality: 0,
            nice: 0,
            no_new_privileges: false,
            minor_faults: 0,
        })
    }

    /// The state as an enum.
    pub fn state(&self) -> ProcessState {
        use ProcessState::{Runnable, Sleeping, Stopped, Uninterruptible, Zombie};
        [Runnable, Sleeping, Uninterruptible, Stopped]
            .into_iter()
            .find(|state| *state as u32 == self.record.state)
            .unwrap_or(Zombie)
    }

    /// Changes the state that the VMM sees, too.
    pub fn set_state(&mut self, state: ProcessState) {
        self.record.state = state as u32;
    }

    /// Sets the name as prctl(PR_SET_NAME) does: 15 bytes at most, NUL-padded.
    pub fn set_name(&mut self, name: &[u8]) {
        let len = name.len().min(15);
        self.record.comm = [0; 16];
        self.record.comm[..len].copy_from_slice(&name[..len]);
    }
}

/// All tasks, by slot and by pid.
#[derive(Debug, Default)]
pub struct TaskTable {
    slots: Vec<Option<Box<Task>>>,
    free: Vec<TaskId>,
    by_pid: BTreeMap<u32, TaskId>,
    /// Numbers in use.
    pub pids: PidTable,
    /// Process groups with members.
    pub process_groups: Arena<ProcessGroup>,
    /// Sessions with members.
    pub sessions: Arena<Session>,
    /// pid 1's thread group: the parent of orphans.
    pub init: Option<Id<ThreadGroup>>,
}

impl TaskTable {
    /// Takes a task in under the pid in its record, which its maker has allocated.
    pub fn insert(&mut self, task: Box<Task>) -> TaskId {
        let pid = task.record.pid;
        let id = match self.free.pop() {
            Some(id) => {
                self.slots[id.0 as usize] = Some(task);
                id
            }
            None => {
                self.slots.push(Some(task));
                TaskId(u32::try_from(self.slots.len() - 1).expect("at most MAX_TASKS slots"))
            }
        };
        self.by_pid.insert(pid, id);
        self.link(pid, id);
        id
    }

    /// Takes a task out for good: its pid is free unless a group or session goes by it.
    pub fn remove(&mut self, id: TaskId) -> Box<Task> {
        let task = self.slots[id.0 as usize]
            .take()
            .expect("a removed task was there");
        let pid = task.record.pid;
        self.by_pid.remove(&pid);
        self.unlink(pid, task.record.next);
        self.pids.release(pid, Role::Task);
        self.free.push(id);
        task
    }

    /// By pid (tid).
    pub fn by_pid(&self, pid: u32) -> Option<TaskId> {
        self.by_pid.get(&pid).copied()
    }

    /// By slot; `None` if no task is there any more.
    pub fn get(&self, id: TaskId) -> Option<&Task> {
        self.slots.get(id.0 as usize)?.as_deref()
    }

    /// By slot; `None` if no task is there any more.
    pub fn get_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        self.slots.get_mut(id.0 as usize)?.as_deref_mut()
    }

    /// All tasks in pid order, zombies included.
    pub fn iter(&self) -> impl Iterator<Item = (TaskId, &Task)> {
        self.by_pid.values().map(|id| (*id, &self[*id]))
    }

    /// Tasks that have a pid, zombies included.
    pub fn len(&self) -> usize {
        self.by_pid.len()
    }

    /// There is no task at all.
    pub fn is_empty(&self) -> bool {
        self.by_pid.is_empty()
    }

    /// Gives the task another pid (a thread that execs becomes its process's leader).
    pub fn rename(&mut self, id: TaskId, pid: u32) {
        let old = self[id].record.pid;
        self.by_pid.remove(&old);
        self.unlink(old, self[id].record.next);
        self.pids.release(old, Role::Task);
        self[id].record.pid = pid;
        self.pids.hold(pid, Role::Task);
        self.by_pid.insert(pid, id);
        self.link(pid, id);
    }

    /// Address of the record with the lowest pid, for [`KernelInfo`](forkvm_abi::inspect::KernelInfo); 0: none.
    pub fn first_record(&self) -> u64 {
        self.by_pid
            .first_key_value()
            .map_or(0, |(_, id)| self.address(*id))
    }

    fn address(&self, id: TaskId) -> u64 {
        core::ptr::from_ref(&self[id].record).addr() as u64
    }

    /// Puts the record between its neighbours in pid order.
    fn link(&mut self, pid: u32, id: TaskId) {
        let own = self.address(id);
        match self.before(pid) {
            Some(previous) => {
                self[id].record.next = core::mem::replace(&mut self[previous].record.next, own)
            }
            None => {
                let next = self.by_pid.range(pid + 1..).next().map(|(_, id)| *id);
                self[id].record.next = next.map_or(0, |next| self.address(next));
            }
        }
    }

    /// Takes the record of `pid`, which led to `next`, out of the list.
    fn unlink(&mut self, pid: u32, next: u64) {
        if let Some(previous) = self.before(pid) {
            self[previous].record.next = next;
        }
    }

    fn before(&self, pid: u32) -> Option<TaskId> {
        self.by_pid.range(..pid).next_back().map(|(_, id)| *id)
    }
}

impl core::ops::Index<TaskId> for TaskTable {
    type Output = Task;

    fn index(&self, id: TaskId) -> &Task {
        self.get(id).expect("the task is still there")
    }
}

impl core::ops::IndexMut<TaskId> for TaskTable {
    fn index_mut(&mut self, id: TaskId) -> &mut Task {
        self.get_mut(id).expect("the task is still there")
    }
}
