//! What a process may use, what it has used, and how it is scheduled.

use super::time::TimePair;
use super::{Args, Completion, SyscallResult};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::limits::Limit;
use crate::process::task::TaskId;
use alloc::vec::Vec;
use linux_raw_sys::general as uapi;

const DONE: SyscallResult = Ok(Completion::Value(0));
/// Bytes of the kernel's CPU mask: one CPU, one word.
const CPU_MASK_BYTES: u32 = 8;
/// What sched_rr_get_interval(2) tells: the run loop's slice.
const SLICE_NS: u64 = 4_000_000;
/// Static priorities of real-time policies.
const REAL_TIME_PRIORITIES: core::ops::RangeInclusive<i32> = 1..=99;

/// prlimit64(2): pid, resource, new, old.
pub fn sys_prlimit64(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let target = kernel.task_by_argument(task, args.int(0))?;
    let new = if args.0[2] == 0 {
        None
    } else {
        Some(kernel.user(task).read::<Limit>(args.0[2])?)
    };
    let old = kernel.exchange_limit(target, args.uint(1), new)?;
    if args.0[3] != 0 {
        kernel.user(task).write(args.0[3], &old)?;
    }
    DONE
}

/// getrlimit(2).
pub fn sys_getrlimit(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let old = kernel.exchange_limit(task, args.uint(0), None)?;
    kernel.user(task).write(args.0[1], &old)?;
    DONE
}

/// setrlimit(2).
pub fn sys_setrlimit(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let new: Limit = kernel.user(task).read(args.0[1])?;
    kernel.exchange_limit(task, args.uint(0), Some(new))?;
    DONE
}

/// getrusage(2).
pub fn sys_getrusage(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let usage = match args.int(0) {
        0 => kernel.usage_of(kernel.tasks[task].group),
        uapi::RUSAGE_CHILDREN => kernel.group(task).children_usage,
        1 => kernel.usage_of_task(task),
        _ => return Err(Errno::EINVAL),
    };
    let usage = usage.to_rusage(&kernel.clock);
    kernel.user(task).write(args.0[1], &usage)?;
    DONE
}

/// The tasks that getpriority(2) and setpriority(2) mean; ESRCH if there is none.
fn prioritised(kernel: &Kernel, task: TaskId, args: &Args) -> Result<Vec<TaskId>, Errno> {
    let who = args.uint(1);
    let own = &kernel.tasks[task];
    let tasks: Vec<TaskId> = match args.uint(0) {
        uapi::PRIO_PROCESS if who == 0 => [task].into(),
        uapi::PRIO_PROCESS => kernel.tasks.by_pid(who).into_iter().collect(),
        uapi::PRIO_PGRP => {
            let pgid = if who == 0 { own.record.pgid } else { who };
            kernel
                .tasks
                .iter()
                .filter(|(_, other)| other.record.pgid == pgid)
                .map(|(id, _)| id)
                .collect()
        }
        uapi::PRIO_USER => {
            let uid = if who == 0 {
                own.credentials.user.real
            } else {
                who
            };
            kernel
                .tasks
                .iter()
                .filter(|(_, other)| other.credentials.user.real == uid)
                .map(|(id, _)| id)
                .collect()
        }
        _ => return Err(Errno::EINVAL),
    };
    if tasks.is_empty() {
        Err(Errno::ESRCH)
    } else {
        Ok(tasks)
    }
}

/// getpriority(2): 20 minus the nice value, so that no success looks like an error.
pub fn sys_getpriority(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let tasks = prioritised(kernel, task, args)?;
    let best = tasks
        .into_iter()
        .map(|task| 20 - kernel.tasks[task].nice)
        .max()
        .unwrap_or(0);
    Ok(Completion::Value(u64::from(best.unsigned_abs())))
}

/// setpriority(2). The value is kept and inherited; the scheduler takes turns regardless.
pub fn sys_setpriority(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let nice = args.int(2).clamp(uapi::PRIO_MIN, 19);
    let privileged = kernel.tasks[task].credentials.is_privileged();
    for target in prioritised(kernel, task, args)? {
        if !privileged && nice < kernel.tasks[target].nice {
            return Err(Errno::EACCES);
        }
        kernel.tasks[target].nice = nice;
    }
    DONE
}

/// sched_yield(2).
pub fn sys_sched_yield(kernel: &mut Kernel, _: TaskId, _: &Args) -> SyscallResult {
    kernel.scheduler.request_yield();
    DONE
}

/// sched_getaffinity(2): CPU 0.
pub fn sys_sched_getaffinity(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let bytes = args.uint(1);
    if bytes < CPU_MASK_BYTES || !bytes.is_multiple_of(CPU_MASK_BYTES) {
        return Err(Errno::EINVAL);
    }
    kernel.task_by_argument(task, args.int(0))?;
    kernel.user(task).write(args.0[2], &1u64)?;
    Ok(Completion::Value(u64::from(CPU_MASK_BYTES)))
}

/// sched_setaffinity(2): any mask that has CPU 0.
pub fn sys_sched_setaffinity(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    kernel.task_by_argument(task, args.int(0))?;
    let first: u8 = if args.uint(1) == 0 {
        0
    } else {
        kernel.user(task).read(args.0[2])?
    };
    if first & 1 == 0 {
        Err(Errno::EINVAL)
    } else {
        DONE
    }
}

/// sched_getscheduler(2): everybody is SCHED_OTHER.
pub fn sys_sched_getscheduler(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    scheduled(kernel, task, args)?;
    Ok(Completion::Value(u64::from(uapi::SCHED_NORMAL)))
}

/// sched_getparam(2): priority 0.
pub fn sys_sched_getparam(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    scheduled(kernel, task, args)?;
    kernel.user(task).write(args.0[1], &0i32)?;
    DONE
}

/// sched_setparam(2): the one priority SCHED_OTHER has.
pub fn sys_sched_setparam(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    scheduled(kernel, task, args)?;
    let priority: i32 = kernel.user(task).read(args.0[1])?;
    if priority == 0 {
        DONE
    } else {
        Err(Errno::EINVAL)
    }
}

/// sched_setscheduler(2): policies without real-time guarantees; those need a permission that nobody has.
pub fn sys_sched_setscheduler(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    scheduled(kernel, task, args)?;
    let priority: i32 = kernel.user(task).read(args.0[2])?;
    match args.uint(1) & !uapi::SCHED_RESET_ON_FORK {
        uapi::SCHED_NORMAL | uapi::SCHED_BATCH | uapi::SCHED_IDLE if priority == 0 => DONE,
        uapi::SCHED_FIFO | uapi::SCHED_RR if REAL_TIME_PRIORITIES.contains(&priority) => {
            Err(Errno::EPERM)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// sched_get_priority_max(2).
pub fn sys_sched_get_priority_max(_: &mut Kernel, _: TaskId, args: &Args) -> SyscallResult {
    priority_bound(args.uint(0), *REAL_TIME_PRIORITIES.end())
}

/// sched_get_priority_min(2).
pub fn sys_sched_get_priority_min(_: &mut Kernel, _: TaskId, args: &Args) -> SyscallResult {
    priority_bound(args.uint(0), *REAL_TIME_PRIORITIES.start())
}

fn priority_bound(policy: u32, real_time: i32) -> SyscallResult {
    match policy {
        uapi::SCHED_FIFO | uapi::SCHED_RR => {
            Ok(Completion::Value(u64::from(real_time.unsigned_abs())))
        }
        uapi::SCHED_NORMAL | uapi::SCHED_BATCH | uapi::SCHED_IDLE | uapi::SCHED_DEADLINE => DONE,
        _ => Err(Errno::EINVAL),
    }
}

/// sched_rr_get_interval(2).
pub fn sys_sched_rr_get_interval(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    scheduled(kernel, task, args)?;
    kernel
        .user(task)
        .write(args.0[1], &TimePair::timespec(SLICE_NS))?;
    DONE
}

/// The pid argument of the sched_ calls: EINVAL if negative, ESRCH if nobody has it.
fn scheduled(kernel: &Kernel, task: TaskId, args: &Args) -> Result<TaskId, Errno> {
    if args.int(0) < 0 {
        Err(Errno::EINVAL)
    } else {
        kernel.task_by_argument(task, args.int(0))
    }
}
