//! The record of a process or thread, and the table of them.

use crate::arena::Id;
use crate::fs::{FdTable, FsContext};
use crate::memory::AddressSpace;
use crate::process::signal::SignalHandlers;
use forkvm_abi::inspect::ProcessRecord;

/// A slot of the task table: the kernel's own, constant-time name of a task. Pids are the user's.
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
    /// The awaited thing has happened (a vfork child has let go).
    Done(u64),
}

/// What only threads of one process share: Linux's signal_struct.
#[derive(Debug)]
pub struct ThreadGroup {}

/// A process or thread: Linux's task_struct. Everything a task is, is here, in its address space and its files.
#[repr(C)]
#[derive(Debug)]
pub struct Task {
    /// What the VMM reads: pids, state, registers. First, so that its address is the task's.
    pub record: ProcessRecord,
    /// Extended register state, when it is not in the CPU.
    pub fpu: crate::arch::FpuState,
    /// Address space; `None` once exited, and for pid 1.
    pub space: Option<Id<AddressSpace>>,
    /// Descriptors; `None` once exited, and for pid 1.
    pub files: Option<Id<FdTable>>,
    /// Current directory and umask; `None` once exited, and for pid 1.
    pub context: Option<Id<FsContext>>,
    /// Signal dispositions.
    pub handlers: Option<Id<SignalHandlers>>,
    /// Thread group.
    pub group: Id<ThreadGroup>,
    /// State of the system call that is parked.
    pub progress: Progress,
    /// A parked system call is to be run again instead of entering ring 3.
    pub retry: bool,
    /// set_tid_address / CLONE_CHILD_CLEARTID.
    pub clear_child_tid: u64,
}

/// All tasks, by slot and by pid.
#[derive(Debug, Default)]
pub struct TaskTable {}

impl core::ops::Index<TaskId> for TaskTable {
    type Output = Task;

    fn index(&self, id: TaskId) -> &Task {
        let _ = id;
        todo!()
    }
}

impl core::ops::IndexMut<TaskId> for TaskTable {
    fn index_mut(&mut self, id: TaskId) -> &mut Task {
        let _ = id;
        todo!()
    }
}

impl TaskTable {
    /// By pid (tid).
    pub fn by_pid(&self, pid: u32) -> Option<TaskId> {
        let _ = pid;
        todo!()
    }
}
