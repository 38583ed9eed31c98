//! Process groups and sessions: setpgid(2), setsid(2), and orphaned groups.
//!
//! A group lives as long as it has members and a session as long as it has groups; each
//! keeps its number busy for that long. What belongs to the terminal (the foreground group)
//! is the file system's.

use crate::arena::Id;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::pid::Role;
use crate::process::signal::SignalInfo;
use crate::process::task::TaskId;
use crate::process::thread_group::ThreadGroup;
use alloc::vec::Vec;
use linux_raw_sys::general as uapi;

/// Processes that a terminal and kill(2) address together. One reference per member.
#[derive(Debug)]
pub struct ProcessGroup {
    /// Its number: the pid of the process that founded it.
    pub pgid: u32,
    /// The session it belongs to.
    pub session: Id<Session>,
}

/// Process groups with one controlling terminal. One reference per process group.
#[derive(Debug)]
pub struct Session {
    /// Its number: the pid of the process that founded it.
    pub sid: u32,
    /// Its founder, until that one ends.
    pub leader: Option<Id<ThreadGroup>>,
}

impl Kernel {
    /// setpgid(2): moves the process `pid` (0: the caller) to group `pgid` (0: its own).
    pub fn set_process_group(&mut self, caller: TaskId, pid: i32, pgid: i32) -> Result<(), Errno> {
        let own = self.tasks[caller].group;
        let pid = if pid == 0 {
            self.groups[own].tgid
        } else {
            u32::try_from(pid).map_err(|_| Errno::ESRCH)?
        };
        let pgid = if pgid == 0 {
            pid
        } else {
            u32::try_from(pgid).map_err(|_| Errno::EINVAL)?
        };
        let task = self.tasks.by_pid(pid).ok_or(Errno::ESRCH)?;
        let target = self.tasks[task].group;
        if self.groups[target].leader != task {
            return Err(Errno::EINVAL);
        }

        // Only oneself and one's own children, these only until they run a program of their own.
        let session = self.session_of(own);
        if self.groups[target].family.parent == Some(own) {
            if self.session_of(target) != session {
                return Err(Errno::EPERM);
            }
            if self.groups[target].has_execed {
                return Err(Errno::EACCES);
            }
        } else if target != own {
            return Err(Errno::ESRCH);
        }
        if self.leads_session(target) {
            return Err(Errno::EPERM);
        }

        let old = self.groups[target].process_group;
        if self.tasks.process_groups[old].pgid == pgid {
            return Ok(());
        }
        let new = match self.process_group_by_id(pgid) {
            Some(group) if self.tasks.process_groups[group].session == session => {
                self.tasks.process_groups.share(group)
            }
            None if pgid == pid => {
                let session = self.tasks.sessions.share(session);
                self.new_process_group(pgid, session)
            }
            _ => return Err(Errno::EPERM),
        };
        self.move_to_process_group(target, new);
        Ok(())
    }

    /// setsid(2): a new session and a new group, both called by the caller's pid. EPERM if it leads a group.
    pub fn new_session_for(&mut self, caller: TaskId) -> Result<u32, Errno> {
        let own = self.tasks[caller].group;
        let sid = self.groups[own].tgid;
        if self.leads_session(own) || self.process_group_by_id(sid).is_some() {
            return Err(Errno::EPERM);
        }
        let group = self.found_session(sid);
        let session = self.tasks.process_groups[group].session;
        self.tasks.sessions[session].leader = Some(own);
        self.move_to_process_group(own, group);
        Ok(sid)
    }

    /// A session and its first group, both without members.
    pub fn found_session(&mut self, sid: u32) -> Id<ProcessGroup> {
        self.tasks.pids.hold(sid, Role::Session);
        let session = self.tasks.sessions.insert(Session { sid, leader: None });
        self.new_process_group(sid, session)
    }

    /// One member less; the last takes the group along, and with the last group goes the session.
    pub fn leave_process_group(&mut self, group: Id<ProcessGroup>) {
        let Some(group) = self.tasks.process_groups.release(group) else {
            return;
        };
        self.tasks.pids.release(group.pgid, Role::ProcessGroup);
        if let Some(session) = self.tasks.sessions.release(group.session) {
            self.tasks.pids.release(session.sid, Role::Session);
        }
    }

    /// The group with that number, if it has members.
    pub fn process_group_by_id(&self, pgid: u32) -> Option<Id<ProcessGroup>> {
        self.tasks
            .process_groups
            .iter()
            .find(|(_, group)| group.pgid == pgid)
            .map(|(id, _)| id)
    }

    /// Its member processes, zombies included.
    pub fn members(&self, group: Id<ProcessGroup>) -> Vec<Id<ThreadGroup>> {
        self.groups
            .iter()
            .filter(|(_, process)| process.process_group == group)
            .map(|(id, _)| id)
            .collect()
    }

    /// The session of a process.
    pub fn session_of(&self, process: Id<ThreadGroup>) -> Id<Session> {
        self.tasks.process_groups[self.groups[process].process_group].session
    }

    /// Whether nobody is left who could continue the group's stopped members from outside: no member has a
    /// parent in another group of the same session (POSIX's orphaned process group). `ignored` is about to end.
    pub fn is_orphaned(&self, group: Id<ProcessGroup>, ignored: Option<Id<ThreadGroup>>) -> bool {
        let session = self.tasks.process_groups[group].session;
        !self.groups.iter().any(|(id, process)| {
            process.process_group == group
                && Some(id) != ignored
                && !self.is_zombie(id)
                && process.family.parent.is_some_and(|parent| {
                    Some(parent) != self.tasks.init
                        && self.groups[parent].process_group != group
                        && self.session_of(parent) == session
                })
        })
    }

    /// `process` ends (`parent` is `None`) or loses `parent`: if that orphans its group and a member is
    /// stopped, the group gets SIGHUP and SIGCONT, since nobody else could wake it (Linux: kill_orphaned_pgrp).
    pub fn hang_up_orphans(&mut self, process: Id<ThreadGroup>, parent: Option<Id<ThreadGroup>>) {
        let group = self.groups[process].process_group;
        let ignored = if parent.is_none() {
            Some(process)
        } else {
            None
        };
        let Some(parent) = parent.or(self.groups[process].family.parent) else {
            return;
        };
        if self.groups[parent].process_group == group
            || self.session_of(parent) != self.session_of(process)
            || !self.is_orphaned(group, ignored)
        {
            return;
        }
        let members = self.members(group);
        if members
            .iter()
            .any(|member| self.groups[*member].stop.stopped_by.is_some())
        {
            for signal in [uapi::SIGHUP, uapi::SIGCONT] {
                for member in &members {
                    self.signal_thread_group(*member, SignalInfo::from_kernel(signal));
                }
            }
        }
    }

    fn leads_session(&self, process: Id<ThreadGroup>) -> bool {
        self.tasks.sessions[self.session_of(process)].leader == Some(process)
    }

    fn new_process_group(&mut self, pgid: u32, session: Id<Session>) -> Id<ProcessGroup> {
        self.tasks.pids.hold(pgid, Role::ProcessGroup);
        self.tasks
            .process_groups
            .insert(ProcessGroup { pgid, session })
    }

    /// `group`'s reference for the new member is the caller's to give.
    fn move_to_process_group(&mut self, process: Id<ThreadGroup>, group: Id<ProcessGroup>) {
        let old = core::mem::replace(&mut self.groups[process].process_group, group);
        let ProcessGroup { pgid, session } = self.tasks.process_groups[group];
        let sid = self.tasks.sessions[session].sid;
        let threads: Vec<TaskId> = self
            .living_threads(process)
            .chain([self.groups[process].leader])
            .collect();
        for thread in threads {
            let record = &mut self.tasks[thread].record;
            (record.pgid, record.sid) = (pgid, sid);
        }
        self.leave_process_group(old);
    }
}
