//! wait4 and waitid.

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::task::TaskId;
use crate::process::testing::{SCRATCH, failure};
use forkvm_abi::inspect::ProcessState;
use linux_raw_sys::general::*;

const FRAMES: u64 = 400;
const ANY: u64 = -1i64 as u64;

fn fork(kernel: &mut Kernel, parent: TaskId) -> TaskId {
    let pid = kernel.must(parent, __NR_fork, &[]);
    kernel.task(pid)
}

fn exit(kernel: &mut Kernel, task: TaskId, code: u64) {
    assert_eq!(kernel.call(task, __NR_exit_group, &[code]), None);
}

fn status(kernel: &mut Kernel, task: TaskId) -> u32 {
    kernel.user(task).read(SCRATCH).unwrap()
}

#[test]
fn a_zombie_is_reported_once_and_then_gone() {
    let mut kernel = Kernel::for_test(FRAMES);
    let parent = kernel.first();
    let child = fork(&mut kernel, parent);
    exit(&mut kernel, child, 0x107);
    assert_eq!(kernel.tasks[child].state(), ProcessState::Zombie);
    assert_eq!(
        (kernel.tasks[child].record.cr3, kernel.tasks[child].space),
        (0, None)
    );
    assert_eq!(
        kernel.call(parent, __NR_wait4, &[ANY, SCRATCH, 0, 0]),
        Some(3)
    );
    assert_eq!(status(&mut kernel, parent), 0x0700);
    assert!(kernel.tasks.by_pid(3).is_none());
    assert_eq!(
        kernel.call(parent, __NR_wait4, &[ANY, SCRATCH, 0, 0]),
        failure(Errno::ECHILD)
    );
}

#[test]
fn without_a_zombie_the_caller_sleeps_until_there_is_one() {
    let mut kernel = Kernel::for_test(FRAMES);
    let parent = kernel.first();
    let child = fork(&mut kernel, parent);
    assert_eq!(
        kernel.call(parent, __NR_wait4, &[ANY, 0, u64::from(WNOHANG), 0]),
        Some(0)
    );
    assert_eq!(kernel.call(parent, __NR_wait4, &[ANY, SCRATCH, 0, 0]), None);
    assert_eq!(kernel.tasks[parent].state(), ProcessState::Sleeping);
    exit(&mut kernel, child, 5);
    assert!(kernel.is_runnable(parent));
    assert_eq!(kernel.tasks[parent].record.regs.rax, 3);
    assert_eq!(status(&mut kernel, parent), 0x500);
}

#[test]
fn only_the_children_that_are_meant_count() {
    let mut kernel = Kernel::for_test(FRAMES);
    let parent = kernel.first();
    let (one, two) = (fork(&mut kernel, parent), fork(&mut kernel, parent));
    let grandchild = fork(&mut kernel, one);
    kernel.must(parent, __NR_setpgid, &[4, 4]);
    exit(&mut kernel, two, 1);
    let no_hang = u64::from(WNOHANG);
    assert_eq!(
        kernel.call(parent, __NR_wait4, &[3, 0, no_hang, 0]),
        Some(0)
    );
    assert_eq!(
        kernel.call(parent, __NR_wait4, &[5, 0, no_hang, 0]),
        failure(Errno::ECHILD),
        "a grandchild"
    );
    assert_eq!(
        kernel.call(parent, __NR_wait4, &[99, 0, no_hang, 0]),
        failure(Errno::ECHILD),
        "nobody"
    );
    assert_eq!(
        kernel.call(parent, __NR_wait4, &[0, 0, no_hang, 0]),
        Some(0),
        "own group"
    );
    assert_eq!(
        kernel.call(parent, __NR_wait4, &[-4i64 as u64, 0, no_hang, 0]),
        Some(4),
        "group 4"
    );
    assert_eq!(
        kernel.call(parent, __NR_wait4, &[-4i64 as u64, 0, no_hang, 0]),
        failure(Errno::ECHILD)
    );
    exit(&mut kernel, grandchild, 0);
    assert_eq!(kernel.call(one, __NR_wait4, &[ANY, 0, 0, 0]), Some(5));
}

#[test]
fn children_are_reported_oldest_first() {
    let mut kernel = Kernel::for_test(FRAMES);
    let parent = kernel.first();
    let children: [TaskId; 3] = core::array::from_fn(|_| fork(&mut kernel, parent));
    for child in children.into_iter().rev() {
        exit(&mut kernel, child, 0);
    }
    let reaped: [Option<u64>; 3] =
        core::array::from_fn(|_| kernel.call(parent, __NR_wait4, &[ANY, 0, 0, 0]));
    assert_eq!(reaped, [Some(3), Some(4), Some(5)]);
}

#[test]
fn bad_options_and_ids_are_refused() {
    let mut kernel = Kernel::for_test(FRAMES);
    let parent = kernel.first();
    fork(&mut kernel, parent);
    for options in [WEXITED, WNOWAIT, 0x10, 0x8000] {
        assert_eq!(
            kernel.call(parent, __NR_wait4, &[ANY, 0, u64::from(options), 0]),
            failure(Errno::EINVAL)
        );
    }
    assert_eq!(
        kernel.call(parent, __NR_wait4, &[u64::from(i32::MIN as u32), 0, 0, 0]),
        failure(Errno::ESRCH)
    );
    let exited = u64::from(WEXITED | WNOHANG);
    for (kind, id, options, errno) in [
        (0, 0, u64::from(WNOHANG), Errno::EINVAL),
        (0, 0, exited | 0x10, Errno::EINVAL),
        (1, 0, exited, Errno::EINVAL),
        (1, -3, exited, Errno::EINVAL),
        (2, -1, exited, Errno::EINVAL),
        (3, -1, exited, Errno::EINVAL),
        (3, 0, exited, Errno::EBADF),
        (4, 0, exited, Errno::EINVAL),
    ] {
        let id: i64 = id;
        assert_eq!(
            kernel.call(parent, __NR_waitid, &[kind, id as u64, 0, options, 0]),
            failure(errno),
            "{kind} {id} {options:#x}"
        );
    }
}

#[test]
fn waitid_fills_siginfo_and_can_leave_the_zombie() {
    let mut kernel = Kernel::for_test(FRAMES);
    let parent = kernel.first();
    let child = fork(&mut kernel, parent);
    let options = u64::from(WEXITED | WNOHANG | WNOWAIT);
    kernel.user(parent).write(SCRATCH, &[!0u32; 7]).unwrap();
    assert_eq!(
        kernel.call(parent, __NR_waitid, &[0, 0, SCRATCH, options, 0]),
        Some(0)
    );
    assert_eq!(
        kernel.user(parent).read::<[u32; 7]>(SCRATCH),
        Ok([0; 7]),
        "nothing yet: pid 0"
    );
    kernel.must(parent, __NR_kill, &[3, u64::from(SIGTERM)]);
    assert_eq!(kernel.tasks[child].state(), ProcessState::Zombie);
    for _ in 0..2 {
        assert_eq!(
            kernel.call(parent, __NR_waitid, &[1, 3, SCRATCH, options, 0]),
            Some(0)
        );
        assert_eq!(
            kernel.user(parent).read::<[u32; 7]>(SCRATCH),
            Ok([SIGCHLD, 0, CLD_KILLED, 0, 3, 0, SIGTERM])
        );
    }
    assert_eq!(
        kernel.call(parent, __NR_wait4, &[3, SCRATCH, 0, 0]),
        Some(3)
    );
    assert_eq!(status(&mut kernel, parent), SIGTERM);
}

#[test]
fn stopping_and_continuing_are_reported_on_request() {
    let mut kernel = Kernel::for_test(FRAMES);
    let parent = kernel.first();
    let child = fork(&mut kernel, parent);
    let no_hang = u64::from(WNOHANG);
    let (stops, conts) = (
        no_hang | u64::from(WUNTRACED),
        no_hang | u64::from(WCONTINUED),
    );
    kernel.must(parent, __NR_kill, &[3, u64::from(SIGSTOP)]);
    assert_eq!(kernel.tasks[child].state(), ProcessState::Stopped);
    assert_eq!(
        kernel.call(parent, __NR_wait4, &[ANY, SCRATCH, no_hang, 0]),
        Some(0)
    );
    assert_eq!(
        kernel.call(parent, __NR_wait4, &[ANY, SCRATCH, stops, 0]),
        Some(3)
    );
    assert_eq!(status(&mut kernel, parent), SIGSTOP << 8 | 0x7f);
    assert_eq!(
        kernel.call(parent, __NR_wait4, &[ANY, SCRATCH, stops, 0]),
        Some(0),
        "told once"
    );
    kernel.must(parent, __NR_kill, &[3, u64::from(SIGCONT)]);
    assert!(kernel.is_runnable(child));
    assert_eq!(
        kernel.call(parent, __NR_wait4, &[ANY, SCRATCH, conts, 0]),
        Some(3)
    );
    assert_eq!(status(&mut kernel, parent), 0xffff);
    assert_eq!(
        kernel.call(parent, __NR_wait4, &[ANY, SCRATCH, conts, 0]),
        Some(0),
        "told once"
    );
}

#[test]
fn a_zombie_is_no_child_to_wait_for_without_wexited() {
    let mut kernel = Kernel::for_test(FRAMES);
    let parent = kernel.first();
    let child = fork(&mut kernel, parent);
    exit(&mut kernel, child, 0);
    assert_eq!(
        kernel.call(parent, __NR_waitid, &[0, 0, 0, u64::from(WSTOPPED), 0]),
        failure(Errno::ECHILD)
    );
}

#[test]
fn clone_children_need_wclone_or_wall() {
    let mut kernel = Kernel::for_test(FRAMES);
    let parent = kernel.first();
    let pid = kernel.must(parent, __NR_clone, &[u64::from(SIGUSR1), 0]);
    let child = kernel.task(pid);
    kernel.must(
        parent,
        __NR_rt_sigprocmask,
        &[u64::from(SIG_BLOCK), 0, 0, 8],
    );
    kernel.tasks[parent].signals.mask = 1 << (SIGUSR1 - 1);
    exit(&mut kernel, child, 0);
    assert_eq!(
        kernel.call(parent, __NR_wait4, &[ANY, 0, 0, 0]),
        failure(Errno::ECHILD)
    );
    assert_eq!(
        kernel.call(
            parent,
            __NR_waitid,
            &[0, 0, 0, u64::from(WEXITED | WNOWAIT | __WALL), 0]
        ),
        Some(0)
    );
    assert_eq!(
        kernel.call(parent, __NR_wait4, &[ANY, 0, u64::from(__WCLONE), 0]),
        Some(3)
    );
}

#[test]
fn usage_of_reaped_children_adds_up() {
    let mut kernel = Kernel::for_test(FRAMES);
    let parent = kernel.first();
    let child = fork(&mut kernel, parent);
    let grandchild = fork(&mut kernel, child);
    kernel.tasks[grandchild].record.user_ticks = 5_000;
    kernel.tasks[child].record.user_ticks = 2_000_000_000;
    exit(&mut kernel, grandchild, 0);
    assert_eq!(kernel.call(child, __NR_wait4, &[ANY, 0, 0, 0]), Some(4));
    exit(&mut kernel, child, 0);
    assert_eq!(
        kernel.call(parent, __NR_wait4, &[ANY, 0, 0, SCRATCH]),
        Some(3)
    );
    assert_eq!(
        kernel.user(parent).read::<[u64; 2]>(SCRATCH),
        Ok([2, 5]),
        "2 s and 5 us"
    );
    assert_eq!(kernel.children_ticks(parent).0, 2_000_005_000);
}

#[test]
fn another_threads_children_are_left_out_on_request() {
    let mut kernel = Kernel::for_test(FRAMES);
    let leader = kernel.first();
    let flags = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD;
    let thread = kernel.must(leader, __NR_clone, &[u64::from(flags), SCRATCH]);
    let thread = kernel.task(thread);
    let child = fork(&mut kernel, thread);
    exit(&mut kernel, child, 0);
    let own_only = u64::from(__WNOTHREAD | WNOHANG);
    assert_eq!(
        kernel.call(leader, __NR_wait4, &[ANY, 0, own_only, 0]),
        failure(Errno::ECHILD)
    );
    assert_eq!(kernel.call(leader, __NR_wait4, &[ANY, 0, 0, 0]), Some(4));
}
