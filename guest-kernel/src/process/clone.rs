//! fork(2), vfork(2), clone(2), clone3(2): one function, an inheritance list
//! (Linux: kernel/fork.c, copy_process).

use crate::arena::Id;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::pid::Role;
use crate::process::signal::AlternateStack;
use crate::process::task::{MAX_TASKS, Progress, Task, TaskId};
use crate::process::thread_group::{ThreadGroup, adopt};
use forkvm_abi::layout::USER_END;
use linux_raw_sys::general as uapi;

/// What is asked for, whichever call asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloneRequest {
    /// CLONE_ bits, the exit signal not among them.
    pub flags: u64,
    /// Signal to the parent when the child ends; 0 for none.
    pub exit_signal: u32,
    /// The child's stack pointer; 0: the parent's.
    pub stack: u64,
    /// FS.base for CLONE_SETTLS.
    pub tls: u64,
    /// Where CLONE_PARENT_SETTID writes.
    pub parent_tid: u64,
    /// Where CLONE_CHILD_SETTID writes and CLONE_CHILD_CLEARTID clears.
    pub child_tid: u64,
    /// The pid the child shall have (clone3's set_tid).
    pub wanted_pid: Option<u32>,
}

/// Namespaces: there is only one of each.
const NAMESPACES: u64 = (uapi::CLONE_NEWNS
    | uapi::CLONE_NEWCGROUP
    | uapi::CLONE_NEWUTS
    | uapi::CLONE_NEWIPC
    | uapi::CLONE_NEWUSER
    | uapi::CLONE_NEWPID
    | uapi::CLONE_NEWNET) as u64;

/// Frames that fork leaves to those who live already: a parent that has just been refused another child
/// still has to write to its own pages.
const FRAMES_FOR_THE_LIVING: u64 = 128;

impl CloneRequest {
    /// fork(2).
    pub fn fork() -> Self {
        Self {
            exit_signal: uapi::SIGCHLD,
            ..Self::default()
        }
    }

    /// vfork(2).
    pub fn vfork() -> Self {
        Self {
            flags: u64::from(uapi::CLONE_VFORK | uapi::CLONE_VM),
            ..Self::fork()
        }
    }

    /// Whether a CLONE_ bit is set.
    pub fn has(&self, flag: u32) -> bool {
        self.flags & u64::from(flag) != 0
    }

    /// EINVAL for combinations that make no sense or are not offered (clone(2), ERRORS).
    pub fn check(&self) -> Result<(), Errno> {
        let both = |one, two| self.has(one) && self.has(two);
        let forbidden = both(uapi::CLONE_NEWNS, uapi::CLONE_FS)
            || both(uapi::CLONE_NEWUSER, uapi::CLONE_FS)
            || (self.has(uapi::CLONE_THREAD) && !self.has(uapi::CLONE_SIGHAND))
            || (self.has(uapi::CLONE_SIGHAND) && !self.has(uapi::CLONE_VM))
            || (self.has(uapi::CLONE_THREAD)
                && self.flags & u64::from(uapi::CLONE_NEWUSER | uapi::CLONE_NEWPID) != 0)
            || (self.has(uapi::CLONE_SIGHAND) && self.flags & uapi::CLONE_CLEAR_SIGHAND != 0)
            || both(uapi::CLONE_PIDFD, uapi::CLONE_DETACHED)
            || self.has(uapi::CLONE_PIDFD)
            || self.flags & (NAMESPACES | uapi::CLONE_INTO_CGROUP) != 0;
        if forbidden {
            Err(Errno::EINVAL)
        } else {
            Ok(())
        }
    }
}

impl Kernel {
    /// Makes a child of `parent`'s task and lets it run. EINVAL, EAGAIN (no pid, RLIMIT_NPROC), ENOMEM, EPERM,
    /// EEXIST, EFAULT as clone(2); on failure nothing is left behind.
    pub fn clone_task(&mut self, parent: TaskId, request: &CloneRequest) -> Result<TaskId, Errno> {
        request.check()?;
        self.check_room(parent)?;
        let tls_is_canonical = !request.has(uapi::CLONE_SETTLS) || request.tls < USER_END;
        if !tls_is_canonical {
            return Err(Errno::EPERM);
        }

        // Identity: what can fail for want of a number comes first.
        let pid = self.take_pid(request)?;
        let fpu = self.tasks[parent].fpu.fork();
        let mut child = Task::new(self.tasks[parent].group, fpu);
        child.record.pid = pid;
        self.inherit_identity(parent, &mut child);

        // Memory: the other thing that can fail. From here on the child is complete.
        if let Err(errno) = self.inherit_memory(parent, &mut child, request) {
            self.tasks.pids.release(pid, Role::Task);
            return Err(errno);
        }
        self.inherit_files(parent, &mut child, request);
        self.inherit_signals(parent, &mut child, request);
        self.inherit_registers(parent, &mut child, request);
        let child = self.tasks.insert(child);
        self.join_family(parent, child, request);

        self.write_thread_ids(parent, child, request);
        self.count(request);
        self.scheduler.enqueue(child);
        Ok(child)
    }

    /// fork and vfork as system calls make them: returns the child's pid, or parks a vfork parent.
    pub fn start_vfork_wait(&mut self, parent: TaskId, child: TaskId) {
        let pid = self.tasks[child].record.pid;
        self.tasks[child].vfork_parent = Some(parent);
        self.tasks[parent].progress = Progress::Vfork(pid);
    }

    /// RLIMIT_NPROC counts all tasks but pid 1: there is one user. (Linux exempts root; a guest whose only user
    /// is root needs the bound all the same.)
    fn check_room(&self, parent: TaskId) -> Result<(), Errno> {
        let limit = self.group(parent).limits.soft(uapi::RLIMIT_NPROC);
        let tasks = self.tasks.len();
        let full = tasks as u64 > limit || tasks >= MAX_TASKS;
        if full {
            Err(Errno::EAGAIN)
        } else if self.frames.available() < FRAMES_FOR_THE_LIVING {
            Err(Errno::ENOMEM)
        } else {
            Ok(())
        }
    }

    fn take_pid(&mut self, request: &CloneRequest) -> Result<u32, Errno> {
        match request.wanted_pid {
            Some(pid) => self.tasks.pids.claim(pid).map(|()| pid),
            None => self.tasks.pids.allocate(),
        }
    }

    /// Name, ids and the like: copied.
    fn inherit_identity(&self, parent: TaskId, child: &mut Task) {
        let parent = &self.tasks[parent];
        child.record.comm = parent.record.comm;
        child.record.pgid = parent.record.pgid;
        child.record.sid = parent.record.sid;
        child.credentials = parent.credentials;
        child.personality = parent.personality;
        child.nice = parent.nice;
        child.no_new_privileges = parent.no_new_privileges;
    }

    /// Address space: shared with CLONE_VM, else copied on write. ENOMEM.
    fn inherit_memory(
        &mut self,
        parent: TaskId,
        child: &mut Task,
        request: &CloneRequest,
    ) -> Result<(), Errno> {
        let Some(space) = self.tasks[parent].space else {
            return Ok(());
        };
        let own = if request.has(uapi::CLONE_VM) {
            self.spaces.share(space)
        } else {
            let source = &mut self.spaces[space];
            source.expect_early_write(self.tasks[parent].record.regs.rsp.wrapping_sub(8));
            if request.has(uapi::CLONE_CHILD_SETTID) {
                source.expect_early_write(request.child_tid);
            }
            let copy = source.fork(&mut self.frames).map_err(|_| Errno::ENOMEM)?;
            self.spaces.insert(copy)
        };
        child.space = Some(own);
        child.record.cr3 = self.spaces[own].cr3();
        child.record.first_vma = self.spaces[own].first_vma();
        Ok(())
    }

    /// Descriptors (CLONE_FILES) and current directory (CLONE_FS): shared or copied.
    fn inherit_files(&mut self, parent: TaskId, child: &mut Task, request: &CloneRequest) {
        if let Some(table) = self.tasks[parent].files {
            let share = request.has(uapi::CLONE_FILES);
            child.files = Some(if share {
                self.fs.tables.share(table)
            } else {
                self.fs.copy_table(table)
            });
        }
        if let Some(context) = self.tasks[parent].context {
            child.context = Some(if request.has(uapi::CLONE_FS) {
                self.fs.contexts.share(context)
            } else {
                self.fs.copy_context(context)
            });
        }
    }

    /// Dispositions are shared (CLONE_SIGHAND) or copied, the mask is copied, nothing is pending, and the alternate
    /// stack stays only where the memory is the child's own or the parent waits (vfork).
    fn inherit_signals(&mut self, parent: TaskId, child: &mut Task, request: &CloneRequest) {
        if let Some(handlers) = self.tasks[parent].handlers {
            child.handlers = Some(if request.has(uapi::CLONE_SIGHAND) {
                self.handlers.share(handlers)
            } else if request.flags & uapi::CLONE_CLEAR_SIGHAND != 0 {
                let cleared = self.handlers[handlers].without_handlers();
                self.handlers.insert(cleared)
            } else {
                let copy = self.handlers[handlers].clone();
                self.handlers.insert(copy)
            });
        }
        let parent = &self.tasks[parent].signals;
        child.signals.mask = parent.mask;
        let own_stack = request.has(uapi::CLONE_VM) && !request.has(uapi::CLONE_VFORK);
        child.signals.alternate_stack = if own_stack {
            AlternateStack::default()
        } else {
            parent.alternate_stack
        };
    }

    /// Registers are copied; the child sees 0 where the parent sees its pid.
    fn inherit_registers(&mut self, parent: TaskId, child: &mut Task, request: &CloneRequest) {
        let parent = &mut self.tasks[parent];
        crate::arch::save_segment_bases(&mut parent.record);
        child.record.regs = parent.record.regs;
        child.record.vector = parent.record.vector;
        child.record.regs.rax = 0;
        if request.stack != 0 {
            child.record.regs.rsp = request.stack;
        }
        child.record.gs_base = parent.record.gs_base;
        child.record.fs_base = if request.has(uapi::CLONE_SETTLS) {
            request.tls
        } else {
            parent.record.fs_base
        };
    }

    /// A thread joins its maker's process; a new process becomes its maker's child, or its sibling (CLONE_PARENT).
    fn join_family(&mut self, parent: TaskId, child: TaskId, request: &CloneRequest) {
        let own = self.tasks[parent].group;
        if request.has(uapi::CLONE_THREAD) {
            let process = &mut self.groups[own];
            process.others.push(child);
            let (tgid, ppid) = (process.tgid, self.tasks[process.leader].record.ppid);
            let record = &mut self.tasks[child].record;
            (record.tgid, record.ppid) = (tgid, ppid);
            return;
        }
        let group = self.new_process(own, child, request);
        let siblings = self.groups[own]
            .family
            .parent
            .filter(|_| request.has(uapi::CLONE_PARENT));
        let (elder, thread) = match siblings {
            Some(grandparent) => (grandparent, self.groups[own].family.parent_thread),
            None => (own, parent),
        };
        adopt(&mut self.groups, elder, thread, group);
        let ppid = self.groups[elder].tgid;
        let task = &mut self.tasks[child];
        task.group = group;
        task.record.tgid = task.record.pid;
        task.record.ppid = ppid;
    }

    /// What the threads of the new process will share; all of it is copied from the old one or starts empty.
    fn new_process(
        &mut self,
        old: Id<ThreadGroup>,
        leader: TaskId,
        request: &CloneRequest,
    ) -> Id<ThreadGroup> {
        let tgid = self.tasks[leader].record.pid;
        let old = &self.groups[old];
        let process_group = self.tasks.process_groups.share(old.process_group);
        // A sibling reports to the same parent in the same way.
        let exit_signal = if request.has(uapi::CLONE_PARENT) {
            old.exit_signal
        } else {
            request.exit_signal
        };
        let mut process = ThreadGroup::new(tgid, leader, process_group, old.limits, exit_signal);
        process.dumpable = old.dumpable;
        process.exe = old.exe;
        self.groups.insert(process)
    }

    /// CLONE_PARENT_SETTID, CLONE_CHILD_SETTID, CLONE_CHILD_CLEARTID. Like Linux, a bad address is not reported.
    fn write_thread_ids(&mut self, parent: TaskId, child: TaskId, request: &CloneRequest) {
        let pid = self.tasks[child].record.pid;
        if request.has(uapi::CLONE_PARENT_SETTID) {
            let _ = self.user(parent).write(request.parent_tid, &pid);
        }
        if request.has(uapi::CLONE_CHILD_SETTID) {
            let _ = self.user(child).write(request.child_tid, &pid);
        }
        if request.has(uapi::CLONE_CHILD_CLEARTID) {
            self.tasks[child].clear_child_tid = request.child_tid;
        }
    }

    fn count(&mut self, request: &CloneRequest) {
        if !request.has(uapi::CLONE_THREAD) {
            self.frames.counters.forks += 1;
        }
        if request.has(uapi::CLONE_VFORK) {
            self.frames.counters.vforks += 1;
        }
    }
}
