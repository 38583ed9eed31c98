//! Locks whose owner the kernel knows: FUTEX_LOCK_PI and its like (Linux: kernel/futex/pi.c).
//!
//! The word holds the owner's tid, 0 when free, and FUTEX_WAITERS while somebody waits. The kernel hands
//! the lock over itself. Lending the owner the waiter's priority has no effect here: all have the same.

use super::{Key, Waiter};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::task::TaskId;
use linux_raw_sys::general::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS};

/// How an attempt to lock went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The caller owns it.
    Locked,
    /// This tid owns it, and the word says that somebody waits.
    OwnedBy(u32),
}

impl Kernel {
    /// Takes a free lock. EDEADLK if the caller owns it, ESRCH if the owner does not exist, EINVAL if somebody waits there for no lock.
    pub fn futex_try_lock(
        &mut self,
        task: TaskId,
        key: Key,
        address: u64,
    ) -> Result<Attempt, Errno> {
        let word: u32 = self.user(task).read(address)?;
        let (owner, own) = (word & FUTEX_TID_MASK, self.tasks[task].record.pid);
        if owner == own {
            return Err(Errno::EDEADLK);
        }
        match self.futexes.first(&self.tasks, key) {
            Some((_, Waiter { owner: None, .. })) => return Err(Errno::EINVAL),
            Some(_) => return Ok(Attempt::OwnedBy(owner)),
            None => {}
        }
        if owner == 0 {
            self.user(task)
                .write(address, &(word & FUTEX_OWNER_DIED | own))?;
            return Ok(Attempt::Locked);
        }
        self.user(task).write(address, &(word | FUTEX_WAITERS))?;
        match self.tasks.by_pid(owner) {
            Some(_) => Ok(Attempt::OwnedBy(owner)),
            None => Err(Errno::ESRCH),
        }
    }

    /// The caller waits for a lock.
    pub fn futex_wait_for_lock(&mut self, task: TaskId, key: Key, owner: u32) {
        self.futexes
            .push(&mut self.tasks, task, Waiter::for_lock(key, owner));
    }

    /// FUTEX_UNLOCK_PI: the longest waiting gets the lock. EPERM if the caller does not own it, EINVAL.
    pub fn futex_unlock(&mut self, task: TaskId, key: Key, address: u64) -> Result<(), Errno> {
        let word: u32 = self.user(task).read(address)?;
        if word & FUTEX_TID_MASK != self.tasks[task].record.pid {
            return Err(Errno::EPERM);
        }
        match self.futexes.first(&self.tasks, key) {
            Some((_, Waiter { owner: None, .. })) => Err(Errno::EINVAL),
            Some((heir, _)) => {
                let tid = self.tasks[heir].record.pid;
                self.user(task).write(address, &(tid | FUTEX_WAITERS))?;
                self.hand_lock_over(heir, key);
                Ok(())
            }
            None => self.user(task).write(address, &0u32),
        }
    }

    /// A task has ended that owned locks for which others wait: each lock goes to the longest waiting,
    /// which learns of the death from the word.
    pub(super) fn leave_locks_to_heirs(&mut self, ended: TaskId) {
        let owner = self.tasks[ended].record.pid;
        while let Some((heir, waiter)) = self.futexes.waiting_for(&self.tasks, owner) {
            let (tid, address) = (
                self.tasks[heir].record.pid,
                self.tasks[heir].record.regs.rdi,
            );
            // The heir's page was there when it began to wait; if it no longer is, there is no lock either.
            let _ = self
                .user(heir)
                .write(address, &(tid | FUTEX_WAITERS | FUTEX_OWNER_DIED));
            self.hand_lock_over(heir, waiter.key);
        }
    }

    /// The others wait for the new owner from now on.
    fn hand_lock_over(&mut self, heir: TaskId, key: Key) {
        let tid = self.tasks[heir].record.pid;
        self.finish_waiting(heir);
        let mut next = self.futexes.first(&self.tasks, key);
        while let Some((task, _)) = next {
            if let Some(waiter) = &mut self.tasks[task].futex {
                waiter.owner = Some(tid);
            }
            next = self.futexes.after(&self.tasks, task);
        }
    }
}
