//! The end of threads and processes (Linux: kernel/exit.c).
//!
//! A process that ends gives up its memory, files and directory at once; what stays is its
//! record, a zombie, until its parent has read the exit status in `wait`. Since a task that
//! does not run is only data, all threads of a process can be ended in one go.

use crate::arena::Id;
use crate::kernel::Kernel;
use crate::process::signal::SignalInfo;
use crate::process::signal::action::SIG_IGN;
use crate::process::task::{Progress, TaskId};
use crate::process::thread_group::{ThreadGroup, adopt, children, disown};
use alloc::vec::Vec;
use forkvm_abi::boot::flag;
use forkvm_abi::inspect::ProcessState;
use linux_raw_sys::general as uapi;

/// Pid of the first program; pid 1 is the kernel's own.
pub const FIRST_PROGRAM: u32 = 2;

/// Wait status of a process that called exit(2) with `code`.
pub const fn exited_with(code: u32) -> u32 {
    (code & 0xff) << 8
}

/// Wait status of a process that a signal has ended. The core-dump flag is never set: none is written.
pub const fn killed_by(signal: u32) -> u32 {
    signal & 0x7f
}

impl Kernel {
    /// exit_group(2), and death by signal: ends the caller's process with all its threads.
    pub fn exit_process(&mut self, caller: TaskId, status: u32) {
        let group = self.tasks[caller].group;
        let status = *self.groups[group].exit_status.get_or_insert(status);
        self.end_other_threads(caller, status);
        self.end_thread(caller, status);
    }

    /// Ends all threads of the caller's process but the caller (exit_group, execve).
    pub fn end_other_threads(&mut self, caller: TaskId, status: u32) {
        let group = self.tasks[caller].group;
        if self.groups[group].others.is_empty() {
            return;
        }
        let others: Vec<TaskId> = self
            .living_threads(group)
            .filter(|thread| *thread != caller)
            .collect();
        for thread in others {
            self.scheduler.remove(thread);
            self.end_thread(thread, status);
        }
    }

    /// exit(2): ends one thread; with the last one, the process. `task` is not in the run queue.
    pub fn end_thread(&mut self, task: TaskId, status: u32) {
        let group = self.tasks[task].group;
        self.scheduler.clear_deadline(task);
        let used = self.usage_of_task(task);
        self.groups[group].usage.add(used);
        self.release_memory(task);
        self.release_files(task);
        let ended = &mut self.tasks[task];
        ended.set_state(ProcessState::Zombie);
        ended.record.exit_status = status;
        ended.record.wait_channel = 0;
        ended.retry = false;

        if !self.is_leader(task) {
            self.groups[group].others.retain(|other| *other != task);
            self.tasks.remove(task);
        }
        let heir = self.living_threads(group).next();
        match heir {
            Some(heir) => self.hand_children_to_thread(group, task, heir),
            None => self.end_process(group),
        }
    }

    /// Lets go of the address space; with its last user it is gone. Also what execve does to the old one.
    pub fn release_memory(&mut self, task: TaskId) {
        self.leave_futexes(task);
        self.release_vfork_parent(task);
        let released = &mut self.tasks[task];
        released.record.cr3 = 0;
        released.record.first_vma = 0;
        let Some(space) = released.space.take() else {
            return;
        };
        if let Some(space) = self.spaces.release(space) {
            space.destroy(&mut self.frames);
        }
    }

    /// The vfork parent, if one waits for this task, may go on: its memory is its own again.
    pub fn release_vfork_parent(&mut self, task: TaskId) {
        let Some(parent) = self.tasks[task].vfork_parent.take() else {
            return;
        };
        let pid = self.tasks[task].record.pid;
        // The parent may be gone, or its slot someone else's, if it was killed while it waited.
        if let Some(waiting) = self.tasks.get_mut(parent)
            && waiting.progress == Progress::Vfork(pid)
        {
            waiting.progress = Progress::Done(u64::from(pid));
            self.wake(parent);
        }
    }

    /// Whether the VM's work is done: the first program has ended, and nobody else can still write to the host.
    pub fn finished(&self) -> bool {
        self.first_exit.is_some()
            && (self.boot.flags & flag::EXIT_WITH_FIRST != 0 || !self.fs.output_is_held())
    }

    fn release_files(&mut self, task: TaskId) {
        let released = &mut self.tasks[task];
        let (files, context, handlers) = (
            released.files.take(),
            released.context.take(),
            released.handlers.take(),
        );
        self.fs.abandon_opening(task);
        if let Some(files) = files {
            self.fs.release_table(files);
            self.deliver_wakeups();
        }
        if let Some(context) = context {
            self.fs.release_context(context);
        }
        self.fs.give_back_frames(&mut self.frames);
        if let Some(handlers) = handlers {
            drop(self.handlers.release(handlers));
        }
    }

    /// The last thread is gone: the process becomes a zombie, or is reaped at once if nobody will wait for it.
    fn end_process(&mut self, group: Id<ThreadGroup>) {
        let (leader, tgid) = (self.groups[group].leader, self.groups[group].tgid);
        if let Some(status) = self.groups[group].exit_status {
            self.tasks[leader].record.exit_status = status;
        }
        if tgid == FIRST_PROGRAM && self.first_exit.is_none() {
            self.first_exit = Some(self.tasks[leader].record.exit_status);
        }
        self.frames.counters.exits += 1;

        self.reparent_children(group);
        self.end_session_of(group);
        self.hang_up_orphans(group, None);
        if self.announce_end(group) {
            self.reap(group);
        }
    }

    /// Tells the parent that a child has ended. Whether the child is to be reaped now, unseen.
    fn announce_end(&mut self, group: Id<ThreadGroup>) -> bool {
        let Some(parent) = self.groups[group].family.parent else {
            return true;
        };
        if Some(parent) == self.tasks.init {
            return true;
        }
        let (signal, tgid) = (self.groups[group].exit_signal, self.groups[group].tgid);
        let Some(handlers) = self.handlers_of(parent) else {
            return true;
        };
        let unseen = signal == uapi::SIGCHLD && self.handlers[handlers].discards_children();
        if signal != 0
            && !(signal == uapi::SIGCHLD && self.handlers[handlers].get(signal).handler == SIG_IGN)
        {
            let status = self.tasks[self.groups[group].leader].record.exit_status;
            let (code, value) = child_code(status);
            self.signal_thread_group(
                parent,
                SignalInfo {
                    signal,
                    code,
                    pid: tgid,
                    value: u64::from(value),
                },
            );
        }
        self.wake_child_waiters(parent);
        unseen
    }

    /// Removes the last trace of a zombie: record, pid, places in family and process group.
    pub fn reap(&mut self, group: Id<ThreadGroup>) {
        disown(&mut self.groups, group);
        let Some(group) = self.groups.release(group) else {
            return;
        };
        self.tasks.remove(group.leader);
        self.leave_process_group(group.process_group);
    }

    /// A thread has ended and others of its process live: its children are theirs now.
    fn hand_children_to_thread(&mut self, group: Id<ThreadGroup>, ended: TaskId, heir: TaskId) {
        let own: Vec<_> = children(&self.groups, group)
            .filter(|child| self.groups[*child].family.parent_thread == ended)
            .collect();
        for child in own {
            self.groups[child].family.parent_thread = heir;
            self.signal_parent_death(child);
        }
    }

    /// The children of a process that ends go to its nearest ancestor that is a subreaper, else to pid 1.
    fn reparent_children(&mut self, group: Id<ThreadGroup>) {
        let mut child = children(&self.groups, group).next();
        if child.is_none() {
            return;
        }
        let Some(reaper) = self.reaper_for(group) else {
            return;
        };
        let thread = self
            .living_threads(reaper)
            .next()
            .unwrap_or(self.groups[reaper].leader);
        while let Some(orphan) = child {
            disown(&mut self.groups, orphan);
            adopt(&mut self.groups, reaper, thread, orphan);
            self.set_parent_id(orphan, self.groups[reaper].tgid);
            self.groups[orphan].exit_signal = uapi::SIGCHLD;
            self.signal_parent_death(orphan);
            self.hang_up_orphans(orphan, Some(group));
            if self.is_zombie(orphan) && self.announce_end(orphan) {
                self.reap(orphan);
            }
            child = children(&self.groups, group).next();
        }
    }

    /// prctl(2), PR_SET_CHILD_SUBREAPER: the nearest living ancestor that asked for orphans; else pid 1.
    fn reaper_for(&self, group: Id<ThreadGroup>) -> Option<Id<ThreadGroup>> {
        core::iter::successors(self.groups[group].family.parent, |ancestor| {
            self.groups[*ancestor].family.parent
        })
        .find(|ancestor| self.groups[*ancestor].is_subreaper && !self.is_zombie(*ancestor))
        .or(self.tasks.init)
    }

    /// prctl(2), PR_SET_PDEATHSIG: the thread that forked a child has ended.
    fn signal_parent_death(&mut self, child: Id<ThreadGroup>) {
        let threads: Vec<TaskId> = self.living_threads(child).collect();
        for thread in threads {
            let signal = self.tasks[thread].parent_death_signal;
            if signal != 0 {
                self.signal_thread_group(
                    child,
                    SignalInfo::from_process(signal, self.groups[child].tgid),
                );
            }
        }
    }

    fn set_parent_id(&mut self, group: Id<ThreadGroup>, ppid: u32) {
        let threads: Vec<TaskId> = self
            .living_threads(group)
            .chain([self.groups[group].leader])
            .collect();
        for thread in threads {
            self.tasks[thread].record.ppid = ppid;
        }
    }

    /// The session has lost its leader, if this was it.
    fn end_session_of(&mut self, group: Id<ThreadGroup>) {
        let session = self.session_of(group);
        if self.tasks.sessions[session].leader == Some(group) {
            self.tasks.sessions[session].leader = None;
        }
    }
}

/// si_code and si_status for a wait status.
pub const fn child_code(status: u32) -> (i32, u32) {
    if status & 0x7f == 0 {
        (uapi::CLD_EXITED.cast_signed(), status >> 8 & 0xff)
    } else {
        (uapi::CLD_KILLED.cast_signed(), status & 0x7f)
    }
}
