//! Signals: dispositions, masks, waiting, coming back from a handler. `kill` sends.

use super::{Args, Completion, SyscallResult, WaitChannel};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::exit::killed_by;
use crate::process::signal::set::{SIGNALS, UNBLOCKABLE, only};
use crate::process::signal::{Action, AlternateStack, SignalSet};
use crate::process::task::{Progress, TaskId};
use crate::syscall::time::TimePair;
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
pub(super) fn signal_number(number: i32) -> Result<u32, Errno> {
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
