//! Who waits at which futex: hash buckets of tasks that are linked through their own records.
//!
//! Waiting allocates nothing, and joining and leaving cost the same however many wait. Waiters of one
//! futex stand in the order in which they came; a bucket may hold those of others in between.

use super::Key;
use crate::process::task::{TaskId, TaskTable};
use alloc::boxed::Box;

/// Number of buckets; a power of two.
const BUCKETS: usize = 256;

/// A task's place in the queues.
#[derive(Clone, Copy, Debug)]
pub struct Waiter {
    /// What it waits at.
    pub key: Key,
    /// FUTEX_WAIT_BITSET: woken by those who share a bit.
    pub bitset: u32,
    /// Tid of the owner of the lock it waits for; `None` if it waits for no lock.
    pub owner: Option<u32>,
    previous: Option<TaskId>,
    next: Option<TaskId>,
}

impl Waiter {
    /// Waits to be woken.
    pub fn new(key: Key, bitset: u32) -> Self {
        Self {
            key,
            bitset,
            owner: None,
            previous: None,
            next: None,
        }
    }

    /// Waits for a lock that `owner` holds.
    pub fn for_lock(key: Key, owner: u32) -> Self {
        Self {
            owner: Some(owner),
            ..Self::new(key, 0)
        }
    }
}

/// Both ends of a list.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    first: Option<TaskId>,
    last: Option<TaskId>,
}

/// All futexes that somebody waits at.
#[derive(Debug)]
pub struct FutexQueues {
    buckets: Box<[Bucket]>,
    /// How many of the waiters wait for a lock.
    lock_waiters: usize,
}

impl Default for FutexQueues {
    fn default() -> Self {
        Self {
            buckets: [Bucket::default(); BUCKETS].into(),
            lock_waiters: 0,
        }
    }
}

impl FutexQueues {
    /// A task comes last in its queue.
    pub fn push(&mut self, tasks: &mut TaskTable, task: TaskId, waiter: Waiter) {
        let bucket = &mut self.buckets[bucket_of(waiter.key)];
        let previous = bucket.last.replace(task);
        match previous.and_then(|last| tasks[last].futex.as_mut()) {
            Some(last) => last.next = Some(task),
            None => bucket.first = Some(task),
        }
        self.lock_waiters += usize::from(waiter.owner.is_some());
        tasks[task].futex = Some(Waiter {
            previous,
            next: None,
            ..waiter
        });
    }

    /// A task leaves the queue it stands in, if any.
    pub fn remove(&mut self, tasks: &mut TaskTable, task: TaskId) -> Option<Waiter> {
        let waiter = tasks[task].futex.take()?;
        let bucket = &mut self.buckets[bucket_of(waiter.key)];
        match waiter
            .previous
            .and_then(|previous| tasks[previous].futex.as_mut())
        {
            Some(previous) => previous.next = waiter.next,
            None => bucket.first = waiter.next,
        }
        match waiter.next.and_then(|next| tasks[next].futex.as_mut()) {
            Some(next) => next.previous = waiter.previous,
            None => bucket.last = waiter.previous,
        }
        self.lock_waiters -= usize::from(waiter.owner.is_some());
        Some(waiter)
    }

    /// Who has waited longest at a futex.
    pub fn first(&self, tasks: &TaskTable, key: Key) -> Option<(TaskId, Waiter)> {
        self.search(tasks, self.buckets[bucket_of(key)].first, key)
    }

    /// Who came next after `task`, which still waits there.
    pub fn after(&self, tasks: &TaskTable, task: TaskId) -> Option<(TaskId, Waiter)> {
        let waiter = tasks[task].futex?;
        self.search(tasks, waiter.next, waiter.key)
    }

    /// Somebody who waits for a lock of `owner`; the longest waiting at its futex.
    pub fn waiting_for(&self, tasks: &TaskTable, owner: u32) -> Option<(TaskId, Waiter)> {
        if self.lock_waiters == 0 {
            return None;
        }
        self.buckets
            .iter()
            .flat_map(|bucket| {
                core::iter::successors(bucket.first, |task| tasks[*task].futex?.next)
            })
            .find_map(|task| {
                tasks[task]
                    .futex
                    .filter(|waiter| waiter.owner == Some(owner))
                    .map(|waiter| (task, waiter))
            })
    }

    fn search(
        &self,
        tasks: &TaskTable,
        from: Option<TaskId>,
        key: Key,
    ) -> Option<(TaskId, Waiter)> {
        let mut at = from;
        while let Some(task) = at {
            let waiter = tasks[task].futex?;
            if waiter.key == key {
                return Some((task, waiter));
            }
            at = waiter.next;
        }
        None
    }
}

/// Multiplicative hashing (Knuth, TAOCP 6.4): the top bits of the product are the well mixed ones.
fn bucket_of(key: Key) -> usize {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let (object, place) = match key {
        Key::Private(space, address) | Key::Anonymous(space, address) => (space as u64, address),
        Key::Object(object, offset) => (object, offset),
    };
    let mixed = object
        .rotate_left(32)
        .wrapping_add(place >> 2)
        .wrapping_mul(GOLDEN);
    usize::try_from(mixed >> (u64::BITS - BUCKETS.trailing_zeros())).unwrap_or_default()
}
