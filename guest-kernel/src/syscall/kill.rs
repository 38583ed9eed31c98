//! Sending signals: kill, tkill, tgkill, and those that carry a value.

use super::signal::signal_number;
use super::{Args, Completion, SyscallResult};
use crate::arena::Id;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::signal::{SignalInfo, UserSignalInfo};
use crate::process::task::TaskId;
use crate::process::thread_group::ThreadGroup;
use alloc::vec::Vec;
use linux_raw_sys::general as uapi;

const DONE: SyscallResult = Ok(Completion::Value(0));

/// kill(2): one process, a group, or everybody. Signal 0 only asks whether that would be allowed.
pub fn sys_kill(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let signal = optional_signal(args.int(1));
    let own = &kernel.tasks[task].record;
    let (pid, tgid, pgid) = (args.int(0), own.tgid, own.pgid);
    if pid > 0 {
        let target = kernel
            .tasks
            .by_pid(pid.unsigned_abs())
            .ok_or(Errno::ESRCH)?;
        // Linux looks for the process before it looks at the signal.
        let signal = signal?;
        check_permission(kernel, task, target)?;
        send(kernel, task, kernel.tasks[target].group, None, signal);
        return DONE;
    }
    let targets: Vec<Id<ThreadGroup>> = match pid {
        -1 => kernel
            .groups
            .iter()
            .filter(|(_, group)| group.tgid > 1 && group.tgid != tgid)
            .map(|(id, _)| id)
            .collect(),
        _ => {
            let pgid = if pid == 0 { pgid } else { pid.unsigned_abs() };
            kernel
                .process_group_by_id(pgid)
                .map(|group| kernel.members(group))
                .unwrap_or_default()
        }
    };
    if targets.is_empty() {
        return Err(Errno::ESRCH);
    }
    let signal = signal?;
    let mut result = Err(Errno::EPERM);
    for target in targets {
        if check_permission(kernel, task, kernel.groups[target].leader).is_ok() {
            send(kernel, task, target, None, signal);
            result = DONE;
        }
    }
    result
}

/// tkill(2).
pub fn sys_tkill(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    signal_thread(kernel, task, None, args.int(0), args.int(1))
}

/// tgkill(2).
pub fn sys_tgkill(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    if args.int(0) <= 0 {
        return Err(Errno::EINVAL);
    }
    signal_thread(kernel, task, Some(args.uint(0)), args.int(1), args.int(2))
}

fn signal_thread(
    kernel: &mut Kernel,
    task: TaskId,
    tgid: Option<u32>,
    pid: i32,
    signal: i32,
) -> SyscallResult {
    if pid <= 0 {
        return Err(Errno::EINVAL);
    }
    let target = kernel
        .tasks
        .by_pid(pid.unsigned_abs())
        .ok_or(Errno::ESRCH)?;
    if tgid.is_some_and(|tgid| kernel.tasks[target].record.tgid != tgid) {
        return Err(Errno::ESRCH);
    }
    let signal = optional_signal(signal)?;
    check_permission(kernel, task, target)?;
    send(
        kernel,
        task,
        kernel.tasks[target].group,
        Some(target),
        signal,
    );
    DONE
}

/// rt_sigqueueinfo(2): tgid, signal, info.
pub fn sys_rt_sigqueueinfo(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    queue(kernel, task, (None, args.int(0)), args.int(1), args.0[2])
}

/// rt_tgsigqueueinfo(2): tgid, tid, signal, info.
pub fn sys_rt_tgsigqueueinfo(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    if args.int(0) <= 0 || args.int(1) <= 0 {
        return Err(Errno::EINVAL);
    }
    queue(
        kernel,
        task,
        (Some(args.uint(0)), args.int(1)),
        args.int(2),
        args.0[3],
    )
}

fn queue(
    kernel: &mut Kernel,
    task: TaskId,
    (tgid, pid): (Option<u32>, i32),
    signal: i32,
    info: u64,
) -> SyscallResult {
    let info: UserSignalInfo = kernel.user(task).read(info)?;
    // Only the kernel and kill(2) may speak as the kernel or as kill(2).
    let own = kernel.tasks[task].record.tgid;
    if (info.code >= 0 || info.code == uapi::SI_TKILL) && pid.unsigned_abs() != own {
        return Err(Errno::EPERM);
    }
    let target = u32::try_from(pid)
        .ok()
        .and_then(|pid| kernel.tasks.by_pid(pid))
        .ok_or(Errno::ESRCH)?;
    if tgid.is_some_and(|tgid| kernel.tasks[target].record.tgid != tgid) {
        return Err(Errno::ESRCH);
    }
    let Some(signal) = optional_signal(signal)? else {
        return DONE;
    };
    check_permission(kernel, task, target)?;
    let thread = tgid.map(|_| target);
    kernel.queue_signal(
        kernel.tasks[target].group,
        thread,
        SignalInfo::from_user(signal, &info),
    )?;
    DONE
}

/// A signal number, or 0 for none; EINVAL.
fn optional_signal(number: i32) -> Result<Option<u32>, Errno> {
    if number == 0 {
        Ok(None)
    } else {
        signal_number(number).map(Some)
    }
}

/// EPERM if the target belongs to somebody else.
fn check_permission(kernel: &Kernel, task: TaskId, target: TaskId) -> Result<(), Errno> {
    let same_process = kernel.tasks[task].group == kernel.tasks[target].group;
    if same_process
        || kernel.tasks[task]
            .credentials
            .may_signal(&kernel.tasks[target].credentials)
    {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

fn send(
    kernel: &mut Kernel,
    sender: TaskId,
    group: Id<ThreadGroup>,
    thread: Option<TaskId>,
    signal: Option<u32>,
) {
    let Some(signal) = signal else { return };
    let mut info = SignalInfo::from_process(signal, kernel.tasks[sender].record.tgid);
    if let Some(thread) = thread {
        info.code = uapi::SI_TKILL;
        kernel.signal_task(thread, info);
    } else {
        kernel.signal_thread_group(group, info);
    }
}
