//! Waiting for children: wait4(2), waitid(2) (Linux: kernel/exit.c, do_wait).
//!
//! A call looks at all children it may wait for, oldest first, and takes the first that has
//! something to report. With none to report it parks on its process's list of waiters; any
//! change of a child wakes them all, and they look again from the start.

use crate::arena::Id;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::exit::child_code;
use crate::process::task::TaskId;
use crate::process::thread_group::{ThreadGroup, children};
use crate::process::usage::Usage;
use linux_raw_sys::general as uapi;

/// Which children are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Any.
    All,
    /// The one with this pid.
    Process(u32),
    /// Those in this process group.
    Group(u32),
}

/// A decoded wait call.
#[derive(Clone, Copy, Debug)]
pub struct WaitRequest {
    /// Which children.
    pub which: Which,
    /// WEXITED, WSTOPPED, WCONTINUED, WNOWAIT, WNOHANG, __WALL, __WCLONE, __WNOTHREAD.
    pub options: u32,
}

/// What a child had to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its pid.
    pub pid: u32,
    /// The status word of wait4.
    pub status: u32,
    /// si_code of waitid.
    pub code: i32,
    /// si_status of waitid.
    pub value: u32,
    /// What it has used, its own reaped children included.
    pub usage: Usage,
}

/// How a look at the children went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitOutcome {
    /// This one has reported; unless WNOWAIT was given the report is used up, and a zombie is gone.
    Report(Report),
    /// There are such children, but none has anything to report yet.
    NothingYet,
}

impl Kernel {
    /// Looks once. ECHILD if there is no child that the call could ever report.
    pub fn look_for_child(
        &mut self,
        caller: TaskId,
        request: &WaitRequest,
    ) -> Result<WaitOutcome, Errno> {
        let own = self.tasks[caller].group;
        let mut waitable = false;
        let mut next = match request.which {
            Which::Process(pid) => self
                .process_by_id(pid)
                .filter(|child| self.groups[*child].family.parent == Some(own)),
            _ => children(&self.groups, own).next(),
        };
        while let Some(child) = next {
            if self.is_meant(caller, child, request) {
                if let Some(report) = self.report_of(own, child, request.options) {
                    return Ok(WaitOutcome::Report(report));
                }
                // A zombie that WEXITED does not ask for will never have anything else to say.
                waitable |= !self.is_zombie(child) || request.options & uapi::WEXITED != 0;
            }
            next = match request.which {
                Which::Process(_) => None,
                _ => self.groups[child].family.next_sibling(),
            };
        }
        if waitable {
            Ok(WaitOutcome::NothingYet)
        } else {
            Err(Errno::ECHILD)
        }
    }

    /// The caller will sleep until a child changes.
    pub fn wait_for_child(&mut self, caller: TaskId) {
        let waiters = &mut self.group_mut(caller).child_waiters;
        if !waiters.contains(&caller) {
            waiters.push(caller);
        }
    }

    /// A child of `parent` has changed: its waiters look again.
    pub fn wake_child_waiters(&mut self, parent: Id<ThreadGroup>) {
        for waiter in core::mem::take(&mut self.groups[parent].child_waiters) {
            self.wake(waiter);
        }
    }

    fn is_meant(&self, caller: TaskId, child: Id<ThreadGroup>, request: &WaitRequest) -> bool {
        let process = &self.groups[child];
        let by_id = match request.which {
            Which::All => true,
            Which::Process(pid) => process.tgid == pid,
            Which::Group(pgid) => self.tasks.process_groups[process.process_group].pgid == pgid,
        };
        let by_thread =
            request.options & uapi::__WNOTHREAD == 0 || process.family.parent_thread == caller;
        let is_clone = process.exit_signal != uapi::SIGCHLD;
        let by_kind = request.options & uapi::__WALL != 0
            || is_clone == (request.options & uapi::__WCLONE != 0);
        by_id && by_thread && by_kind
    }

    /// What the child has to say that the options ask for; says it only once, unless WNOWAIT.
    fn report_of(
        &mut self,
        parent: Id<ThreadGroup>,
        child: Id<ThreadGroup>,
        options: u32,
    ) -> Option<Report> {
        let keep = options & uapi::WNOWAIT != 0;
        if self.is_zombie(child) {
            return (options & uapi::WEXITED != 0).then(|| self.report_end(parent, child, keep));
        }
        let stop = &mut self.groups[child].stop;
        if let Some(signal) = stop
            .stopped_by
            .filter(|_| stop.unreported_stop && options & uapi::WSTOPPED != 0)
        {
            stop.unreported_stop = keep;
            return Some(self.report_change(child, signal << 8 | 0x7f, uapi::CLD_STOPPED, signal));
        }
        if stop.unreported_continue && options & uapi::WCONTINUED != 0 {
            stop.unreported_continue = keep;
            return Some(self.report_change(child, 0xffff, uapi::CLD_CONTINUED, uapi::SIGCONT));
        }
        None
    }

    fn report_end(
        &mut self,
        parent: Id<ThreadGroup>,
        child: Id<ThreadGroup>,
        keep: bool,
    ) -> Report {
        let process = &self.groups[child];
        let status = self.tasks[process.leader].record.exit_status;
        let (code, value) = child_code(status);
        let mut usage = process.usage;
        usage.add(process.children_usage);
        let report = Report {
            pid: process.tgid,
            status,
            code,
            value,
            usage,
        };
        if !keep {
            self.groups[parent].children_usage.add(usage);
            self.reap(child);
        }
        report
    }

    fn report_change(&self, child: Id<ThreadGroup>, status: u32, code: u32, value: u32) -> Report {
        let usage = self.usage_of(child);
        Report {
            pid: self.groups[child].tgid,
            status,
            code: code.cast_signed(),
            value,
            usage,
        }
    }
}
