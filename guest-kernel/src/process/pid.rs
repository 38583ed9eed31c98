//! Process ids: which are in use, and which comes next.
//!
//! A number is taken as long as anything is called by it: a task, a process group or a
//! session. A shell's job keeps its group's number busy after the group's leader has been
//! reaped, so that no stranger can be born under it (Linux: kernel/pid.c).

use crate::errno::Errno;
use alloc::vec::Vec;

/// Ids below this are not given out again after the first wrap (Linux: RESERVED_PIDS).
pub const RESERVED_PIDS: u32 = 300;
/// First number that is no valid id (/proc/sys/kernel/pid_max).
pub const PID_MAX: u32 = 32768;

/// What an id may name; each role keeps the number busy by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A task, living or zombie.
    Task = 0,
    /// A process group with members.
    ProcessGroup = 1,
    /// A session with members.
    Session = 2,
}

/// A bit per id and role, grown as ids are reached: start-up does not pay for 32768 of them.
#[derive(Debug)]
pub struct PidTable {
    words: Vec<[u64; 3]>,
    cursor: u32,
    max: u32,
}

impl Default for PidTable {
    fn default() -> Self {
        Self::new(PID_MAX)
    }
}

impl PidTable {
    /// Ids from 1 to `max - 1`, all free.
    pub const fn new(max: u32) -> Self {
        Self {
            words: Vec::new(),
            cursor: 1,
            max,
        }
    }

    /// The next free id, taken for a task. EAGAIN if all are in use (fork(2)).
    pub fn allocate(&mut self) -> Result<u32, Errno> {
        let lowest = if self.cursor > RESERVED_PIDS {
            RESERVED_PIDS
        } else {
            1
        };
        let pid = self
            .first_free(self.cursor.max(lowest), self.max)
            .or_else(|| self.first_free(lowest, self.max))
            .ok_or(Errno::EAGAIN)?;
        self.cursor = pid + 1;
        self.hold(pid, Role::Task);
        Ok(pid)
    }

    /// Takes one certain id for a task (clone3's set_tid). EINVAL out of range, EEXIST if in use.
    pub fn claim(&mut self, pid: u32) -> Result<(), Errno> {
        if pid == 0 || pid >= self.max {
            return Err(Errno::EINVAL);
        }
        if self.is_used(pid) {
            return Err(Errno::EEXIST);
        }
        self.hold(pid, Role::Task);
        Ok(())
    }

    /// The id now also has this role.
    pub fn hold(&mut self, pid: u32, role: Role) {
        let (word, bit) = position(pid);
        if word >= self.words.len() {
            self.words.resize(word + 1, [0; 3]);
        }
        self.words[word][role as usize] |= bit;
    }

    /// The id has lost this role.
    pub fn release(&mut self, pid: u32, role: Role) {
        let (word, bit) = position(pid);
        self.words[word][role as usize] &= !bit;
    }

    /// Whether anything goes by this id.
    pub fn is_used(&self, pid: u32) -> bool {
        let (word, bit) = position(pid);
        self.words
            .get(word)
            .is_some_and(|roles| union(roles) & bit != 0)
    }

    /// The lowest free id in `from..to`, a word of 64 ids at a time.
    fn first_free(&self, from: u32, to: u32) -> Option<u32> {
        let mut pid = from;
        while pid < to {
            let (word, bit) = position(pid);
            let used = self.words.get(word).map_or(0, union);
            let free = !used & !(bit - 1);
            if free != 0 {
                let found = (pid & !63) + free.trailing_zeros();
                return (found < to).then_some(found);
            }
            pid = (pid & !63) + 64;
        }
        None
    }
}

fn position(pid: u32) -> (usize, u64) {
    ((pid / 64) as usize, 1 << (pid % 64))
}

fn union(roles: &[u64; 3]) -> u64 {
    roles[0] | roles[1] | roles[2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    #[test]
    fn ids_follow_each_other_and_are_not_reused_at_once() {
        let mut pids = PidTable::default();
        assert_eq!(
            [pids.allocate(), pids.allocate(), pids.allocate()],
            [Ok(1), Ok(2), Ok(3)]
        );
        pids.release(2, Role::Task);
        assert_eq!(pids.allocate(), Ok(4));
    }

    #[test]
    fn after_the_wrap_the_reserved_ids_are_left_alone() {
        let mut pids = PidTable::new(400);
        for pid in 1..400 {
            assert_eq!(pids.allocate(), Ok(pid));
        }
        pids.release(7, Role::Task);
        assert_eq!(pids.allocate(), Err(Errno::EAGAIN));
        pids.release(333, Role::Task);
        assert_eq!(pids.allocate(), Ok(333));
    }

    #[test]
    fn a_group_keeps_the_number_of_its_reaped_leader() {
        let mut pids = PidTable::new(302);
        for _ in 1..302 {
            pids.allocate().unwrap();
        }
        pids.hold(301, Role::ProcessGroup);
        pids.release(301, Role::Task);
        assert_eq!(pids.allocate(), Err(Errno::EAGAIN));
        pids.release(301, Role::ProcessGroup);
        assert_eq!(pids.allocate(), Ok(301));
    }

    #[test]
    fn a_certain_id_can_be_claimed_once() {
        let mut pids = PidTable::default();
        assert_eq!(pids.claim(0), Err(Errno::EINVAL));
        assert_eq!(pids.claim(PID_MAX), Err(Errno::EINVAL));
        assert_eq!(pids.claim(2), Ok(()));
        assert_eq!(pids.claim(2), Err(Errno::EEXIST));
        assert_eq!([pids.allocate(), pids.allocate()], [Ok(1), Ok(3)]);
    }

    /// Linux's rule, told the slow way: count up from the last id, wrap once, skip what is in use.
    fn expected(used: &BTreeSet<u32>, cursor: u32, max: u32) -> Option<u32> {
        let lowest = if cursor > RESERVED_PIDS {
            RESERVED_PIDS
        } else {
            1
        };
        (cursor.max(lowest)..max)
            .chain(lowest..max)
            .find(|pid| !used.contains(pid))
    }

    proptest! {
        #[test]
        fn allocation_agrees_with_the_slow_rule(steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..1500)) {
            let max = 620;
            let (mut pids, mut used, mut cursor) = (PidTable::new(max), BTreeSet::new(), 1);
            for (is_release, which) in steps {
                if is_release && !used.is_empty() && used.len() > 200 {
                    let pid = *which.get(&used.iter().copied().collect::<Vec<_>>());
                    used.remove(&pid);
                    pids.release(pid, Role::Task);
                } else {
                    let expected = expected(&used, cursor, max);
                    prop_assert_eq!(pids.allocate().ok(), expected);
                    if let Some(pid) = expected {
                        used.insert(pid);
                        cursor = pid + 1;
                    }
                }
            }
        }
    }
}
