//! Signals: dispositions, masks, sending, waiting, coming back from a handler.

use super::{Args, Completion, SyscallResult, WaitChannel};
use crate::arena::Id;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::exit::killed_by;
use crate::process::signal::set::{SIGNALS, UNBLOCKABLE, only};
use crate::process::signal::{Action, AlternateStack, SignalInfo, SignalSet, UserSignalInfo};
use crate::process::task::{Progress, TaskId};
use crate::process::thread_group::ThreadGroup;
use crate::syscall::time::TimePair;
use alloc::vec::Vec;
use linux_raw_sys::general as uapi;

const DONE: SyscallResult = Ok(Completion::Value(0));
/// Bytes of a sigset_t as the kernel knows it.
const SET_BYTES: u64 = 8;
/// sa_flags that Linux keeps on x86-64 (UAPI_SA_FLAGS).
const KEPT_FLAGS: u64 = (uapi::SA_NOCLDSTOP
    | uapi::SA_NOCLDWAIT
    | uapi::SA_SIGINFO
    | uapi::SA_ONSTACK
    | uapi::SA_RESTART
    | uapi::SA_NODEFER
    | uapi::SA_RESETHAND
    | uapi::SA_EXPOSE_TAGBITS
    | uapi::SA_RESTORER) as u64;

fn check_set_bytes(bytes: u64) -> Result<(), Errno> {
    if bytes == SET_BYTES {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

/// A signal number, 1 to 64; EINVAL.
fn signal_number(number: i32) -> Result<u32, Errno> {
    u32::try_from(number)
        .ok()
        .filter(|signal| (1..=SIGNALS).contains(signal))
        .ok_or(Errno::EINVAL)
}

/// rt_sigaction(2): signal, new, old, size of a set.
pub fn sys_rt_sigaction(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    check_set_bytes(args.0[3])?;
    let new: Option<Action> = if args.0[1] == 0 {
        None
    } else {
        Some(kernel.user(task).read(args.0[1])?)
    };
    let signal = signal_number(args.int(0))?;
    if new.is_some() && only(signal) & UNBLOCKABLE != 0 {
        return Err(Errno::EINVAL);
    }
    let handlers = kernel.tasks[task].handlers.ok_or(Errno::EINVAL)?;
    let old = kernel.handlers[handlers].get(signal);
    if let Some(new) = new {
        let action = Action {
            flags: new.flags & KEPT_FLAGS,
            mask: new.mask & !UNBLOCKABLE,
            ..new
        };
        kernel.handlers[handlers].set(signal, action);
        if kernel.handlers[handlers].ignores(signal) {
            let group = kernel.tasks[task].group;
            kernel.discard_signals(group, only(signal));
        }
    }
    if args.0[2] != 0 {
        kernel.user(task).write(args.0[2], &old)?;
    }
    DONE
}

/// rt_sigprocmask(2): how, new, old, size of a set.
pub fn sys_rt_sigprocmask(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    check_set_bytes(args.0[3])?;
    let old = kernel.tasks[task].signals.mask;
    if args.0[1] != 0 {
        let new: SignalSet = kernel.user(task).read(args.0[1])?;
        let mask = match args.uint(0) {
            uapi::SIG_BLOCK => old | new,
            uapi::SIG_UNBLOCK => old & !new,
            uapi::SIG_SETMASK => new,
            _ => return Err(Errno::EINVAL),
        };
        kernel.set_signal_mask(task, mask);
    }
    if args.0[2] != 0 {
        kernel.user(task).write(args.0[2], &old)?;
    }
    DONE
}

/// rt_sigpending(2): what is pending and blocked.
pub fn sys_rt_sigpending(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    if args.0[1] > SET_BYTES {
        return Err(Errno::EINVAL);
    }
    let signals = &kernel.tasks[task].signals;
    let pending = (signals.pending.set() | kernel.group(task).pending.set()) & signals.mask;
    let len = usize::try_from(args.0[1]).map_err(|_| Errno::EINVAL)?;
    kernel
        .user(task)
        .write_bytes(args.0[0], &pending.to_le_bytes()[..len])?;
    DONE
}

/// pause(2).
pub fn sys_pause(_: &mut Kernel, _: TaskId, _: &Args) -> SyscallResult {
    Ok(Completion::Park {
        channel: WaitChannel::DoSysPause,
        deadline: None,
    })
}

/// rt_sigsuspend(2): waits under another mask, which ends with the handler.
pub fn sys_rt_sigsuspend(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    check_set_bytes(args.0[1])?;
    let mask: SignalSet = kernel.user(task).read(args.0[0])?;
    let old = kernel.tasks[task].signals.mask;
    kernel.tasks[task].signals.saved_mask.get_or_insert(old);
    kernel.set_signal_mask(task, mask);
    Ok(Completion::Park {
        channel: WaitChannel::SigSuspend,
        deadline: None,
    })
}

/// rt_sigtimedwait(2): set, info, timeout, size of a set. The signals waited for are let through while it sleeps,
/// so that their arrival wakes it.
pub fn sys_rt_sigtimedwait(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    check_set_bytes(args.0[3])?;
    let wanted: SignalSet = kernel.user(task).read::<SignalSet>(args.0[0])? & !UNBLOCKABLE;
    let timeout = match args.0[2] {
        0 => None,
        address => Some(
            kernel
                .user(task)
                .read::<TimePair>(address)?
                .to_nanoseconds()?,
        ),
    };
    if let Some(mask) = kernel.tasks[task].signals.saved_mask.take() {
        kernel.tasks[task].signals.mask = mask;
    }
    if let Some(info) = kernel.take_wanted(task, wanted) {
        kernel.set_signal_mask(task, kernel.tasks[task].signals.mask);
        if args.0[1] != 0 {
            kernel.user(task).write(args.0[1], &info.to_user())?;
        }
        return Ok(Completion::Value(u64::from(info.signal)));
    }
    let now = kernel.clock.monotonic();
    let deadline = match (kernel.tasks[task].progress, timeout) {
        (Progress::Deadline(deadline), _) => Some(deadline),
        (_, Some(timeout)) => Some(now.saturating_add(timeout)),
        (_, None) => None,
    };
    if deadline.is_some_and(|deadline| deadline <= now) {
        return Err(Errno::EAGAIN);
    }
    // Another signal, which is not waited for, ends the call.
    if kernel.signal_pending(task) {
        return Err(Errno::EINTR);
    }
    let signals = &mut kernel.tasks[task].signals;
    signals.saved_mask = Some(signals.mask);
    signals.mask &= !wanted;
    if let Some(deadline) = deadline {
        kernel.tasks[task].progress = Progress::Deadline(deadline);
    }
    Ok(Completion::Park {
        channel: WaitChannel::DoSigtimedwait,
        deadline,
    })
}

/// sigaltstack(2).
pub fn sys_sigaltstack(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let rsp = kernel.tasks[task].record.regs.rsp;
    let old = kernel.tasks[task].signals.alternate_stack;
    let on_it = old.flags & uapi::SS_AUTODISARM == 0 && old.contains(rsp);
    if args.0[0] != 0 {
        let new: AlternateStack = kernel.user(task).read(args.0[0])?;
        if on_it {
            return Err(Errno::EPERM);
        }
        kernel.tasks[task].signals.alternate_stack = match new.flags & !uapi::SS_FLAG_BITS {
            uapi::SS_DISABLE => AlternateStack {
                flags: new.flags,
                ..AlternateStack::default()
            },
            0 | uapi::SS_ONSTACK if new.size < u64::from(uapi::MINSIGSTKSZ) => {
                return Err(Errno::ENOMEM);
            }
            // SS_ONSTACK is for reading only; Linux lets it pass.
            0 | uapi::SS_ONSTACK => AlternateStack {
                flags: new.flags & uapi::SS_FLAG_BITS,
                padding: 0,
                ..new
            },
            _ => return Err(Errno::EINVAL),
        };
    }
    if args.0[1] != 0 {
        let flags = old.flags | if on_it { uapi::SS_ONSTACK } else { 0 };
        kernel
            .user(task)
            .write(args.0[1], &AlternateStack { flags, ..old })?;
    }
    DONE
}

/// rt_sigreturn(2).
pub fn sys_rt_sigreturn(kernel: &mut Kernel, task: TaskId, _: &Args) -> SyscallResult {
    if kernel.pop_signal_frame(task).is_err() {
        kernel.exit_process(task, killed_by(uapi::SIGSEGV));
    }
    Ok(Completion::Registers)
}

/// kill(2): one process, a group, or everybody. Signal 0 only asks whether that would be allowed.
pub fn sys_kill(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let signal = optional_signal(args.int(1))?;
    let own = &kernel.tasks[task].record;
    let (pid, tgid, pgid) = (args.int(0), own.tgid, own.pgid);
    if pid > 0 {
        let target = kernel
            .tasks
            .by_pid(pid.unsigned_abs())
            .ok_or(Errno::ESRCH)?;
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
