//! User and group ids. Everybody starts as root and may become someone else; there is no
//! other authority in the guest, so only the ids themselves are kept (credentials(7)).

use crate::errno::Errno;

/// Real, effective, saved and file-system ids of one kind (user or group).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// Real.
    pub real: u32,
    /// Effective.
    pub effective: u32,
    /// Saved set-id.
    pub saved: u32,
    /// File system.
    pub file_system: u32,
}

/// "Leave it as it is" in setreuid(2) and setresuid(2).
const KEEP: u32 = u32::MAX;

impl Ids {
    /// setuid(2), setgid(2).
    pub fn set(&mut self, id: u32, privileged: bool) -> Result<(), Errno> {
        if id == KEEP {
            return Err(Errno::EINVAL);
        }
        if privileged {
            (self.real, self.saved) = (id, id);
        } else if id != self.real && id != self.saved {
            return Err(Errno::EPERM);
        }
        (self.effective, self.file_system) = (id, id);
        Ok(())
    }

    /// setreuid(2), setregid(2).
    pub fn set_real_effective(
        &mut self,
        real: u32,
        effective: u32,
        privileged: bool,
    ) -> Result<(), Errno> {
        let old = *self;
        let real_allowed = real == KEEP || privileged || real == old.real || real == old.effective;
        let effective_allowed = effective == KEEP || privileged || old.knows(effective);
        if !real_allowed || !effective_allowed {
            return Err(Errno::EPERM);
        }
        if real != KEEP {
            self.real = real;
        }
        if effective != KEEP {
            self.effective = effective;
        }
        self.file_system = self.effective;
        if real != KEEP || (effective != KEEP && effective != old.real) {
            self.saved = self.effective;
        }
        Ok(())
    }

    /// setresuid(2), setresgid(2).
    pub fn set_all(
        &mut self,
        real: u32,
        effective: u32,
        saved: u32,
        privileged: bool,
    ) -> Result<(), Errno> {
        if !privileged
            && [real, effective, saved]
                .into_iter()
                .any(|id| id != KEEP && !self.knows(id))
        {
            return Err(Errno::EPERM);
        }
        if real != KEEP {
            self.real = real;
        }
        if saved != KEEP {
            self.saved = saved;
        }
        if effective != KEEP {
            self.effective = effective;
        }
        self.file_system = self.effective;
        Ok(())
    }

    /// setfsuid(2), setfsgid(2): returns the old id whether or not it was changed.
    pub fn set_file_system(&mut self, id: u32, privileged: bool) -> u32 {
        let old = self.file_system;
        if id != KEEP && (privileged || self.knows(id) || id == old) {
            self.file_system = id;
        }
        old
    }

    fn knows(&self, id: u32) -> bool {
        id == self.real || id == self.effective || id == self.saved
    }
}

/// Who a task acts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// uid, euid, suid, fsuid.
    pub user: Ids,
    /// gid, egid, sgid, fsgid.
    pub group: Ids,
}

impl Credentials {
    /// Root may do anything.
    pub fn is_privileged(&self) -> bool {
        self.user.effective == 0
    }

    /// Whether a task with these ids may signal one with `target`'s (kill(2)).
    pub fn may_signal(&self, target: &Self) -> bool {
        self.is_privileged()
            || [self.user.effective, self.user.real]
                .into_iter()
                .any(|id| id == target.user.real || id == target.user.saved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(real: u32, effective: u32, saved: u32) -> Ids {
        Ids {
            real,
            effective,
            saved,
            file_system: effective,
        }
    }

    #[test]
    fn root_gives_up_everything_with_setuid() {
        let mut user = Ids::default();
        assert_eq!(user.set(1000, true), Ok(()));
        assert_eq!(user, ids(1000, 1000, 1000));
        assert_eq!(user.set(0, false), Err(Errno::EPERM));
    }

    #[test]
    fn setreuid_saves_the_effective_id_when_the_real_one_changes() {
        let mut user = ids(1000, 0, 0);
        assert_eq!(user.set_real_effective(0, 1000, true), Ok(()));
        assert_eq!(user, ids(0, 1000, 1000));
    }

    #[test]
    fn setresuid_swaps_only_known_ids_without_privilege() {
        let mut user = ids(1, 2, 3);
        assert_eq!(user.set_all(KEEP, 3, 2, false), Ok(()));
        assert_eq!(user, ids(1, 3, 2));
        assert_eq!(user.set_all(9, KEEP, KEEP, false), Err(Errno::EPERM));
    }

    #[test]
    fn strangers_may_not_signal() {
        let of = |uid| Credentials {
            user: ids(uid, uid, uid),
            group: Ids::default(),
        };
        assert!(of(0).may_signal(&of(5)));
        assert!(of(5).may_signal(&of(5)));
        assert!(!of(5).may_signal(&of(6)));
    }
}
