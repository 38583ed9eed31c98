//! Process groups and sessions.

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::task::TaskId;
use crate::process::testing::{SCRATCH, failure};
use forkvm_abi::inspect::ProcessState;
use linux_raw_sys::general::*;

const FRAMES: u64 = 400;

fn fork(kernel: &mut Kernel, parent: TaskId) -> TaskId {
    let pid = kernel.must(parent, __NR_fork, &[]);
    kernel.task(pid)
}

fn negative(value: i64) -> u64 {
    value.cast_unsigned()
}

#[test]
fn setpgid_moves_oneself_and_ones_children() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    let (one, two) = (fork(&mut kernel, first), fork(&mut kernel, first));
    assert_eq!(kernel.must(one, __NR_getpgrp, &[]), 2);
    assert_eq!(
        kernel.call(first, __NR_setpgid, &[3, 0]),
        Some(0),
        "a child founds a group"
    );
    assert_eq!(
        kernel.call(first, __NR_setpgid, &[4, 3]),
        Some(0),
        "another joins it"
    );
    assert_eq!(kernel.must(first, __NR_getpgid, &[4]), 3);
    assert_eq!(
        kernel.call(two, __NR_setpgid, &[0, 2]),
        Some(0),
        "and goes back"
    );
    assert_eq!(kernel.tasks[two].record.pgid, 2);
}

#[test]
fn setpgid_refuses_strangers_leaders_and_other_sessions() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    let child = fork(&mut kernel, first);
    let grandchild = fork(&mut kernel, child);
    let setpgid = |kernel: &mut Kernel, caller, pid, pgid| {
        kernel.call(caller, __NR_setpgid, &[negative(pid), negative(pgid)])
    };
    assert_eq!(
        setpgid(&mut kernel, first, 0, 0),
        failure(Errno::EPERM),
        "a session leader"
    );
    assert_eq!(
        setpgid(&mut kernel, first, 99, 0),
        failure(Errno::ESRCH),
        "nobody"
    );
    assert_eq!(setpgid(&mut kernel, first, -3, 0), failure(Errno::ESRCH));
    assert_eq!(setpgid(&mut kernel, first, 3, -1), failure(Errno::EINVAL));
    assert_eq!(
        setpgid(&mut kernel, first, 4, 0),
        failure(Errno::ESRCH),
        "a grandchild"
    );
    assert_eq!(
        setpgid(&mut kernel, child, 0, 77),
        failure(Errno::EPERM),
        "no such group"
    );
    assert_eq!(kernel.must(grandchild, __NR_setsid, &[]), 4);
    assert_eq!(
        setpgid(&mut kernel, child, 4, 3),
        failure(Errno::EPERM),
        "in another session"
    );
    assert_eq!(
        setpgid(&mut kernel, child, 0, 4),
        failure(Errno::EPERM),
        "the group of another session"
    );
    kernel.user(child).write_bytes(SCRATCH, b"/prog\0").unwrap();
    assert_eq!(kernel.call(child, __NR_execve, &[SCRATCH, 0, 0]), Some(0));
    assert_eq!(
        setpgid(&mut kernel, first, 3, 3),
        failure(Errno::EACCES),
        "has called execve"
    );
}

#[test]
fn setsid_needs_a_number_that_is_no_group() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    assert_eq!(kernel.call(first, __NR_setsid, &[]), failure(Errno::EPERM));
    let child = fork(&mut kernel, first);
    assert_eq!(kernel.must(child, __NR_setsid, &[]), 3);
    let record = &kernel.tasks[child].record;
    assert_eq!((record.sid, record.pgid), (3, 3));
    assert_eq!(kernel.must(first, __NR_getsid, &[3]), 3);
    // A group that outlives its leader keeps its number from becoming a session's.
    let leader = fork(&mut kernel, first);
    kernel.must(leader, __NR_setpgid, &[0, 0]);
    assert_eq!(kernel.call(leader, __NR_setsid, &[]), failure(Errno::EPERM));
}

#[test]
fn a_group_is_signalled_together() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    let (one, two) = (fork(&mut kernel, first), fork(&mut kernel, first));
    kernel.must(first, __NR_setpgid, &[3, 3]);
    kernel.must(first, __NR_setpgid, &[4, 3]);
    assert_eq!(
        kernel.call(first, __NR_kill, &[negative(-3), u64::from(SIGTERM)]),
        Some(0)
    );
    assert_eq!(
        [one, two].map(|task| kernel.tasks[task].state()),
        [ProcessState::Zombie; 2]
    );
    assert_eq!(
        kernel.call(first, __NR_kill, &[negative(-9), 0]),
        failure(Errno::ESRCH)
    );
}

#[test]
fn a_stopped_group_that_is_orphaned_gets_hup_and_cont() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    let shell = fork(&mut kernel, first);
    let job = fork(&mut kernel, shell);
    kernel.must(job, __NR_setpgid, &[0, 0]);
    kernel.must(first, __NR_kill, &[4, u64::from(SIGSTOP)]);
    assert_eq!(kernel.tasks[job].state(), ProcessState::Stopped);
    assert_eq!(kernel.call(shell, __NR_exit_group, &[0]), None);
    assert!(
        kernel.tasks.by_pid(4).is_none(),
        "SIGHUP has ended it, and pid 1 has reaped it"
    );
}

#[test]
fn an_orphaned_group_is_not_stopped_by_the_terminal() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    let shell = fork(&mut kernel, first);
    let job = fork(&mut kernel, shell);
    kernel.must(job, __NR_setpgid, &[0, 0]);
    assert_eq!(kernel.call(shell, __NR_exit_group, &[0]), None);
    kernel.must(first, __NR_kill, &[4, u64::from(SIGTSTP)]);
    assert!(kernel.is_runnable(job));
    kernel.must(first, __NR_kill, &[4, u64::from(SIGSTOP)]);
    assert_eq!(kernel.tasks[job].state(), ProcessState::Stopped);
}
