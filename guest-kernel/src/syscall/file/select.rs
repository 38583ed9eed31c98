//! select(2): poll(2) with sets of bits, and the time left written back.

use super::patience::Patience;
use super::{Completion, SyscallResult};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::task::TaskId;
use crate::syscall::Args;
use alloc::vec::Vec;
use linux_raw_sys::general::{
    POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLPRI, POLLRDBAND, POLLRDNORM, POLLWRBAND,
    POLLWRNORM,
};
use zerocopy::IntoBytes;

/// What makes a descriptor of each of select's three sets ready (fs/select.c).
const SELECT_SETS: [u32; 3] = [
    POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR | POLLNVAL,
    POLLWRNORM | POLLWRBAND | POLLOUT | POLLERR | POLLNVAL,
    POLLPRI | POLLNVAL,
];

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
