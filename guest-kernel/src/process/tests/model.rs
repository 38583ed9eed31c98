//! Random histories of fork, exit, kill, stop and wait against a model of process states small enough to be
//! seen to be right.

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::testing::{SCRATCH, failure};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use forkvm_abi::inspect::{ProcessRecord, ProcessState};
use linux_raw_sys::general::*;
use proptest::prelude::*;
use proptest::sample::Index;

const FRAMES: u64 = 3000;
const FIRST: u32 = 2;

#[derive(Clone, Debug)]
enum Step {
    Fork(Index),
    Exit(Index, u8),
    Kill(Index, bool),
    Stop(Index),
    Continue(Index),
    Wait(Index),
    SleepInWait(Index),
}

fn step() -> impl Strategy<Value = Step> {
    let who = any::<Index>;
    prop_oneof![
        4 => who().prop_map(Step::Fork),
        2 => (who(), any::<u8>()).prop_map(|(who, code)| Step::Exit(who, code)),
        1 => (who(), any::<bool>()).prop_map(|(who, hard)| Step::Kill(who, hard)),
        1 => who().prop_map(Step::Stop),
        1 => who().prop_map(Step::Continue),
        3 => who().prop_map(Step::Wait),
        1 => who().prop_map(Step::SleepInWait),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Waiting,
    Stopped { waiting: bool },
    Zombie(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    parent: u32,
    state: State,
    /// Wait status of a child that a sleeping wait has reported.
    told: Option<(u32, u32)>,
}

/// What processes there are and how they stand.
#[derive(Debug, Default)]
struct Model {
    processes: BTreeMap<u32, Process>,
    last: u32,
}

impl Model {
    fn fork(&mut self, parent: u32) -> u32 {
        self.last += 1;
        self.processes.insert(
            self.last,
            Process {
                parent,
                state: State::Running,
                told: None,
            },
        );
        self.last
    }

    fn end(&mut self, pid: u32, status: u32) {
        let parent = self.processes[&pid].parent;
        let orphans: Vec<u32> = self.children(pid);
        for orphan in orphans {
            self.processes.get_mut(&orphan).unwrap().parent = 1;
            if matches!(self.processes[&orphan].state, State::Zombie(_)) {
                self.processes.remove(&orphan);
            }
        }
        if parent == 1 {
            self.processes.remove(&pid);
            return;
        }
        self.processes.get_mut(&pid).unwrap().state = State::Zombie(status);
        if self.processes[&parent].state == State::Waiting {
            self.finish_wait(parent);
        }
    }

    /// A waiting process that can run: reaps if there is something to reap.
    fn finish_wait(&mut self, pid: u32) {
        if let Some(report) = self.reap(pid) {
            let waiter = self.processes.get_mut(&pid).unwrap();
            (waiter.state, waiter.told) = (State::Running, Some(report));
        }
    }

    fn children(&self, parent: u32) -> Vec<u32> {
        self.processes
            .iter()
            .filter(|(_, process)| process.parent == parent)
            .map(|(pid, _)| *pid)
            .collect()
    }

    /// The oldest zombie child and its status.
    fn reap(&mut self, parent: u32) -> Option<(u32, u32)> {
        let found =
            self.children(parent)
                .into_iter()
                .find_map(|pid| match self.processes[&pid].state {
                    State::Zombie(status) => Some((pid, status)),
                    _ => None,
                })?;
        self.processes.remove(&found.0);
        Some(found)
    }

    /// One of the processes in a state, if there is any.
    fn choose(&self, index: Index, fits: impl Fn(&Process) -> bool) -> Option<u32> {
        let candidates: Vec<u32> = self
            .processes
            .iter()
            .filter(|(_, process)| fits(process))
            .map(|(pid, _)| *pid)
            .collect();
        if candidates.is_empty() {
            None
        } else {
            Some(*index.get(&candidates))
        }
    }
}

/// The kernel's processes as the model has them, by way of the list that the VMM reads.
fn observe(kernel: &Kernel) -> BTreeMap<u32, (u32, ProcessState, u32)> {
    let mut seen = BTreeMap::new();
    let mut expected = kernel.tasks.first_record();
    for (_, task) in kernel.tasks.iter() {
        assert_eq!(
            core::ptr::from_ref(&task.record).addr() as u64,
            expected,
            "the list is in pid order"
        );
        expected = task.record.next;
        let ProcessRecord {
            pid,
            ppid,
            exit_status,
            ..
        } = task.record;
        if pid != 1 {
            seen.insert(pid, (ppid, task.state(), exit_status));
        }
    }
    assert_eq!(expected, 0);
    seen
}

fn expected(model: &Model) -> BTreeMap<u32, (u32, ProcessState, u32)> {
    let state = |process: &Process| match process.state {
        State::Running => (process.parent, ProcessState::Runnable, 0),
        State::Waiting => (process.parent, ProcessState::Sleeping, 0),
        State::Stopped { .. } => (process.parent, ProcessState::Stopped, 0),
        State::Zombie(status) => (process.parent, ProcessState::Zombie, status),
    };
    model
        .processes
        .iter()
        .map(|(pid, process)| (*pid, state(process)))
        .collect()
}

/// Does one step on both sides. Calls are made by processes that run; signals are sent by the first program.
fn apply(kernel: &mut Kernel, model: &mut Model, step: &Step) {
    let running = |process: &Process| process.state == State::Running;
    let alive =
        |process: &Process| !matches!(process.state, State::Zombie(_)) && process.parent != 1;
    match *step {
        Step::Fork(who) => {
            let Some(pid) = model.choose(who, running) else {
                return;
            };
            if model.processes.len() > 60 {
                return;
            }
            let child = kernel.must(kernel.task(pid.into()), __NR_fork, &[]);
            assert_eq!(child, u64::from(model.fork(pid)));
        }
        Step::Exit(who, code) => {
            let Some(pid) = model.choose(who, |process| running(process) && process.parent != 1)
            else {
                return;
            };
            assert_eq!(
                kernel.call(kernel.task(pid.into()), __NR_exit_group, &[code.into()]),
                None
            );
            model.end(pid, u32::from(code) << 8);
        }
        Step::Kill(who, hard) => {
            let Some(pid) = model.choose(who, alive) else {
                return;
            };
            let stopped = matches!(model.processes[&pid].state, State::Stopped { .. });
            let signal = if hard || stopped { SIGKILL } else { SIGTERM };
            send(kernel, model, pid, signal);
            model.end(pid, signal);
        }
        Step::Stop(who) => {
            let Some(pid) = model.choose(who, alive) else {
                return;
            };
            send(kernel, model, pid, SIGSTOP);
            let process = model.processes.get_mut(&pid).unwrap();
            process.state = match process.state {
                State::Waiting => State::Stopped { waiting: true },
                State::Running => State::Stopped { waiting: false },
                other => other,
            };
        }
        Step::Continue(who) => {
            let Some(pid) = model.choose(who, |process| {
                matches!(process.state, State::Stopped { .. })
            }) else {
                return;
            };
            send(kernel, model, pid, SIGCONT);
            let process = model.processes.get_mut(&pid).unwrap();
            let waiting = process.state == State::Stopped { waiting: true };
            process.state = if waiting {
                State::Waiting
            } else {
                State::Running
            };
            if waiting {
                model.finish_wait(pid);
            }
        }
        Step::Wait(who) => {
            let Some(pid) = model.choose(who, running) else {
                return;
            };
            wait(kernel, model, pid, WNOHANG);
        }
        Step::SleepInWait(who) => {
            let Some(pid) = model.choose(who, |process| running(process) && process.parent != 1)
            else {
                return;
            };
            wait(kernel, model, pid, 0);
        }
    }
}

fn send(kernel: &mut Kernel, model: &Model, pid: u32, signal: u32) {
    assert_eq!(model.processes[&FIRST].state, State::Running);
    kernel.must(kernel.first(), __NR_kill, &[pid.into(), signal.into()]);
}

fn wait(kernel: &mut Kernel, model: &mut Model, pid: u32, options: u32) {
    let task = kernel.task(pid.into());
    let result = kernel.call(task, __NR_wait4, &[u64::MAX, SCRATCH, options.into(), 0]);
    let has_children = !model.children(pid).is_empty();
    match model.reap(pid) {
        Some((child, status)) => {
            assert_eq!(result, Some(child.into()));
            assert_eq!(kernel.user(task).read::<u32>(SCRATCH), Ok(status));
        }
        None if !has_children => assert_eq!(result, failure(Errno::ECHILD)),
        None if options == WNOHANG => assert_eq!(result, Some(0)),
        None => {
            assert_eq!(result, None);
            model.processes.get_mut(&pid).unwrap().state = State::Waiting;
        }
    }
}

/// What sleeping waits have brought, once their callers run again.
fn check_told(kernel: &mut Kernel, model: &mut Model) {
    for (pid, process) in &mut model.processes {
        if process.state == State::Running
            && let Some((child, status)) = process.told.take()
        {
            let task = kernel.task((*pid).into());
            assert_eq!(kernel.tasks[task].record.regs.rax, u64::from(child));
            assert_eq!(kernel.user(task).read::<u32>(SCRATCH), Ok(status));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn histories_agree_with_the_model(steps in prop::collection::vec(step(), 1..200)) {
        let mut kernel = Kernel::for_test(FRAMES);
        let mut model = Model { processes: BTreeMap::new(), last: FIRST - 1 };
        model.fork(1);
        for step in &steps {
            apply(&mut kernel, &mut model, step);
            check_told(&mut kernel, &mut model);
            prop_assert_eq!(observe(&kernel), expected(&model), "after {:?}", step);
        }

        // Whatever happened: when the last has gone, so has everything that they had.
        let first = kernel.first();
        kernel.call(first, __NR_kill, &[u64::MAX, SIGKILL.into()]);
        kernel.call(first, __NR_exit_group, &[0]);
        prop_assert_eq!(kernel.tasks.len(), 1);
        prop_assert_eq!((kernel.groups.len(), kernel.spaces.len(), kernel.handlers.len()), (1, 0, 0));
        prop_assert_eq!((kernel.fs.tables.len(), kernel.fs.contexts.len()), (0, 0));
        prop_assert_eq!((kernel.tasks.process_groups.len(), kernel.tasks.sessions.len()), (1, 1));
        prop_assert_eq!(kernel.frames.counters.frames_used, 0);
    }
}
