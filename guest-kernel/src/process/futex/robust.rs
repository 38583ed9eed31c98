//! What a thread that ends owes to others: locks it still holds (set_robust_list(2)) and the word that says
//! it is gone (set_tid_address(2)). Linux: futex_cleanup and exit_robust_list in kernel/futex/core.c.

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::task::TaskId;
use linux_raw_sys::general::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS, ROBUST_LIST_LIMIT};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct robust_list_head`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct ListHead {
    /// First lock held, with bit 0 set if it is a PI futex; the head itself at the end.
    next: u64,
    /// From an entry to its futex.
    offset: i64,
    /// The lock that is just being taken or released.
    pending: u64,
}

impl Kernel {
    /// Before the address space goes, at exit and exec: locks first, then the thread's own word.
    pub fn leave_futexes(&mut self, task: TaskId) {
        self.futex_leave(task);
        let [head, _] = core::mem::take(&mut self.tasks[task].robust_list);
        if head != 0 && self.tasks[task].space.is_some() {
            // A list that cannot be read to its end is the program's affair; Linux stops there, too.
            let _ = self.give_up_robust_locks(task, head);
        }
        self.leave_locks_to_heirs(task);
        self.clear_child_tid(task);
    }

    /// Walks the list, which may be damaged or endless: ROBUST_LIST_LIMIT entries at most.
    fn give_up_robust_locks(&mut self, task: TaskId, head: u64) -> Result<(), Errno> {
        let ListHead {
            next,
            offset,
            pending,
        } = self.user(task).read(head)?;
        let futex_of = |entry: u64| (entry & !1).wrapping_add_signed(offset);
        let mut entry = next;
        let mut left = ROBUST_LIST_LIMIT;
        while entry & !1 != head && left != 0 {
            let next = self.user(task).read::<u64>(entry & !1);
            if entry & !1 != pending & !1 {
                self.give_up_lock(task, futex_of(entry), entry & 1 != 0, false)?;
            }
            entry = next?;
            left -= 1;
        }
        if pending & !1 != 0 {
            self.give_up_lock(task, futex_of(pending), pending & 1 != 0, true)?;
        }
        Ok(())
    }

    /// Marks a lock as its dead owner's and wakes one who waits for it (Linux: handle_futex_death).
    fn give_up_lock(
        &mut self,
        task: TaskId,
        address: u64,
        is_pi: bool,
        is_pending: bool,
    ) -> Result<(), Errno> {
        if !address.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        let word: u32 = self.user(task).read(address)?;
        let owner = word & FUTEX_TID_MASK;
        // Between its store and its wake-up in the program's own unlock.
        if is_pending && !is_pi && owner == 0 {
            self.wake_one_shared(task, address);
            return Ok(());
        }
        if owner != self.tasks[task].record.pid {
            return Ok(());
        }
        self.user(task)
            .write(address, &(word & FUTEX_WAITERS | FUTEX_OWNER_DIED))?;
        if !is_pi && word & FUTEX_WAITERS != 0 {
            self.wake_one_shared(task, address);
        }
        Ok(())
    }

    /// CLONE_CHILD_CLEARTID: a thread's end is announced in memory that others still use, as pthread_join(3) awaits it.
    fn clear_child_tid(&mut self, task: TaskId) {
        let address = core::mem::take(&mut self.tasks[task].clear_child_tid);
        let Some(space) = self.tasks[task].space else {
            return;
        };
        // A bad address is the program's affair; Linux ignores it, too.
        if address != 0
            && self.spaces.references(space) > 1
            && self.user(task).write(address, &0u32).is_ok()
        {
            self.wake_one_shared(task, address);
        }
    }

    fn wake_one_shared(&mut self, task: TaskId, address: u64) {
        if let Ok(key) = self.futex_key(task, address, false) {
            // Who waits there for a lock is not woken by this, and nobody is left to be told.
            let _ = self.futex_wake(key, 1, u32::MAX);
        }
    }
}
