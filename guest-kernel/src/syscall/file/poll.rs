//! poll(2): looks at every file; if none is ready, waits in the queues of all.
//!
//! A task that is woken runs its call again from the start: what it waited for may have been
//! taken by somebody else meanwhile. Only the deadline is remembered.

use super::patience::Patience;
use super::{Completion, SyscallResult};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::task::TaskId;
use crate::syscall::Args;
use linux_raw_sys::general::{POLLERR, POLLHUP, POLLNVAL};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// struct pollfd.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct PollFd {
    fd: i32,
    events: u16,
    found: u16,
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

    /// Puts the caller into the queues of a descriptor, if it is open.
    pub(super) fn wait_for(&mut self, task: TaskId, fd: i32, events: u32) {
        if let Ok(file) = self.fs.file(self.table(task), fd) {
            self.fs.wait_for(file, events, task);
        }
    }
}
