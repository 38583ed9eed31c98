//! poll(2) and select(2): look at every file; if none is ready, wait in the queues of all.
//!
//! A task that is woken runs its call again from the start: what it waited for may have been
//! taken by somebody else meanwhile. Only the deadline is remembered.

use super::{Completion, SyscallResult};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::task::{Progress, TaskId};
use crate::syscall::{Args, WaitChannel};
use crate::time::NANOS;
use alloc::vec::Vec;
use linux_raw_sys::general::{
    POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLPRI, POLLRDBAND, POLLRDNORM, POLLWRBAND,
    POLLWRNORM,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// struct pollfd.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct PollFd {
    fd: i32,
    events: u16,
    found: u16,
}

/// What makes a descriptor of each of select's three sets ready (fs/select.c).
const SELECT_SETS: [u32; 3] = [
    POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR | POLLNVAL,
    POLLWRNORM | POLLWRBAND | POLLOUT | POLLERR | POLLNVAL,
    POLLPRI | POLLNVAL,
];

/// Until when a call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// It does not.
    None,
    /// Until this monotonic time in nanoseconds.
    Until(u64),
    /// For ever.
    Endless,
}

/// poll(2).
pub fn sys_poll(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let timeout = u64::try_from(args.int(2))
        .ok()
        .map(|milliseconds| milliseconds * 1_000_000);
    let patience = kernel.patience(task, timeout);
    poll(kernel, task, args, patience)
}

/// ppoll(2).
pub fn sys_ppoll(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let timeout = kernel.read_time(task, args.0[2], 1)?;
    let patience = kernel.patience(task, timeout);
    kernel.enter_mask(task, args.0[3], args.0[4])?;
    let result = poll(kernel, task, args, patience);
    kernel.leave_mask(task, &result);
    kernel.write_rest(task, args.0[2], 1, patience, &result);
    result
}

/// select(2).
pub fn sys_select(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    select(kernel, task, args, 1000)
}

/// pselect6(2): the last argument points to the mask's address and size.
pub fn sys_pselect6(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let [mask, size]: [u64; 2] = match args.0[5] {
        0 => [0; 2],
        address => kernel.user(task).read(address)?,
    };
    kernel.enter_mask(task, mask, size)?;
    let result = select(kernel, task, args, 1);
    kernel.leave_mask(task, &result);
    result
}

fn poll(kernel: &mut Kernel, task: TaskId, args: &Args, patience: Patience) -> SyscallResult {
    let (address, count) = (args.0[0], args.uint(1));
    if count > kernel.descriptor_limit(task) {
        return Err(Errno::EINVAL);
    }
    let mut fds = alloc::vec![PollFd::default(); count as usize];
    kernel.user(task).read_bytes(address, fds.as_mut_bytes())?;
    let mut ready = 0;
    for entry in &mut fds {
        entry.found = kernel.found(task, entry.fd, entry.events);
        ready += u64::from(entry.found != 0);
    }
    if ready == 0 && patience != Patience::None {
        for entry in &fds {
            kernel.wait_for(task, entry.fd, u32::from(entry.events));
        }
        return Ok(patience.park());
    }
    // Only the results are written, as Linux does it: the rest of the array is the program's.
    for (index, entry) in (0u64..).zip(&fds) {
        kernel.user(task).write(
            address + index * size_of::<PollFd>() as u64 + 6,
            &entry.found,
        )?;
    }
    Ok(Completion::Value(ready))
}

/// select and pselect6: the time's second half counts `unit` nanoseconds.
fn select(kernel: &mut Kernel, task: TaskId, args: &Args, unit: u64) -> SyscallResult {
    let timeout = kernel.read_time(task, args.0[4], unit)?;
    let patience = kernel.patience(task, timeout);
    let result = look_at_sets(kernel, task, args, patience);
    kernel.write_rest(task, args.0[4], unit, patience, &result);
    result
}

fn look_at_sets(
    kernel: &mut Kernel,
    task: TaskId,
    args: &Args,
    patience: Patience,
) -> SyscallResult {
    let wanted = usize::try_from(args.int(0)).map_err(|_| Errno::EINVAL)?;
    // Linux looks no further than the table reaches, which is 64 descriptors at least.
    let count = wanted.min(kernel.fs.tables[kernel.table(task)].end().max(64));
    let words = count.div_ceil(64);
    let mut sets: [Vec<u64>; 3] = Default::default();
    for (set, address) in sets.iter_mut().zip(&args.0[1..4]) {
        *set = alloc::vec![0; words];
        if *address != 0 {
            kernel.user(task).read_bytes(*address, set.as_mut_bytes())?;
        }
    }

    let mut found: [Vec<u64>; 3] = core::array::from_fn(|_| alloc::vec![0; words]);
    let mut ready = 0;
    let members = |sets: &[Vec<u64>; 3], fd: usize| {
        sets.each_ref()
            .map(|set| set[fd / 64] >> (fd % 64) & 1 != 0)
    };
    for fd in (0..count).filter(|&fd| members(&sets, fd) != [false; 3]) {
        let number = i32::try_from(fd).expect("below the table's end");
        let file = kernel.fs.file(kernel.table(task), number)?;
        let bits = kernel.fs.readiness(file);
        for (set, member) in members(&sets, fd).into_iter().enumerate() {
            if member && bits & SELECT_SETS[set] != 0 {
                found[set][fd / 64] |= 1 << (fd % 64);
                ready += 1;
            }
        }
    }
    if ready == 0 && patience != Patience::None {
        for fd in 0..count {
            let [read, write, except] = members(&sets, fd);
            if read || write || except {
                let events = if read { POLLIN } else { 0 } | if write { POLLOUT } else { 0 };
                kernel.wait_for(
                    task,
                    i32::try_from(fd).expect("below the table's end"),
                    events,
                );
            }
        }
        return Ok(patience.park());
    }
    for (set, address) in found.iter().zip(&args.0[1..4]) {
        if *address != 0 {
            kernel.user(task).write_bytes(*address, set.as_bytes())?;
        }
    }
    Ok(Completion::Value(ready))
}

impl Patience {
    fn park(self) -> Completion {
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
    /// Poll bits of a descriptor among those asked for; errors are always told.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "poll bits are 16 bits wide"
    )]
    fn found(&mut self, task: TaskId, fd: i32, events: u16) -> u16 {
        if fd < 0 {
            return 0;
        }
        match self.fs.file(self.table(task), fd) {
            Ok(file) => self.fs.readiness(file) as u16 & (events | (POLLERR | POLLHUP) as u16),
            Err(_) => POLLNVAL as u16,
        }
    }

    fn wait_for(&mut self, task: TaskId, fd: i32, events: u32) {
        if let Ok(file) = self.fs.file(self.table(task), fd) {
            self.fs.wait_for(file, events, task);
        }
    }

    /// Puts the mask of ppoll and pselect6 in place of the task's own while the call lasts. EINVAL, EFAULT.
    fn enter_mask(&mut self, task: TaskId, address: u64, size: u64) -> Result<(), Errno> {
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
    fn leave_mask(&mut self, task: TaskId, result: &SyscallResult) {
        if matches!(result, Ok(Completion::Park { .. })) {
            return;
        }
        if let Some(mask) = self.tasks[task].signals.saved_mask.take() {
            self.set_signal_mask(task, mask);
        }
    }

    /// A timeout in nanoseconds (`None`: endless) as a deadline, which stays the same when the call is taken up again.
    fn patience(&mut self, task: TaskId, timeout: Option<u64>) -> Patience {
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
    fn read_time(&mut self, task: TaskId, address: u64, unit: u64) -> Result<Option<u64>, Errno> {
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
    fn write_rest(
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
