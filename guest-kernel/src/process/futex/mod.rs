//! Futexes: waiting for a word of memory to change, and waking those who wait (futex(2); Linux: kernel/futex/).
//!
//! In:  an address of the caller's and what it is to be compared with. Out: the caller parks in `queue`,
//! under a [`Key`] that is the same for everybody who sees the same word; a waker takes it out again.
//!
//! A waiter stands in the queue exactly from the moment its call parks to the moment it is woken, times out,
//! runs a signal handler or ends: whoever takes it out decides the result of its call, so no wake-up is ever
//! spent on somebody who has left. `lock` has the locks whose owner the kernel knows (PI futexes),
//! `robust` what a thread that ends owes to those who wait for its locks.

mod lock;
mod queue;
mod robust;

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::task::{Progress, TaskId};
use forkvm_abi::layout::USER_END;
use linux_raw_sys::general as uapi;
pub use lock::Attempt;
pub use queue::{FutexQueues, Waiter};

/// A futex, by whatever all who use it have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// FUTEX_PRIVATE_FLAG: an address in one space, by the space's slot.
    Private(usize, u64),
    /// Without the flag, in memory that is private all the same. Like Linux's, it does not meet the private one.
    Anonymous(usize, u64),
    /// A place in an object that several spaces map: its identity and the offset in it.
    Object(u64, u64),
}

/// What FUTEX_WAKE_OP does to the second word before it compares it.
#[derive(Clone, Copy, Debug)]
pub struct WakeOperation(pub u32);

impl Kernel {
    /// The key of the futex at `address`. EINVAL if it is not aligned, EFAULT if it cannot be there.
    pub fn futex_key(&mut self, task: TaskId, address: u64, private: bool) -> Result<Key, Errno> {
        if !address.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        if address >= USER_END {
            return Err(Errno::EFAULT);
        }
        let space = self.tasks[task].space.ok_or(Errno::EFAULT)?;
        if private {
            return Ok(Key::Private(space.index(), address));
        }
        // A shared futex is found through its page, which must be there.
        self.user(task).read::<u32>(address)?;
        Ok(match self.spaces[space].shared_place(address) {
            Some((object, offset)) => Key::Object(object, offset),
            None => Key::Anonymous(space.index(), address),
        })
    }

    /// Puts the caller into the queue if the word is still what it expects; EAGAIN if not.
    pub fn futex_enqueue(
        &mut self,
        task: TaskId,
        key: Key,
        address: u64,
        expected: u32,
        bitset: u32,
    ) -> Result<(), Errno> {
        if self.user(task).read::<u32>(address)? != expected {
            return Err(Errno::EAGAIN);
        }
        self.futexes
            .push(&mut self.tasks, task, Waiter::new(key, bitset));
        Ok(())
    }

    /// Takes a waiter out of its queue, wherever it stands: its call ends without having been woken.
    /// Whether it stood in one.
    pub fn futex_leave(&mut self, task: TaskId) -> bool {
        self.tasks[task].futex.is_some() && self.futexes.remove(&mut self.tasks, task).is_some()
    }

    /// FUTEX_WAKE_BITSET: wakes the waiters that share a bit, the longest waiting first, up to `most`
    /// (0 counts as 1, as on Linux). How many; EINVAL if one waits for a lock.
    pub fn futex_wake(&mut self, key: Key, most: u32, bitset: u32) -> Result<u32, Errno> {
        let mut woken = 0;
        let mut next = self.futexes.first(&self.tasks, key);
        while let Some((task, waiter)) = next {
            next = self.futexes.after(&self.tasks, task);
            if waiter.owner.is_some() {
                return Err(Errno::EINVAL);
            }
            if waiter.bitset & bitset != 0 {
                self.finish_waiting(task);
                woken += 1;
                if woken >= most {
                    break;
                }
            }
        }
        Ok(woken)
    }

    /// FUTEX_REQUEUE: wakes `wake` waiters and lets up to `requeue` others wait at another futex. How many
    /// of both together.
    pub fn futex_requeue(
        &mut self,
        from: Key,
        to: Key,
        wake: u32,
        requeue: u32,
    ) -> Result<u32, Errno> {
        let mut done = 0;
        let mut next = self.futexes.first(&self.tasks, from);
        while let Some((task, waiter)) = next {
            next = self.futexes.after(&self.tasks, task);
            if done >= wake.saturating_add(requeue) {
                break;
            }
            if waiter.owner.is_some() {
                return Err(Errno::EINVAL);
            }
            if done < wake {
                self.finish_waiting(task);
            } else if from != to {
                self.futexes.remove(&mut self.tasks, task);
                self.futexes
                    .push(&mut self.tasks, task, Waiter::new(to, waiter.bitset));
            }
            done += 1;
        }
        Ok(done)
    }

    /// FUTEX_WAKE_OP's change of the second word: whether its old value compares as wanted.
    /// EFAULT; ENOSYS for an operation or comparison that does not exist.
    pub fn futex_change(
        &mut self,
        task: TaskId,
        address: u64,
        operation: WakeOperation,
    ) -> Result<bool, Errno> {
        let old: u32 = self.user(task).read(address)?;
        let new = operation.apply(old)?;
        self.user(task).write(address, &new)?;
        operation.compare(old)
    }

    /// The waiter has got what it waited for: its call returns 0.
    fn finish_waiting(&mut self, task: TaskId) {
        self.futexes.remove(&mut self.tasks, task);
        self.tasks[task].progress = Progress::Done(0);
        self.wake(task);
    }
}

impl WakeOperation {
    fn apply(self, old: u32) -> Result<u32, Errno> {
        let mut argument = sign_extended(self.0 >> 12);
        if self.0 >> 28 & uapi::FUTEX_OP_OPARG_SHIFT != 0 {
            argument = 1 << (argument & 31);
        }
        Ok(match self.0 >> 28 & 7 {
            uapi::FUTEX_OP_SET => argument,
            uapi::FUTEX_OP_ADD => old.wrapping_add(argument),
            uapi::FUTEX_OP_OR => old | argument,
            uapi::FUTEX_OP_ANDN => old & !argument,
            uapi::FUTEX_OP_XOR => old ^ argument,
            _ => return Err(Errno::ENOSYS),
        })
    }

    fn compare(self, old: u32) -> Result<bool, Errno> {
        let (old, argument) = (old.cast_signed(), sign_extended(self.0).cast_signed());
        Ok(match self.0 >> 24 & 15 {
            uapi::FUTEX_OP_CMP_EQ => old == argument,
            uapi::FUTEX_OP_CMP_NE => old != argument,
            uapi::FUTEX_OP_CMP_LT => old < argument,
            uapi::FUTEX_OP_CMP_LE => old <= argument,
            uapi::FUTEX_OP_CMP_GT => old > argument,
            uapi::FUTEX_OP_CMP_GE => old >= argument,
            _ => return Err(Errno::ENOSYS),
        })
    }
}

/// The low 12 bits as a signed number.
const fn sign_extended(value: u32) -> u32 {
    ((value << 20).cast_signed() >> 20).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wake_operations_are_decoded_as_in_futex_2() {
        let encode = |operation: u32, argument: u32, comparison: u32, with: u32| {
            WakeOperation(
                operation << 28 | comparison << 24 | (argument & 0xfff) << 12 | with & 0xfff,
            )
        };
        let add = encode(uapi::FUTEX_OP_ADD, u32::MAX, uapi::FUTEX_OP_CMP_GT, 4);
        assert_eq!((add.apply(5), add.compare(5)), (Ok(4), Ok(true)));
        assert_eq!(add.compare(u32::MAX), Ok(false));
        let shifted = encode(uapi::FUTEX_OP_OR | uapi::FUTEX_OP_OPARG_SHIFT, 4, 0, 0);
        assert_eq!(shifted.apply(1), Ok(17));
        assert_eq!(encode(5, 0, 6, 0).apply(0), Err(Errno::ENOSYS));
        assert_eq!(encode(5, 0, 6, 0).compare(0), Err(Errno::ENOSYS));
    }
}
