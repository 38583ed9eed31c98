//! Resources used: getrusage(2), times(2) and wait4(2) read them.

use crate::arena::Id;
use crate::kernel::Kernel;
use crate::process::task::{Task, TaskId};
use crate::process::thread_group::ThreadGroup;
use crate::time::Clock;
use forkvm_abi::PAGE_SIZE;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Sums over tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// TSC ticks in ring 3.
    pub user_ticks: u64,
    /// TSC ticks in the kernel.
    pub kernel_ticks: u64,
    /// Page faults resolved without input (all of them, here).
    pub minor_faults: u64,
    /// Most pages resident at once; a maximum, not a sum.
    pub peak_pages: u64,
}

impl Usage {
    /// Of one task, its memory not looked at.
    fn of(task: &Task) -> Self {
        Self {
            user_ticks: task.record.user_ticks,
            kernel_ticks: task.record.kernel_ticks,
            minor_faults: task.minor_faults,
            peak_pages: 0,
        }
    }

    /// Adds another's.
    pub fn add(&mut self, other: Self) {
        self.user_ticks += other.user_ticks;
        self.kernel_ticks += other.kernel_ticks;
        self.minor_faults += other.minor_faults;
        self.peak_pages = self.peak_pages.max(other.peak_pages);
    }

    /// As programs get it.
    pub fn to_rusage(self, clock: &Clock) -> Rusage {
        Rusage {
            user_time: TimeValue::from_nanoseconds(clock.nanoseconds(self.user_ticks)),
            system_time: TimeValue::from_nanoseconds(clock.nanoseconds(self.kernel_ticks)),
            max_resident_kib: self.peak_pages * (PAGE_SIZE / 1024),
            minor_faults: self.minor_faults,
            ..Rusage::default()
        }
    }
}

/// `struct timeval`.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct TimeValue {
    /// Seconds.
    pub seconds: u64,
    /// Microseconds, below 1,000,000.
    pub microseconds: u64,
}

impl TimeValue {
    /// Rounds down to microseconds.
    pub const fn from_nanoseconds(ns: u64) -> Self {
        Self {
            seconds: ns / 1_000_000_000,
            microseconds: ns % 1_000_000_000 / 1000,
        }
    }
}

/// `struct rusage` (getrusage(2)).
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Rusage {
    /// ru_utime.
    pub user_time: TimeValue,
    /// ru_stime.
    pub system_time: TimeValue,
    /// ru_maxrss, in KiB.
    pub max_resident_kib: u64,
    /// ru_ixrss, ru_idrss, ru_isrss: always 0, as on Linux.
    pub integral_sizes: [u64; 3],
    /// ru_minflt.
    pub minor_faults: u64,
    /// ru_majflt.
    pub major_faults: u64,
    /// ru_nswap, ru_inblock, ru_oublock, ru_msgsnd, ru_msgrcv, ru_nsignals, ru_nvcsw, ru_nivcsw.
    pub rest: [u64; 8],
}

const _: () = assert!(size_of::<Rusage>() == 144);

impl Kernel {
    /// What all threads of a process have used, ended ones included; reaped children not.
    pub fn usage_of(&self, group: Id<ThreadGroup>) -> Usage {
        let process = &self.groups[group];
        let mut usage = process.usage;
        for task in self.living_threads(group) {
            usage.add(self.usage_of_task(task));
        }
        usage
    }

    /// TSC ticks of a task's reaped descendants, in ring 3 and in the kernel (times(2)).
    pub fn children_ticks(&self, task: TaskId) -> (u64, u64) {
        let usage = self.group(task).children_usage;
        (usage.user_ticks, usage.kernel_ticks)
    }

    /// What one living thread has used.
    pub fn usage_of_task(&self, task: TaskId) -> Usage {
        let task = &self.tasks[task];
        let peak_pages = task
            .space
            .map_or(0, |space| self.spaces[space].usage().resident);
        Usage {
            peak_pages,
            ..Usage::of(task)
        }
    }
}
