//! Clocks and sleeping.

use super::{Args, Completion, SyscallResult, WaitChannel};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::task::{Progress, TaskId};
use crate::time::NANOS;
use linux_raw_sys::general as raw;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// struct timespec, struct timeval: seconds and a fraction.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
pub struct TimePair {
    /// Seconds.
    pub seconds: i64,
    /// Nanoseconds or microseconds.
    pub fraction: i64,
}

impl TimePair {
    /// As a struct timespec.
    pub fn timespec(nanoseconds: u64) -> Self {
        Self {
            seconds: (nanoseconds / NANOS).cast_signed(),
            fraction: (nanoseconds % NANOS).cast_signed(),
        }
    }

    /// As a struct timeval.
    pub fn timeval(nanoseconds: u64) -> Self {
        Self {
            seconds: (nanoseconds / NANOS).cast_signed(),
            fraction: (nanoseconds % NANOS / 1000).cast_signed(),
        }
    }

    /// A struct timespec in nanoseconds; EINVAL if it is negative or its fraction is a second or more.
    pub fn to_nanoseconds(self) -> Result<u64, Errno> {
        let seconds = u64::try_from(self.seconds).map_err(|_| Errno::EINVAL)?;
        let fraction = u64::try_from(self.fraction)
            .ok()
            .filter(|fraction| *fraction < NANOS)
            .ok_or(Errno::EINVAL)?;
        Ok(seconds.saturating_mul(NANOS).saturating_add(fraction))
    }
}

/// Clock ticks a second, as times(2) and AT_CLKTCK count.
const CLK_TCK: u64 = 100;

impl Kernel {
    /// Reads a clock, in nanoseconds; EINVAL for one that does not exist.
    fn read_clock(&self, task: TaskId, clock: u32) -> Result<u64, Errno> {
        match clock {
            raw::CLOCK_REALTIME | raw::CLOCK_REALTIME_COARSE | raw::CLOCK_TAI => {
                Ok(self.clock.realtime())
            }
            raw::CLOCK_MONOTONIC
            | raw::CLOCK_MONOTONIC_RAW
            | raw::CLOCK_MONOTONIC_COARSE
            | raw::CLOCK_BOOTTIME => Ok(self.clock.monotonic()),
            raw::CLOCK_PROCESS_CPUTIME_ID | raw::CLOCK_THREAD_CPUTIME_ID => {
                let record = &self.tasks[task].record;
                Ok(self
                    .clock
                    .nanoseconds(record.user_ticks + record.kernel_ticks))
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// A sleep was interrupted: stores what is left of it where the caller asked for it.
    pub fn store_remaining_sleep(&mut self, task: TaskId) {
        let Progress::Deadline(deadline) = self.tasks[task].progress else {
            return;
        };
        let regs = self.tasks[task].record.regs;
        let address = match u32::try_from(regs.orig_rax) {
            Ok(raw::__NR_nanosleep) => regs.rsi,
            Ok(raw::__NR_clock_nanosleep) if regs.rsi & u64::from(raw::TIMER_ABSTIME) == 0 => {
                regs.r10
            }
            _ => 0,
        };
        if address != 0 {
            let left = TimePair::timespec(deadline.saturating_sub(self.clock.monotonic()));
            // A bad pointer costs the caller the remaining time, nothing else.
            let _ = self.user(task).write(address, &left);
        }
    }

    /// Sleeps until a monotonic deadline that was fixed when the call began.
    fn sleep_until(&mut self, task: TaskId, deadline: impl FnOnce(&Self) -> u64) -> SyscallResult {
        let deadline = match self.tasks[task].progress {
            Progress::Deadline(deadline) => deadline,
            _ => deadline(self),
        };
        if self.clock.monotonic() >= deadline {
            return Ok(Completion::Value(0));
        }
        self.tasks[task].progress = Progress::Deadline(deadline);
        Ok(Completion::Park {
            channel: WaitChannel::HrtimerNanosleep,
            deadline: Some(deadline),
        })
    }
}

/// clock_gettime(2).
pub fn sys_clock_gettime(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let now = kernel.read_clock(task, args.uint(0))?;
    kernel
        .user(task)
        .write(args.0[1], &TimePair::timespec(now))?;
    Ok(Completion::Value(0))
}

/// clock_getres(2): the TSC counts nanoseconds or finer.
pub fn sys_clock_getres(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    kernel.read_clock(task, args.uint(0))?;
    if args.0[1] != 0 {
        kernel.user(task).write(args.0[1], &TimePair::timespec(1))?;
    }
    Ok(Completion::Value(0))
}

/// clock_settime(2), settimeofday(2): the clock is the host's.
pub fn sys_clock_settime(_: &mut Kernel, _: TaskId, _: &Args) -> SyscallResult {
    Err(Errno::EPERM)
}

/// gettimeofday(2).
pub fn sys_gettimeofday(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let now = kernel.clock.realtime();
    if args.0[0] != 0 {
        kernel
            .user(task)
            .write(args.0[0], &TimePair::timeval(now))?;
    }
    if args.0[1] != 0 {
        kernel.user(task).write(args.0[1], &[0i32; 2])?;
    }
    Ok(Completion::Value(0))
}

/// time(2).
pub fn sys_time(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let seconds = kernel.clock.realtime() / NANOS;
    if args.0[0] != 0 {
        kernel.user(task).write(args.0[0], &seconds)?;
    }
    Ok(Completion::Value(seconds))
}

/// nanosleep(2).
pub fn sys_nanosleep(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let length = kernel
        .user(task)
        .read::<TimePair>(args.0[0])?
        .to_nanoseconds()?;
    kernel.sleep_until(task, |kernel| {
        kernel.clock.monotonic().saturating_add(length)
    })
}

/// clock_nanosleep(2).
pub fn sys_clock_nanosleep(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let clock = args.uint(0);
    if clock == raw::CLOCK_THREAD_CPUTIME_ID {
        return Err(Errno::EOPNOTSUPP);
    }
    let time = kernel
        .user(task)
        .read::<TimePair>(args.0[2])?
        .to_nanoseconds()?;
    let now = kernel.read_clock(task, clock)?;
    let length = if args.uint(1) & raw::TIMER_ABSTIME != 0 {
        time.saturating_sub(now)
    } else {
        time
    };
    kernel.sleep_until(task, |kernel| {
        kernel.clock.monotonic().saturating_add(length)
    })
}

/// struct tms (times(2)).
#[repr(C)]
#[derive(IntoBytes, Immutable)]
struct Tms {
    user: u64,
    system: u64,
    children_user: u64,
    children_system: u64,
}

/// times(2).
pub fn sys_times(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let clock = kernel.clock;
    let ticks = |tsc: u64| clock.nanoseconds(tsc) / (NANOS / CLK_TCK);
    let record = &kernel.tasks[task].record;
    let children = kernel.group(task).children_usage;
    let tms = Tms {
        user: ticks(record.user_ticks),
        system: ticks(record.kernel_ticks),
        children_user: ticks(children.user_ticks),
        children_system: ticks(children.kernel_ticks),
    };
    if args.0[0] != 0 {
        kernel.user(task).write(args.0[0], &tms)?;
    }
    Ok(Completion::Value(
        kernel.clock.monotonic() / (NANOS / CLK_TCK),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timespec_out_of_range_is_einval() {
        for (seconds, fraction) in [(-1, 0), (0, -1), (0, 1_000_000_000)] {
            assert_eq!(
                TimePair { seconds, fraction }.to_nanoseconds(),
                Err(Errno::EINVAL)
            );
        }
        assert_eq!(
            TimePair {
                seconds: 2,
                fraction: 3
            }
            .to_nanoseconds(),
            Ok(2_000_000_003)
        );
    }

    #[test]
    fn a_timespec_of_centuries_saturates() {
        assert_eq!(
            TimePair {
                seconds: i64::MAX,
                fraction: 0
            }
            .to_nanoseconds(),
            Ok(u64::MAX)
        );
    }
}
