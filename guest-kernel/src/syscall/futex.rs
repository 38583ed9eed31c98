//! futex(2): decodes the operation and its timeout.

use super::time::TimePair;
use super::{Args, Completion, SyscallResult, WaitChannel};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::futex::{Attempt, WakeOperation};
use crate::process::task::{Progress, TaskId};
use linux_raw_sys::general as uapi;

const DONE: SyscallResult = Ok(Completion::Value(0));
/// A deadline that never comes.
const NEVER: u64 = u64::MAX;

/// futex(2): address, operation, value, timeout or second value, second address, third value.
pub fn sys_futex(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let operation = Operation(args.uint(1));
    let [address, _, _, _, second, _] = args.0;
    let (value, value2, value3) = (args.uint(2), args.uint(3), args.uint(5));
    let key =
        |kernel: &mut Kernel, address| kernel.futex_key(task, address, operation.is_private());
    let count = |woken: u32| Ok(Completion::Value(u64::from(woken)));
    if operation.is_realtime() && !operation.may_be_realtime() {
        return Err(Errno::ENOSYS);
    }
    match operation.command() {
        uapi::FUTEX_WAIT => wait(kernel, task, args, u32::MAX),
        uapi::FUTEX_WAIT_BITSET => wait(kernel, task, args, value3),
        uapi::FUTEX_LOCK_PI | uapi::FUTEX_LOCK_PI2 => lock(kernel, task, args),
        uapi::FUTEX_WAKE => {
            let key = key(kernel, address)?;
            count(kernel.futex_wake(key, value, u32::MAX)?)
        }
        uapi::FUTEX_WAKE_BITSET => {
            let key = if value3 == 0 {
                Err(Errno::EINVAL)
            } else {
                key(kernel, address)
            }?;
            count(kernel.futex_wake(key, value, value3)?)
        }
        uapi::FUTEX_REQUEUE | uapi::FUTEX_CMP_REQUEUE => {
            if value.cast_signed() < 0 || value2.cast_signed() < 0 {
                return Err(Errno::EINVAL);
            }
            let (from, to) = (key(kernel, address)?, key(kernel, second)?);
            let compares = operation.command() == uapi::FUTEX_CMP_REQUEUE;
            if compares && kernel.user(task).read::<u32>(address)? != value3 {
                return Err(Errno::EAGAIN);
            }
            count(kernel.futex_requeue(from, to, value, value2)?)
        }
        uapi::FUTEX_WAKE_OP => {
            let (first, second_key) = (key(kernel, address)?, key(kernel, second)?);
            let also_second = kernel.futex_change(task, second, WakeOperation(value3))?;
            let mut woken = kernel.futex_wake(first, value, u32::MAX)?;
            if also_second {
                woken += kernel.futex_wake(second_key, value2, u32::MAX)?;
            }
            count(woken)
        }
        uapi::FUTEX_TRYLOCK_PI => {
            let key = key(kernel, address)?;
            match kernel.futex_try_lock(task, key, address)? {
                Attempt::Locked => DONE,
                Attempt::OwnedBy(_) => Err(Errno::EAGAIN),
            }
        }
        uapi::FUTEX_UNLOCK_PI => {
            let key = key(kernel, address)?;
            kernel.futex_unlock(task, key, address)?;
            DONE
        }
        _ => Err(Errno::ENOSYS),
    }
}

/// FUTEX_WAIT and FUTEX_WAIT_BITSET: until somebody wakes the caller, at the latest until the deadline.
fn wait(kernel: &mut Kernel, task: TaskId, args: &Args, bitset: u32) -> SyscallResult {
    if kernel.tasks[task].progress == Progress::None {
        let operation = Operation(args.uint(1));
        let deadline = read_deadline(kernel, task, operation, args.0[3])?;
        if bitset == 0 {
            return Err(Errno::EINVAL);
        }
        let key = kernel.futex_key(task, args.0[0], operation.is_private())?;
        kernel.futex_enqueue(task, key, args.0[0], args.uint(2), bitset)?;
        kernel.tasks[task].progress = Progress::Deadline(deadline);
    }
    go_on_waiting(kernel, task, WaitChannel::FutexWait)
}

/// FUTEX_LOCK_PI: takes the lock, or waits for it to be handed over.
fn lock(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    if kernel.tasks[task].progress == Progress::None {
        let operation = Operation(args.uint(1));
        let deadline = read_deadline(kernel, task, operation, args.0[3])?;
        let key = kernel.futex_key(task, args.0[0], operation.is_private())?;
        match kernel.futex_try_lock(task, key, args.0[0])? {
            Attempt::Locked => return DONE,
            Attempt::OwnedBy(owner) => kernel.futex_wait_for_lock(task, key, owner),
        }
        kernel.tasks[task].progress = Progress::Deadline(deadline);
    }
    go_on_waiting(kernel, task, WaitChannel::FutexLock)
}

/// The caller is in the queue, or somebody has just taken it out.
fn go_on_waiting(kernel: &mut Kernel, task: TaskId, channel: WaitChannel) -> SyscallResult {
    let deadline = match kernel.tasks[task].progress {
        Progress::Done(value) => return Ok(Completion::Value(value)),
        Progress::Deadline(deadline) => deadline,
        _ => NEVER,
    };
    if deadline <= kernel.clock.monotonic() {
        kernel.futex_leave(task);
        return Err(Errno::ETIMEDOUT);
    }
    Ok(Completion::Park {
        channel,
        deadline: Some(deadline).filter(|deadline| *deadline != NEVER),
    })
}

/// The timeout as a monotonic deadline: FUTEX_WAIT's is a duration, all others are moments of a clock. EFAULT, EINVAL.
fn read_deadline(
    kernel: &mut Kernel,
    task: TaskId,
    operation: Operation,
    address: u64,
) -> Result<u64, Errno> {
    if address == 0 {
        return Ok(NEVER);
    }
    let time = kernel
        .user(task)
        .read::<TimePair>(address)?
        .to_nanoseconds()?;
    let now = kernel.clock.monotonic();
    Ok(match operation.command() {
        uapi::FUTEX_WAIT => now.saturating_add(time),
        uapi::FUTEX_LOCK_PI => from_realtime(kernel, time),
        _ if operation.is_realtime() => from_realtime(kernel, time),
        _ => time,
    })
}

/// A moment of CLOCK_REALTIME, which is never set here, as one of CLOCK_MONOTONIC.
fn from_realtime(kernel: &Kernel, time: u64) -> u64 {
    kernel
        .clock
        .monotonic()
        .saturating_add(time.saturating_sub(kernel.clock.realtime()))
}

/// futex(2)'s operation with its flags.
#[derive(Clone, Copy)]
struct Operation(u32);

impl Operation {
    fn command(self) -> u32 {
        self.0 & !(uapi::FUTEX_PRIVATE_FLAG | uapi::FUTEX_CLOCK_REALTIME)
    }

    fn is_private(self) -> bool {
        self.0 & uapi::FUTEX_PRIVATE_FLAG != 0
    }

    fn is_realtime(self) -> bool {
        self.0 & uapi::FUTEX_CLOCK_REALTIME != 0
    }

    fn may_be_realtime(self) -> bool {
        matches!(
            self.command(),
            uapi::FUTEX_WAIT_BITSET | uapi::FUTEX_LOCK_PI2
        )
    }
}
