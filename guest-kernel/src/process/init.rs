//! The first two processes: pid 1, which is the kernel itself, and the first program, its child.

use crate::arch::FpuState;
use crate::errno::Errno;
use crate::fs::FsContext;
use crate::kernel::Kernel;
use crate::process::exec::{Arguments, ExecRequest, Source};
use crate::process::limits::Limits;
use crate::process::signal::SignalHandlers;
use crate::process::task::{Task, TaskId};
use crate::process::thread_group::{ThreadGroup, adopt};
use forkvm_abi::inspect::ProcessState;
use linux_raw_sys::general as uapi;

impl Kernel {
    /// pid 1: no program and no memory; it adopts orphans and reaps them at once, and nothing kills it.
    pub fn spawn_init(&mut self) {
        let task = self.spawn_leader();
        let init = &mut self.tasks[task];
        init.set_state(ProcessState::Sleeping);
        init.set_name(b"init");
        self.tasks.init = Some(init.group);
    }

    /// The first program, in a session of its own. ENOENT, EACCES, ENOEXEC and the like as execve(2).
    pub fn spawn_first(
        &mut self,
        path: &[u8],
        arguments: &[&[u8]],
        environment: &[&[u8]],
    ) -> Result<TaskId, Errno> {
        let task = self.spawn_leader();
        let init = self.tasks.init.expect("pid 1 was made first");
        let (init_task, own) = (self.groups[init].leader, self.tasks[task].group);
        adopt(&mut self.groups, init, init_task, own);
        let session = self.session_of(own);
        self.tasks.sessions[session].leader = Some(own);

        let first = &mut self.tasks[task];
        first.record.ppid = 1;
        first.files = Some(self.fs.first_table());
        first.context = Some(self.fs.contexts.insert(FsContext::default()));
        first.handlers = Some(self.handlers.insert(SignalHandlers::default()));

        let arguments = Arguments::new(Source::Kernel(arguments), Source::Kernel(environment));
        let inode = self.find_program(task, path)?;
        self.execute(
            task,
            ExecRequest {
                inode,
                name: path.into(),
                arguments,
            },
        )?;
        self.scheduler.enqueue(task);
        Ok(task)
    }

    /// A process with the next pid that leads its own group and session, and does not run yet.
    fn spawn_leader(&mut self) -> TaskId {
        let pid = self.tasks.pids.allocate().expect("the first pids are free");
        let process_group = self.found_session(pid);
        let limits = Limits::first(self.boot.max_processes);
        // Task and group refer to each other: the slot that the task gets is known once it is in the table.
        let group = self.groups.insert(ThreadGroup::new(
            pid,
            TaskId(0),
            process_group,
            limits,
            uapi::SIGCHLD,
        ));
        let mut task = Task::new(group, FpuState::new());
        let record = &mut task.record;
        (record.pid, record.tgid, record.pgid, record.sid) = (pid, pid, pid, pid);
        let task = self.tasks.insert(task);
        self.groups[group].leader = task;
        task
    }
}
