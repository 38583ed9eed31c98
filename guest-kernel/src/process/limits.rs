//! Resource limits: getrlimit(2), setrlimit(2), prlimit(2).

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::memory::space::SpaceLimits;
use crate::process::task::{MAX_TASKS, TaskId};
use linux_raw_sys::general as uapi;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// RLIM_INFINITY.
pub const INFINITY: u64 = u64::MAX;
/// Most descriptors any process may ask for (/proc/sys/fs/nr_open).
const NR_OPEN: u64 = 1 << 20;

/// `struct rlimit64`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Limit {
    /// What the kernel enforces.
    pub soft: u64,
    /// How far the soft limit may be raised.
    pub hard: u64,
}

/// The sixteen limits of a process, by RLIMIT_ number.
#[derive(Clone, Copy, Debug)]
pub struct Limits([Limit; uapi::RLIM_NLIMITS as usize]);

impl Limits {
    /// What the first program starts with: Linux's own defaults (INIT_RLIMITS) on a machine for `max_processes`.
    pub fn first(max_processes: u32) -> Self {
        let mut limits = [Limit {
            soft: INFINITY,
            hard: INFINITY,
        }; uapi::RLIM_NLIMITS as usize];
        let mut set = |resource: u32, soft, hard| limits[resource as usize] = Limit { soft, hard };
        let processes = u64::from(max_processes).min(MAX_TASKS as u64);
        set(uapi::RLIMIT_STACK, 8 << 20, INFINITY);
        set(uapi::RLIMIT_CORE, 0, INFINITY);
        set(uapi::RLIMIT_NPROC, processes, processes);
        set(uapi::RLIMIT_NOFILE, 1024, 524_288);
        set(uapi::RLIMIT_MEMLOCK, 8 << 20, 8 << 20);
        set(uapi::RLIMIT_SIGPENDING, processes, processes);
        set(uapi::RLIMIT_MSGQUEUE, 819_200, 819_200);
        set(uapi::RLIMIT_NICE, 0, 0);
        set(uapi::RLIMIT_RTPRIO, 0, 0);
        Self(limits)
    }

    /// The soft limit of an RLIMIT_ number.
    pub fn soft(&self, resource: u32) -> u64 {
        self.0[resource as usize].soft
    }

    /// What bounds an address space.
    pub fn of_space(&self) -> SpaceLimits {
        SpaceLimits {
            stack: self.soft(uapi::RLIMIT_STACK),
            address_space: self.soft(uapi::RLIMIT_AS),
            data: self.soft(uapi::RLIMIT_DATA),
        }
    }

    /// Reads a limit and, if `new` is given, replaces it: EINVAL for an unknown resource or a soft limit
    /// above the hard one, EPERM for more descriptors than the kernel can have.
    pub fn exchange(&mut self, resource: u32, new: Option<Limit>) -> Result<Limit, Errno> {
        let old = *self.0.get(resource as usize).ok_or(Errno::EINVAL)?;
        if let Some(new) = new {
            if new.soft > new.hard {
                return Err(Errno::EINVAL);
            }
            if resource == uapi::RLIMIT_NOFILE && new.hard > NR_OPEN {
                return Err(Errno::EPERM);
            }
            self.0[resource as usize] = new;
        }
        Ok(old)
    }
}

impl Kernel {
    /// prlimit(2) on the process of `target`; its address space learns of the change.
    pub fn exchange_limit(
        &mut self,
        target: TaskId,
        resource: u32,
        new: Option<Limit>,
    ) -> Result<Limit, Errno> {
        let limits = &mut self.group_mut(target).limits;
        let old = limits.exchange(resource, new)?;
        let of_space = limits.of_space();
        if let Some(space) = self.tasks[target].space {
            self.spaces[space].limits = of_space;
        }
        Ok(old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soft_limit_stays_below_the_hard_one() {
        let mut limits = Limits::first(100);
        let stack = Limit {
            soft: 8 << 20,
            hard: INFINITY,
        };
        assert_eq!(limits.exchange(uapi::RLIMIT_STACK, None), Ok(stack));
        assert_eq!(
            limits.exchange(uapi::RLIMIT_STACK, Some(Limit { soft: 2, hard: 1 })),
            Err(Errno::EINVAL)
        );
        assert_eq!(
            limits.exchange(uapi::RLIM_NLIMITS, None),
            Err(Errno::EINVAL)
        );
        assert_eq!(
            limits.exchange(uapi::RLIMIT_STACK, Some(Limit { soft: 1, hard: 2 })),
            Ok(stack)
        );
        assert_eq!(limits.soft(uapi::RLIMIT_STACK), 1);
    }

    #[test]
    fn processes_are_bounded_by_the_machine() {
        assert_eq!(Limits::first(7).soft(uapi::RLIMIT_NPROC), 7);
        assert_eq!(
            Limits::first(u32::MAX).soft(uapi::RLIMIT_NPROC),
            MAX_TASKS as u64
        );
    }
}
