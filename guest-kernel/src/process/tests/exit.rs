//! exit, orphans, subreapers, death of parents.

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::task::TaskId;
use crate::process::testing::{SCRATCH, failure};
use forkvm_abi::inspect::ProcessState;
use linux_raw_sys::general::*;
use linux_raw_sys::prctl::*;

const FRAMES: u64 = 600;
const ANY: u64 = u64::MAX;

fn fork(kernel: &mut Kernel, parent: TaskId) -> TaskId {
    let pid = kernel.must(parent, __NR_fork, &[]);
    kernel.task(pid)
}

fn exit(kernel: &mut Kernel, task: TaskId) {
    assert_eq!(kernel.call(task, __NR_exit_group, &[0]), None);
}

#[test]
fn an_orphan_becomes_a_child_of_pid_1_and_is_reaped_by_it() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    let parent = fork(&mut kernel, first);
    let (living, zombie) = (fork(&mut kernel, parent), fork(&mut kernel, parent));
    exit(&mut kernel, zombie);
    exit(&mut kernel, parent);
    assert_eq!(kernel.must(living, __NR_getppid, &[]), 1);
    assert!(
        kernel.tasks.by_pid(5).is_none(),
        "pid 1 reaps zombies that it inherits"
    );
    exit(&mut kernel, living);
    assert!(kernel.tasks.by_pid(4).is_none());
    assert_eq!(kernel.call(first, __NR_wait4, &[ANY, 0, 0, 0]), Some(3));
    assert_eq!(
        kernel.call(first, __NR_wait4, &[ANY, 0, 0, 0]),
        failure(Errno::ECHILD)
    );
}

#[test]
fn the_nearest_subreaper_gets_the_orphan() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    kernel.must(first, __NR_prctl, &[u64::from(PR_SET_CHILD_SUBREAPER), 1]);
    let middle = fork(&mut kernel, first);
    let parent = fork(&mut kernel, middle);
    let child = fork(&mut kernel, parent);
    exit(&mut kernel, parent);
    assert_eq!(kernel.must(child, __NR_getppid, &[]), 2);
    exit(&mut kernel, child);
    assert_eq!(kernel.call(first, __NR_wait4, &[ANY, 0, 0, 0]), Some(5));
}

#[test]
fn ignored_sigchld_reaps_and_a_waiter_learns_that_nobody_is_left() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    kernel.user(first).write(SCRATCH, &[1u64, 0, 0, 0]).unwrap();
    kernel.must(
        first,
        __NR_rt_sigaction,
        &[u64::from(SIGCHLD), SCRATCH, 0, 8],
    );
    let child = fork(&mut kernel, first);
    assert_eq!(kernel.call(first, __NR_wait4, &[ANY, 0, 0, 0]), None);
    exit(&mut kernel, child);
    assert!(kernel.tasks.by_pid(3).is_none());
    assert_eq!(kernel.tasks[first].record.regs.rax, Errno::ECHILD.to_rax());
}

#[test]
fn the_end_of_the_parent_can_be_a_signal() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    let parent = fork(&mut kernel, first);
    let child = fork(&mut kernel, parent);
    kernel.must(
        child,
        __NR_prctl,
        &[u64::from(PR_SET_PDEATHSIG), u64::from(SIGKILL)],
    );
    exit(&mut kernel, parent);
    kernel.settle();
    assert!(
        kernel.tasks.by_pid(4).is_none(),
        "killed, and reaped by pid 1"
    );
}

#[test]
fn exit_group_ends_all_threads_and_the_leader_reports() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    let process = fork(&mut kernel, first);
    let flags = u64::from(CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_FILES | CLONE_FS);
    let thread = kernel.must(process, __NR_clone, &[flags, SCRATCH]);
    let thread = kernel.task(thread);
    // The leader goes first: the process lives on in its thread.
    assert_eq!(kernel.call(process, __NR_exit, &[1]), None);
    assert_eq!(kernel.tasks[process].state(), ProcessState::Zombie);
    assert_eq!(
        kernel.call(first, __NR_wait4, &[3, 0, u64::from(WNOHANG), 0]),
        Some(0)
    );
    assert_eq!(kernel.call(thread, __NR_exit_group, &[9]), None);
    assert!(kernel.tasks.by_pid(4).is_none());
    assert_eq!(kernel.call(first, __NR_wait4, &[3, SCRATCH, 0, 0]), Some(3));
    assert_eq!(kernel.user(first).read::<u32>(SCRATCH), Ok(0x900));
}

#[test]
fn the_first_programs_status_is_kept_and_nothing_remains() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    let child = fork(&mut kernel, first);
    assert!(!kernel.finished());
    assert_eq!(kernel.call(first, __NR_exit_group, &[3]), None);
    assert_eq!(kernel.first_exit, Some(0x300));
    assert!(!kernel.finished(), "the child still holds the output");
    exit(&mut kernel, child);
    assert!(kernel.finished());
    assert_eq!(kernel.frames.counters.frames_used, 0);
    assert_eq!(
        (kernel.spaces.len(), kernel.groups.len(), kernel.tasks.len()),
        (0, 1, 1)
    );
}

#[test]
fn a_deep_chain_of_processes_ends_from_the_top() {
    let mut kernel = Kernel::for_test(4000);
    let mut task = kernel.first();
    for _ in 0..100 {
        task = fork(&mut kernel, task);
    }
    for pid in 3..102 {
        let task = kernel.task(pid);
        exit(&mut kernel, task);
    }
    assert_eq!(kernel.must(task, __NR_getppid, &[]), 1);
    assert_eq!(
        kernel.tasks.len(),
        4,
        "pid 1, the first program, its zombie child, the last of the chain"
    );
}
