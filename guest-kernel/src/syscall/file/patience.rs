//! What poll and select have in common besides looking: how long they wait, and with which signals blocked.

use super::{Completion, SyscallResult};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::task::{Progress, TaskId};
use crate::syscall::WaitChannel;
use crate::time::NANOS;

/// Until when a call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// It does not.
    None,
    /// Until this monotonic time in nanoseconds.
    Until(u64),
    /// For ever.
    Endless,
}

impl Patience {
    /// The caller sleeps that long.
    pub(super) fn park(self) -> Completion {
        let deadline = match self {
            Self::Until(deadline) => Some(deadline),
            Self::None | Self::Endless => None,
        };
        Completion::Park {
            channel: WaitChannel::DoPoll,
            deadline,
        }
    }
}

impl Kernel {
    /// Puts the mask of ppoll and pselect6 in place of the task's own while the call lasts. EINVAL, EFAULT.
    pub(super) fn enter_mask(
        &mut self,
        task: TaskId,
        address: u64,
        size: u64,
    ) -> Result<(), Errno> {
        if address == 0 {
            return Ok(());
        }
        if size != size_of::<u64>() as u64 {
            return Err(Errno::EINVAL);
        }
        let mask = self.user(task).read(address)?;
        let signals = &mut self.tasks[task].signals;
        // A call that is taken up again after a wake-up has its mask already.
        if signals.saved_mask.is_none() {
            signals.saved_mask = Some(signals.mask);
            self.set_signal_mask(task, mask);
        }
        Ok(())
    }

    /// Puts the task's own mask back, unless the call goes on: then signal delivery does it, behind a handler.
    pub(super) fn leave_mask(&mut self, task: TaskId, result: &SyscallResult) {
        if matches!(result, Ok(Completion::Park { .. })) {
            return;
        }
        if let Some(mask) = self.tasks[task].signals.saved_mask.take() {
            self.set_signal_mask(task, mask);
        }
    }

    /// A timeout in nanoseconds (`None`: endless) as a deadline, which stays the same when the call is taken up again.
    pub(super) fn patience(&mut self, task: TaskId, timeout: Option<u64>) -> Patience {
        let now = self.clock.monotonic();
        let deadline = match (self.tasks[task].progress, timeout) {
            (_, None) => return Patience::Endless,
            (_, Some(0)) => return Patience::None,
            (Progress::Deadline(deadline), _) => deadline,
            (_, Some(timeout)) => now.saturating_add(timeout),
        };
        self.tasks[task].progress = Progress::Deadline(deadline);
        if deadline <= now {
            Patience::None
        } else {
            Patience::Until(deadline)
        }
    }

    /// struct timespec (`unit` 1) or struct timeval (`unit` 1000) as nanoseconds; `None` for a null pointer. EINVAL, EFAULT.
    pub(super) fn read_time(
        &mut self,
        task: TaskId,
        address: u64,
        unit: u64,
    ) -> Result<Option<u64>, Errno> {
        if address == 0 {
            return Ok(None);
        }
        let [seconds, fraction]: [i64; 2] = self.user(task).read(address)?;
        let seconds = u64::try_from(seconds).map_err(|_| Errno::EINVAL)?;
        let fraction = u64::try_from(fraction).map_err(|_| Errno::EINVAL)?;
        // A timeval may hold more than a second of microseconds; a timespec may not.
        if unit == 1 && fraction >= NANOS {
            return Err(Errno::EINVAL);
        }
        Ok(Some(
            seconds
                .saturating_mul(NANOS)
                .saturating_add(fraction.saturating_mul(unit)),
        ))
    }

    /// Tells the program how much of its timeout is left, as Linux does once the call is over.
    pub(super) fn write_rest(
        &mut self,
        task: TaskId,
        address: u64,
        unit: u64,
        patience: Patience,
        result: &SyscallResult,
    ) {
        if address == 0 || matches!(result, Ok(Completion::Park { .. })) {
            return;
        }
        let rest = match patience {
            Patience::Until(deadline) => deadline.saturating_sub(self.clock.monotonic()),
            Patience::None | Patience::Endless => 0,
        };
        // Linux ignores a fault here too: the call has had its effect.
        let _ = self
            .user(task)
            .write(address, &[rest / NANOS, rest % NANOS / unit]);
    }
}
