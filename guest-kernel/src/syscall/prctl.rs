//! prctl(2), and the small per-thread settings around it.

use super::{Args, Completion, SyscallResult};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::task::TaskId;
use linux_raw_sys::{general as uapi, prctl};
use zerocopy::{FromBytes, Immutable, IntoBytes};

const DONE: SyscallResult = Ok(Completion::Value(0));
/// Signals that PR_SET_PDEATHSIG takes.
const SIGNAL_MAX: u64 = 64;
/// Highest capability (CAP_CHECKPOINT_RESTORE).
const LAST_CAPABILITY: u64 = 40;
/// What PR_GET_TIMERSLACK answers: Linux's default, in nanoseconds.
const TIMER_SLACK_NS: u64 = 50_000;
/// Bytes of the only robust list head there is.
const ROBUST_LIST_BYTES: u64 = 24;

/// prctl(2).
pub fn sys_prctl(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let [_, argument, two, three, four, _] = args.0;
    let rest_is_zero = two == 0 && three == 0 && four == 0;
    let number = |value: u64| Ok(Completion::Value(value));
    match args.uint(0) {
        prctl::PR_SET_NAME => set_name(kernel, task, argument),
        prctl::PR_GET_NAME => {
            let name = kernel.tasks[task].record.comm;
            kernel.user(task).write(argument, &name)?;
            DONE
        }
        prctl::PR_SET_PDEATHSIG if argument <= SIGNAL_MAX => {
            kernel.tasks[task].parent_death_signal = args.uint(1);
            DONE
        }
        prctl::PR_GET_PDEATHSIG => {
            let signal = kernel.tasks[task].parent_death_signal;
            kernel.user(task).write(argument, &signal)?;
            DONE
        }
        prctl::PR_SET_CHILD_SUBREAPER => {
            kernel.group_mut(task).is_subreaper = argument != 0;
            DONE
        }
        prctl::PR_GET_CHILD_SUBREAPER => {
            let is_subreaper = u32::from(kernel.group(task).is_subreaper);
            kernel.user(task).write(argument, &is_subreaper)?;
            DONE
        }
        prctl::PR_SET_DUMPABLE if argument <= 1 => {
            kernel.group_mut(task).dumpable = args.uint(1);
            DONE
        }
        prctl::PR_GET_DUMPABLE => number(u64::from(kernel.group(task).dumpable)),
        prctl::PR_SET_NO_NEW_PRIVS if argument == 1 && rest_is_zero => {
            kernel.tasks[task].no_new_privileges = true;
            DONE
        }
        prctl::PR_GET_NO_NEW_PRIVS if argument == 0 && rest_is_zero => {
            number(u64::from(kernel.tasks[task].no_new_privileges))
        }
        prctl::PR_GET_TIMERSLACK => number(TIMER_SLACK_NS),
        prctl::PR_CAPBSET_READ if argument <= LAST_CAPABILITY => number(1),
        // Kept nowhere: nothing in this kernel depends on them.
        prctl::PR_SET_TIMERSLACK
        | prctl::PR_SET_KEEPCAPS
        | prctl::PR_GET_KEEPCAPS
        | prctl::PR_GET_SECCOMP => DONE,
        prctl::PR_SET_THP_DISABLE | prctl::PR_GET_THP_DISABLE | prctl::PR_GET_SECUREBITS => DONE,
        _ => Err(Errno::EINVAL),
    }
}

/// PR_SET_NAME: at most 15 bytes count; the string need not end within them.
fn set_name(kernel: &mut Kernel, task: TaskId, address: u64) -> SyscallResult {
    let mut name = [0; 15];
    let mut len = 0;
    while len < name.len() {
        let byte: u8 = kernel.user(task).read(address.wrapping_add(len as u64))?;
        if byte == 0 {
            break;
        }
        name[len] = byte;
        len += 1;
    }
    kernel.tasks[task].set_name(&name[..len]);
    DONE
}

/// set_tid_address(2).
pub fn sys_set_tid_address(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let caller = &mut kernel.tasks[task];
    caller.clear_child_tid = args.0[0];
    Ok(Completion::Value(u64::from(caller.record.pid)))
}

/// set_robust_list(2).
pub fn sys_set_robust_list(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    if args.0[1] != ROBUST_LIST_BYTES {
        return Err(Errno::EINVAL);
    }
    kernel.tasks[task].robust_list = [args.0[0], args.0[1]];
    DONE
}

/// get_robust_list(2): pid, head, length.
pub fn sys_get_robust_list(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let target = kernel.task_by_argument(task, args.int(0))?;
    let head = kernel.tasks[target].robust_list[0];
    kernel.user(task).write(args.0[2], &ROBUST_LIST_BYTES)?;
    kernel.user(task).write(args.0[1], &head)?;
    DONE
}

/// personality(2): the flags are kept and told; there is one personality.
pub fn sys_personality(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let caller = &mut kernel.tasks[task];
    let old = caller.personality;
    if args.uint(0) != u32::MAX {
        caller.personality = args.uint(0);
    }
    Ok(Completion::Value(u64::from(old)))
}

/// getcpu(2): CPU 0 of node 0.
pub fn sys_getcpu(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    for address in &args.0[..2] {
        if *address != 0 {
            kernel.user(task).write(*address, &0u32)?;
        }
    }
    DONE
}

/// `struct __user_cap_data_struct`.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
struct CapabilityWord {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// capget(2): root has all capabilities, everybody else none.
pub fn sys_capget(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let words = capability_words(kernel, task, args)?;
    let pid: i32 = kernel.user(task).read(args.0[0].wrapping_add(4))?;
    let target = kernel.task_by_argument(task, pid)?;
    if args.0[1] == 0 {
        return DONE;
    }
    let all = if kernel.tasks[target].credentials.is_privileged() {
        (1u64 << (LAST_CAPABILITY + 1)) - 1
    } else {
        0
    };
    for (index, half) in [(0, 0), (1, 32)].into_iter().take(words) {
        let bits = u32::try_from(all >> half & u64::from(u32::MAX)).unwrap_or_default();
        let word = CapabilityWord {
            effective: bits,
            permitted: bits,
            inheritable: 0,
        };
        kernel.user(task).write(
            args.0[1].wrapping_add(index * size_of::<CapabilityWord>() as u64),
            &word,
        )?;
    }
    DONE
}

/// capset(2): giving capabilities up is accepted and has no effect.
pub fn sys_capset(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    capability_words(kernel, task, args)?;
    if kernel.tasks[task].credentials.is_privileged() {
        DONE
    } else {
        Err(Errno::EPERM)
    }
}

/// How many words this version of the header goes with; an unknown one is answered with the newest.
fn capability_words(kernel: &mut Kernel, task: TaskId, args: &Args) -> Result<usize, Errno> {
    match kernel.user(task).read(args.0[0])? {
        uapi::_LINUX_CAPABILITY_VERSION_1 => Ok(1),
        uapi::_LINUX_CAPABILITY_VERSION_2 | uapi::_LINUX_CAPABILITY_VERSION_3 => Ok(2),
        _ => {
            kernel
                .user(task)
                .write(args.0[0], &uapi::_LINUX_CAPABILITY_VERSION_3)?;
            Err(Errno::EINVAL)
        }
    }
}
