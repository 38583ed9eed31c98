//! fork, vfork, clone, clone3.

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::clone::CloneRequest;
use crate::process::testing::{SCRATCH, failure};
use forkvm_abi::inspect::ProcessState;
use linux_raw_sys::general::{self as uapi, *};
use zerocopy::IntoBytes;

const FRAMES: u64 = 400;
/// What the test program has in its data.
const FILLER: u32 = 0x9090_9090;

#[test]
fn the_child_is_a_copy_that_sees_zero() {
    let mut kernel = Kernel::for_test(FRAMES);
    let parent = kernel.first();
    kernel.tasks[parent].record.regs.rbx = 77;
    let pid = kernel.must(parent, __NR_fork, &[]);
    assert_eq!(pid, 3);
    let child = kernel.task(pid);
    let (old, new) = (&kernel.tasks[parent].record, &kernel.tasks[child].record);
    assert_eq!(
        (new.regs.rax, new.regs.rbx, new.regs.rip),
        (0, 77, old.regs.rip)
    );
    assert_eq!(
        (new.pid, new.tgid, new.ppid, new.pgid, new.sid),
        (3, 3, 2, 2, 2)
    );
    assert_ne!(new.cr3, old.cr3);
    assert_eq!(kernel.frames.counters.forks, 1);
}

#[test]
fn memory_is_the_childs_own_after_fork_and_shared_after_vfork() {
    let mut kernel = Kernel::for_test(FRAMES);
    let parent = kernel.first();
    kernel.user(parent).write(SCRATCH, &1u32).unwrap();
    let forked = kernel.must(parent, __NR_fork, &[]);
    let forked = kernel.task(forked);
    kernel.user(forked).write(SCRATCH, &2u32).unwrap();
    assert_eq!(kernel.user(parent).read::<u32>(SCRATCH), Ok(1));

    assert_eq!(kernel.call(parent, __NR_vfork, &[]), None);
    assert_eq!(kernel.tasks[parent].state(), ProcessState::Uninterruptible);
    let child = kernel.task(4);
    kernel.user(child).write(SCRATCH, &3u32).unwrap();
    assert_eq!(kernel.user(parent).read::<u32>(SCRATCH), Ok(3));
    kernel.call(child, __NR_exit_group, &[0]);
    assert!(kernel.is_runnable(parent));
    assert_eq!(kernel.tasks[parent].record.regs.rax, 4);
}

#[test]
fn a_vfork_parent_goes_on_when_the_child_execs() {
    let mut kernel = Kernel::for_test(FRAMES);
    let parent = kernel.first();
    kernel
        .user(parent)
        .write_bytes(SCRATCH, b"/prog\0")
        .unwrap();
    assert_eq!(kernel.call(parent, __NR_vfork, &[]), None);
    let child = kernel.task(3);
    assert_eq!(kernel.call(child, __NR_execve, &[SCRATCH, 0, 0]), Some(0));
    assert_eq!(kernel.tasks[parent].record.regs.rax, 3);
    assert_ne!(
        kernel.tasks[child].record.cr3,
        kernel.tasks[parent].record.cr3
    );
}

#[test]
fn a_waiting_vfork_parent_dies_of_a_fatal_signal_only() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    let parent = kernel.must(first, __NR_fork, &[]);
    let parent = kernel.task(parent);
    assert_eq!(kernel.call(parent, __NR_vfork, &[]), None);
    kernel.must(first, __NR_kill, &[3, u64::from(SIGWINCH)]);
    assert_eq!(kernel.tasks[parent].state(), ProcessState::Uninterruptible);
    kernel.must(first, __NR_kill, &[3, u64::from(SIGTERM)]);
    assert_eq!(kernel.tasks[parent].state(), ProcessState::Zombie);
    // The child outlives the parent that waited for it.
    let child = kernel.task(4);
    assert_eq!(kernel.tasks[child].record.ppid, 1);
    kernel.call(child, __NR_exit_group, &[0]);
    assert!(kernel.tasks.by_pid(4).is_none());
}

#[test]
fn every_forbidden_combination_is_einval() {
    let forbidden: &[u64] = &[
        u64::from(CLONE_NEWNS | CLONE_FS),
        u64::from(CLONE_NEWUSER | CLONE_FS),
        u64::from(CLONE_THREAD),
        u64::from(CLONE_THREAD | CLONE_VM),
        u64::from(CLONE_SIGHAND),
        u64::from(CLONE_SIGHAND | CLONE_FILES | CLONE_FS),
        u64::from(CLONE_THREAD | CLONE_SIGHAND | CLONE_VM | CLONE_NEWPID),
        u64::from(CLONE_THREAD | CLONE_SIGHAND | CLONE_VM | CLONE_NEWUSER),
        u64::from(CLONE_SIGHAND | CLONE_VM) | CLONE_CLEAR_SIGHAND,
        u64::from(CLONE_PIDFD | CLONE_DETACHED),
        u64::from(CLONE_NEWNS),
        u64::from(CLONE_NEWCGROUP),
        u64::from(CLONE_NEWUTS),
        u64::from(CLONE_NEWIPC),
        u64::from(CLONE_NEWUSER),
        u64::from(CLONE_NEWPID),
        u64::from(CLONE_NEWNET),
        CLONE_INTO_CGROUP,
    ];
    for flags in forbidden {
        let request = CloneRequest {
            flags: *flags,
            ..CloneRequest::fork()
        };
        assert_eq!(request.check(), Err(Errno::EINVAL), "{flags:#x}");
    }
    let allowed = [
        0,
        CLONE_VM,
        CLONE_VM | CLONE_VFORK,
        CLONE_VM | CLONE_SIGHAND,
        CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM,
        CLONE_PARENT | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | CLONE_PARENT_SETTID,
        CLONE_DETACHED | CLONE_UNTRACED | CLONE_PTRACE,
    ];
    for flags in allowed {
        assert_eq!(
            CloneRequest {
                flags: u64::from(flags),
                ..CloneRequest::fork()
            }
            .check(),
            Ok(()),
            "{flags:#x}"
        );
    }
}

#[test]
fn the_process_limit_is_eagain_and_leaves_nothing_behind() {
    let mut kernel = Kernel::for_test(FRAMES);
    let parent = kernel.first();
    let limit = [3u64, 3];
    kernel.user(parent).write(SCRATCH, &limit).unwrap();
    kernel.must(parent, __NR_setrlimit, &[u64::from(RLIMIT_NPROC), SCRATCH]);
    kernel.must(parent, __NR_fork, &[]);
    kernel.must(parent, __NR_fork, &[]);
    let used = kernel.frames.counters.frames_used;
    assert_eq!(kernel.call(parent, __NR_fork, &[]), failure(Errno::EAGAIN));
    assert_eq!(kernel.frames.counters.frames_used, used);
    assert_eq!(kernel.tasks.len(), 4);
    assert!(!kernel.tasks.pids.is_used(5));
}

#[test]
fn without_memory_fork_is_enomem_and_leaves_nothing_behind() {
    let mut kernel = Kernel::for_test(FRAMES);
    let parent = kernel.first();
    let used = kernel.frames.counters.frames_used;
    let tables = (
        kernel.spaces.len(),
        kernel.groups.len(),
        kernel.handlers.len(),
        kernel.fs.tables.len(),
    );
    for nth in 1.. {
        if !kernel.frames.fail_allocation(nth) {
            break;
        }
        match kernel.call(parent, __NR_fork, &[]) {
            Some(pid) if pid < 1000 => break,
            other => assert_eq!(other, failure(Errno::ENOMEM)),
        }
        assert_eq!(
            kernel.frames.counters.frames_used, used,
            "allocation {nth} failed"
        );
        assert_eq!(
            (
                kernel.spaces.len(),
                kernel.groups.len(),
                kernel.handlers.len(),
                kernel.fs.tables.len()
            ),
            tables
        );
        assert_eq!(kernel.tasks.len(), 2);
    }
}

#[test]
fn thread_ids_are_written_where_clone_asks() {
    let mut kernel = Kernel::for_test(FRAMES);
    let parent = kernel.first();
    let flags = CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD;
    let pid = kernel.must(
        parent,
        __NR_clone,
        &[u64::from(flags), 0, SCRATCH, SCRATCH + 8, 0],
    );
    let child = kernel.task(pid);
    assert_eq!(
        kernel.user(parent).read::<[u32; 3]>(SCRATCH),
        Ok([3, FILLER, FILLER])
    );
    assert_eq!(kernel.user(child).read::<u32>(SCRATCH + 8), Ok(3));
    assert_eq!(kernel.tasks[child].clear_child_tid, SCRATCH + 8);
}

#[test]
fn the_shared_id_is_cleared_when_a_thread_ends() {
    let mut kernel = Kernel::for_test(FRAMES);
    let parent = kernel.first();
    let flags = CLONE_VM
        | CLONE_SIGHAND
        | CLONE_THREAD
        | CLONE_CHILD_SETTID
        | CLONE_CHILD_CLEARTID
        | CLONE_SETTLS;
    let tid = kernel.must(
        parent,
        __NR_clone,
        &[u64::from(flags), 0x1234_0000, 0, SCRATCH, 0x7000],
    );
    let thread = kernel.task(tid);
    let record = &kernel.tasks[thread].record;
    assert_eq!(
        (record.tgid, record.ppid, record.regs.rsp, record.fs_base),
        (2, 1, 0x1234_0000, 0x7000)
    );
    assert_eq!(kernel.user(parent).read::<u32>(SCRATCH), Ok(3));
    assert_eq!(kernel.call(thread, __NR_exit, &[0]), None);
    assert_eq!(kernel.user(parent).read::<u32>(SCRATCH), Ok(0));
    assert!(kernel.tasks.by_pid(3).is_none() && kernel.is_runnable(parent));
}

#[test]
fn clone_parent_makes_a_sibling() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    let child = kernel.must(first, __NR_fork, &[]);
    let child = kernel.task(child);
    let sibling = kernel.must(child, __NR_clone, &[u64::from(CLONE_PARENT | SIGCHLD), 0]);
    let sibling = kernel.task(sibling);
    assert_eq!(kernel.tasks[sibling].record.ppid, 2);
    assert_eq!(
        kernel.call(child, __NR_wait4, &[u64::MAX, 0, 0, 0]),
        failure(Errno::ECHILD)
    );
}

#[test]
fn clone3_checks_size_and_contents() {
    let mut kernel = Kernel::for_test(FRAMES);
    let parent = kernel.first();
    let with = |kernel: &mut Kernel, words: [u64; 12], size: u64| {
        kernel
            .user(parent)
            .write_bytes(SCRATCH, words.as_bytes())
            .unwrap();
        kernel.call(parent, uapi::__NR_clone3, &[SCRATCH, size])
    };
    let fork = [0, 0, 0, 0, u64::from(SIGCHLD), 0, 0, 0, 0, 0, 0, 0];
    let changed = |index: usize, value: u64| {
        let mut words = fork;
        words[index] = value;
        words
    };
    assert_eq!(with(&mut kernel, fork, 63), failure(Errno::EINVAL));
    assert_eq!(with(&mut kernel, fork, 5000), failure(Errno::E2BIG));
    assert_eq!(with(&mut kernel, changed(11, 1), 96), failure(Errno::E2BIG));
    for (index, value) in [
        (0, u64::from(SIGCHLD)),
        (0, u64::from(CLONE_DETACHED)),
        (0, 1 << 40),
        (0, u64::from(CLONE_PARENT)),
        (4, 65),
        (5, 0x1000),
        (6, 0x1000),
        (8, SCRATCH),
        (9, 1),
    ] {
        assert_eq!(
            with(&mut kernel, changed(index, value), 88),
            failure(Errno::EINVAL),
            "word {index} = {value:#x}"
        );
    }
    assert_eq!(with(&mut kernel, fork, 96), Some(3), "longer, but zero");
    assert_eq!(with(&mut kernel, fork, 64), Some(4), "the first version");

    // set_tid: a certain pid.
    kernel.user(parent).write(SCRATCH + 200, &1000u32).unwrap();
    let mut wanted = changed(8, SCRATCH + 200);
    wanted[9] = 1;
    assert_eq!(with(&mut kernel, wanted, 80), Some(1000));
    assert_eq!(with(&mut kernel, wanted, 80), failure(Errno::EEXIST));
}
