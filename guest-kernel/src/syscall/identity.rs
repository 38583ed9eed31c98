//! Who a task is: pids, groups, sessions, user and group ids.

use super::{Args, Completion, SyscallResult};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::credentials::{Credentials, Ids};
use crate::process::task::TaskId;

fn value(value: u32) -> SyscallResult {
    Ok(Completion::Value(u64::from(value)))
}

const DONE: SyscallResult = Ok(Completion::Value(0));

/// getpid(2).
pub fn sys_getpid(kernel: &mut Kernel, task: TaskId, _: &Args) -> SyscallResult {
    value(kernel.tasks[task].record.tgid)
}

/// gettid(2).
pub fn sys_gettid(kernel: &mut Kernel, task: TaskId, _: &Args) -> SyscallResult {
    value(kernel.tasks[task].record.pid)
}

/// getppid(2).
pub fn sys_getppid(kernel: &mut Kernel, task: TaskId, _: &Args) -> SyscallResult {
    value(kernel.tasks[task].record.ppid)
}

/// getpgrp(2).
pub fn sys_getpgrp(kernel: &mut Kernel, task: TaskId, _: &Args) -> SyscallResult {
    value(kernel.tasks[task].record.pgid)
}

/// getpgid(2).
pub fn sys_getpgid(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let target = kernel.task_by_argument(task, args.int(0))?;
    value(kernel.tasks[target].record.pgid)
}

/// getsid(2).
pub fn sys_getsid(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let target = kernel.task_by_argument(task, args.int(0))?;
    value(kernel.tasks[target].record.sid)
}

/// setpgid(2).
pub fn sys_setpgid(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    kernel.set_process_group(task, args.int(0), args.int(1))?;
    DONE
}

/// setsid(2).
pub fn sys_setsid(kernel: &mut Kernel, task: TaskId, _: &Args) -> SyscallResult {
    value(kernel.new_session_for(task)?)
}

/// getuid(2).
pub fn sys_getuid(kernel: &mut Kernel, task: TaskId, _: &Args) -> SyscallResult {
    value(kernel.tasks[task].credentials.user.real)
}

/// geteuid(2).
pub fn sys_geteuid(kernel: &mut Kernel, task: TaskId, _: &Args) -> SyscallResult {
    value(kernel.tasks[task].credentials.user.effective)
}

/// getgid(2).
pub fn sys_getgid(kernel: &mut Kernel, task: TaskId, _: &Args) -> SyscallResult {
    value(kernel.tasks[task].credentials.group.real)
}

/// getegid(2).
pub fn sys_getegid(kernel: &mut Kernel, task: TaskId, _: &Args) -> SyscallResult {
    value(kernel.tasks[task].credentials.group.effective)
}

/// setuid(2).
pub fn sys_setuid(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    change(kernel, task, |of, privileged| {
        of.user.set(args.uint(0), privileged)
    })
}

/// setgid(2).
pub fn sys_setgid(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    change(kernel, task, |of, privileged| {
        of.group.set(args.uint(0), privileged)
    })
}

/// setreuid(2).
pub fn sys_setreuid(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    change(kernel, task, |of, privileged| {
        of.user
            .set_real_effective(args.uint(0), args.uint(1), privileged)
    })
}

/// setregid(2).
pub fn sys_setregid(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    change(kernel, task, |of, privileged| {
        of.group
            .set_real_effective(args.uint(0), args.uint(1), privileged)
    })
}

/// setresuid(2).
pub fn sys_setresuid(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    change(kernel, task, |of, privileged| {
        of.user
            .set_all(args.uint(0), args.uint(1), args.uint(2), privileged)
    })
}

/// setresgid(2).
pub fn sys_setresgid(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    change(kernel, task, |of, privileged| {
        of.group
            .set_all(args.uint(0), args.uint(1), args.uint(2), privileged)
    })
}

/// setfsuid(2).
pub fn sys_setfsuid(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let credentials = &mut kernel.tasks[task].credentials;
    let privileged = credentials.is_privileged();
    value(credentials.user.set_file_system(args.uint(0), privileged))
}

/// setfsgid(2).
pub fn sys_setfsgid(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let credentials = &mut kernel.tasks[task].credentials;
    let privileged = credentials.is_privileged();
    value(credentials.group.set_file_system(args.uint(0), privileged))
}

/// getresuid(2).
pub fn sys_getresuid(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let ids = kernel.tasks[task].credentials.user;
    write_three(kernel, task, args, ids)
}

/// getresgid(2).
pub fn sys_getresgid(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let ids = kernel.tasks[task].credentials.group;
    write_three(kernel, task, args, ids)
}

/// getgroups(2): nobody has supplementary groups.
pub fn sys_getgroups(_: &mut Kernel, _: TaskId, args: &Args) -> SyscallResult {
    if args.int(0) < 0 {
        Err(Errno::EINVAL)
    } else {
        DONE
    }
}

/// setgroups(2): the empty list is what everybody has.
pub fn sys_setgroups(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    match args.int(0) {
        _ if !kernel.tasks[task].credentials.is_privileged() => Err(Errno::EPERM),
        0..=65536 => DONE,
        _ => Err(Errno::EINVAL),
    }
}

fn change(
    kernel: &mut Kernel,
    task: TaskId,
    set: impl FnOnce(&mut Credentials, bool) -> Result<(), Errno>,
) -> SyscallResult {
    let credentials = &mut kernel.tasks[task].credentials;
    let privileged = credentials.is_privileged();
    set(credentials, privileged)?;
    DONE
}

fn write_three(kernel: &mut Kernel, task: TaskId, args: &Args, ids: Ids) -> SyscallResult {
    for (address, id) in args.0.into_iter().zip([ids.real, ids.effective, ids.saved]) {
        kernel.user(task).write(address, &id)?;
    }
    DONE
}

impl Kernel {
    /// The task a pid argument means, 0 being the caller; ESRCH.
    pub fn task_by_argument(&self, caller: TaskId, pid: i32) -> Result<TaskId, Errno> {
        match u32::try_from(pid) {
            Ok(0) => Ok(caller),
            Ok(pid) => self.tasks.by_pid(pid).ok_or(Errno::ESRCH),
            Err(_) => Err(Errno::ESRCH),
        }
    }
}
