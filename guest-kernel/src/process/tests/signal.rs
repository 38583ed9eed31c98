//! Signals: sending, masks, default actions, handlers, waiting.

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::signal::SignalInfo;
use crate::process::task::TaskId;
use crate::process::testing::{SCRATCH, failure};
use forkvm_abi::inspect::ProcessState;
use linux_raw_sys::general::*;

const FRAMES: u64 = 500;
const HANDLER: u64 = 0x40_1100;
const RESTORER: u64 = 0x40_1200;
const ANY: u64 = u64::MAX;

fn fork(kernel: &mut Kernel, parent: TaskId) -> TaskId {
    let pid = kernel.must(parent, __NR_fork, &[]);
    kernel.task(pid)
}

fn number(signal: u32) -> u64 {
    u64::from(signal)
}

fn install(kernel: &mut Kernel, task: TaskId, signal: u32, handler: u64, flags: u32) {
    let action = [handler, u64::from(flags | SA_RESTORER), RESTORER, 0];
    kernel.user(task).write(SCRATCH, &action).unwrap();
    kernel.must(task, __NR_rt_sigaction, &[number(signal), SCRATCH, 0, 8]);
}

/// Gives the task a stack pointer in the middle of its stack, as a running program has.
fn run_for_a_while(kernel: &mut Kernel, task: TaskId) {
    kernel.tasks[task].record.regs.rsp -= 0x1000;
    kernel.tasks[task].record.regs.rip = 0x40_1042;
}

fn mask(kernel: &mut Kernel, task: TaskId, how: u32, set: u64) {
    kernel.user(task).write(SCRATCH, &set).unwrap();
    kernel.must(task, __NR_rt_sigprocmask, &[u64::from(how), SCRATCH, 0, 8]);
}

/// The task returns from its handler.
fn sigreturn(kernel: &mut Kernel, task: TaskId) -> Option<u64> {
    kernel.tasks[task].record.regs.rsp += 8;
    kernel.call(task, __NR_rt_sigreturn, &[])
}

#[test]
fn kill_checks_numbers_and_targets() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    for (args, result) in [
        ([2, 0], Some(0)),
        ([2, 65], failure(Errno::EINVAL)),
        ([99, 0], failure(Errno::ESRCH)),
        ([ANY, 0], failure(Errno::ESRCH)),
        ([1, 9], Some(0)),
    ] {
        assert_eq!(kernel.call(first, __NR_kill, &args), result, "{args:?}");
    }
    assert!(kernel.tasks.by_pid(1).is_some(), "pid 1 does not die");
    assert_eq!(
        kernel.call(first, __NR_tgkill, &[0, 2, 0]),
        failure(Errno::EINVAL)
    );
    assert_eq!(
        kernel.call(first, __NR_tgkill, &[3, 2, 0]),
        failure(Errno::ESRCH)
    );
    assert_eq!(kernel.call(first, __NR_tkill, &[2, 0]), Some(0));
    let child = fork(&mut kernel, first);
    kernel.must(child, __NR_setuid, &[1000]);
    assert_eq!(
        kernel.call(child, __NR_kill, &[2, 0]),
        failure(Errno::EPERM)
    );
}

#[test]
fn a_fatal_signal_ends_the_process_with_its_number() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    for signal in [SIGKILL, SIGSEGV, SIGALRM, 40] {
        let child = fork(&mut kernel, first);
        let pid = u64::from(kernel.tasks[child].record.pid);
        kernel.must(first, __NR_kill, &[pid, number(signal)]);
        assert_eq!(
            kernel.call(first, __NR_wait4, &[pid, SCRATCH, 0, 0]),
            Some(pid)
        );
        assert_eq!(kernel.user(first).read::<u32>(SCRATCH), Ok(signal));
    }
}

#[test]
fn blocked_signals_wait_and_ignored_ones_do_not() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    let child = fork(&mut kernel, first);
    mask(
        &mut kernel,
        child,
        SIG_BLOCK,
        1 << (SIGTERM - 1) | 1 << (SIGCHLD - 1) | 1 << (SIGKILL - 1),
    );
    kernel.must(first, __NR_kill, &[3, number(SIGTERM)]);
    kernel.must(first, __NR_kill, &[3, number(SIGWINCH)]);
    kernel.must(child, __NR_rt_sigpending, &[SCRATCH, 8]);
    assert_eq!(
        kernel.user(child).read::<u64>(SCRATCH),
        Ok(1 << (SIGTERM - 1))
    );
    assert_eq!(
        kernel.tasks[child].signals.mask & 1 << (SIGKILL - 1),
        0,
        "cannot be blocked"
    );
    // A disposition of "ignore" throws away what is pending.
    install(&mut kernel, child, SIGTERM, 1, 0);
    mask(&mut kernel, child, SIG_SETMASK, 0);
    assert!(kernel.is_runnable(child));
}

#[test]
fn a_handler_runs_and_returns_to_the_same_place() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    run_for_a_while(&mut kernel, first);
    install(&mut kernel, first, SIGUSR1, HANDLER, SA_SIGINFO);
    kernel.tasks[first].record.regs.rbx = 42;
    kernel.tasks[first].record.regs.rflags = 0x646;
    let before = kernel.tasks[first].record.regs;
    kernel.call(first, __NR_kill, &[2, number(SIGUSR1)]);
    // `kill` of oneself returns first: its 0 is in the frame.
    let regs = kernel.tasks[first].record.regs;
    assert_eq!(
        (regs.rip, regs.rdi, regs.rbx),
        (HANDLER, number(SIGUSR1), 42)
    );
    assert_eq!(
        (regs.rsp % 16, regs.rflags),
        (8, 0x246),
        "aligned as after a call; DF is clear"
    );
    assert!(regs.rsp < before.rsp - 128, "the red zone is left alone");
    assert_eq!(kernel.user(first).read::<u64>(regs.rsp), Ok(RESTORER));
    assert_eq!(
        kernel.user(first).read::<[u32; 5]>(regs.rsi),
        Ok([SIGUSR1, 0, 0, 0, 2]),
        "siginfo: from pid 2"
    );
    assert_eq!(kernel.tasks[first].signals.mask, 1 << (SIGUSR1 - 1));

    assert_eq!(sigreturn(&mut kernel, first), Some(0));
    let after = kernel.tasks[first].record.regs;
    assert_eq!(
        (after.rip, after.rsp, after.rbx, after.rflags),
        (before.rip, before.rsp, 42, 0x646)
    );
    assert_eq!(kernel.tasks[first].signals.mask, 0);
}

#[test]
fn sigreturn_keeps_privileges_out_of_the_registers() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    let child = fork(&mut kernel, first);
    run_for_a_while(&mut kernel, child);
    install(&mut kernel, child, SIGUSR1, HANDLER, 0);
    kernel.call(child, __NR_kill, &[3, number(SIGUSR1)]);
    let context = kernel.tasks[child].record.regs.rdx;
    // uc_mcontext starts 40 bytes in; rip is its word 16, rflags 17, the segments 18.
    kernel
        .user(child)
        .write(context + 40 + 17 * 8, &u64::MAX)
        .unwrap();
    kernel
        .user(child)
        .write(context + 40 + 18 * 8, &[0x10u16, 0, 0, 0x18])
        .unwrap();
    let frame = kernel.tasks[child].record.regs.rsp;
    sigreturn(&mut kernel, child);
    let regs = kernel.tasks[child].record.regs;
    assert_eq!((regs.cs, regs.ss, regs.rflags), (0x33, 0x2b, 0x0005_0fd7));

    kernel
        .user(child)
        .write(context + 40 + 16 * 8, &0xffff_8000_0000_0000u64)
        .unwrap();
    kernel.tasks[child].record.regs.rsp = frame;
    assert_eq!(
        sigreturn(&mut kernel, child),
        None,
        "a return into the kernel's half is death"
    );
    assert_eq!(kernel.tasks[child].record.exit_status, SIGSEGV);
}

#[test]
fn a_handler_without_a_stack_is_sigsegv() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    let child = fork(&mut kernel, first);
    install(&mut kernel, child, SIGUSR1, HANDLER, 0);
    kernel.tasks[child].record.regs.rsp = 0x100;
    kernel.call(child, __NR_kill, &[3, number(SIGUSR1)]);
    assert_eq!(kernel.tasks[child].record.exit_status, SIGSEGV);
}

#[test]
fn the_alternate_stack_is_used_on_request() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    run_for_a_while(&mut kernel, first);
    let stack = kernel.must(
        first,
        __NR_mmap,
        &[0, 0x4000, 3, u64::from(MAP_PRIVATE | MAP_ANONYMOUS), ANY, 0],
    );
    kernel.user(first).write(SCRATCH, &[stack, 0, 100]).unwrap();
    assert_eq!(
        kernel.call(first, __NR_sigaltstack, &[SCRATCH, 0]),
        failure(Errno::ENOMEM)
    );
    kernel
        .user(first)
        .write(SCRATCH, &[stack, 0, 0x4000])
        .unwrap();
    kernel.must(first, __NR_sigaltstack, &[SCRATCH, 0]);
    install(&mut kernel, first, SIGUSR1, HANDLER, SA_ONSTACK);
    kernel.call(first, __NR_kill, &[2, number(SIGUSR1)]);
    let rsp = kernel.tasks[first].record.regs.rsp;
    assert!((stack..stack + 0x4000).contains(&rsp));
    assert_eq!(
        kernel.call(first, __NR_sigaltstack, &[SCRATCH, 0]),
        failure(Errno::EPERM),
        "while on it"
    );
    kernel.must(first, __NR_sigaltstack, &[0, SCRATCH]);
    assert_eq!(
        kernel.user(first).read::<[u64; 3]>(SCRATCH),
        Ok([stack, u64::from(SS_ONSTACK), 0x4000])
    );
}

#[test]
fn resethand_and_nodefer() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    run_for_a_while(&mut kernel, first);
    install(
        &mut kernel,
        first,
        SIGUSR1,
        HANDLER,
        SA_RESETHAND | SA_NODEFER,
    );
    kernel.call(first, __NR_kill, &[2, number(SIGUSR1)]);
    assert_eq!(kernel.tasks[first].signals.mask, 0);
    let handlers = kernel.tasks[first].handlers.unwrap();
    assert_eq!(kernel.handlers[handlers].get(SIGUSR1).handler, 0);
}

#[test]
fn a_sleeping_call_fails_with_eintr_or_starts_again() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    let child = fork(&mut kernel, first);
    fork(&mut kernel, child);
    run_for_a_while(&mut kernel, child);
    for (flags, result, rip) in [
        (0, Errno::EINTR.to_rax(), 0x40_1042),
        (SA_RESTART, number(__NR_wait4), 0x40_1040),
    ] {
        install(&mut kernel, child, SIGUSR1, HANDLER, flags);
        assert_eq!(kernel.call(child, __NR_wait4, &[ANY, 0, 0, 0]), None);
        kernel.must(first, __NR_kill, &[3, number(SIGUSR1)]);
        assert_eq!(kernel.tasks[child].record.regs.rip, HANDLER);
        sigreturn(&mut kernel, child);
        let regs = kernel.tasks[child].record.regs;
        assert_eq!((regs.rax, regs.rip), (result, rip));
    }
}

#[test]
fn a_signal_without_a_handler_does_not_end_a_sleep() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    let child = fork(&mut kernel, first);
    assert_eq!(kernel.call(child, __NR_pause, &[]), None);
    for signal in [SIGWINCH, SIGSTOP, SIGCONT] {
        kernel.must(first, __NR_kill, &[3, number(signal)]);
    }
    assert_eq!(kernel.tasks[child].state(), ProcessState::Sleeping);
    kernel.must(first, __NR_kill, &[3, number(SIGSTOP)]);
    kernel.must(first, __NR_kill, &[3, number(SIGTERM)]);
    assert_eq!(
        kernel.tasks[child].state(),
        ProcessState::Stopped,
        "SIGTERM waits for SIGCONT"
    );
    kernel.must(first, __NR_kill, &[3, number(SIGCONT)]);
    assert_eq!(kernel.tasks[child].state(), ProcessState::Zombie);
}

#[test]
fn sigsuspend_takes_a_signal_under_its_own_mask() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    let child = fork(&mut kernel, first);
    run_for_a_while(&mut kernel, child);
    install(&mut kernel, child, SIGUSR1, HANDLER, SA_RESTART);
    mask(&mut kernel, child, SIG_BLOCK, 1 << (SIGUSR1 - 1));
    kernel.must(first, __NR_kill, &[3, number(SIGUSR1)]);
    kernel.user(child).write(SCRATCH, &0u64).unwrap();
    kernel.call(child, __NR_rt_sigsuspend, &[SCRATCH, 8]);
    assert_eq!(kernel.tasks[child].record.regs.rip, HANDLER);
    assert_eq!(sigreturn(&mut kernel, child), Some(Errno::EINTR.to_rax()));
    assert_eq!(
        kernel.tasks[child].signals.mask,
        1 << (SIGUSR1 - 1),
        "the old mask is back"
    );
}

#[test]
fn sigtimedwait_takes_a_blocked_signal_or_times_out() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    let child = fork(&mut kernel, first);
    mask(&mut kernel, child, SIG_BLOCK, 1 << (SIGUSR1 - 1));
    kernel
        .user(child)
        .write(SCRATCH, &[1u64 << (SIGUSR1 - 1), 0, 0])
        .unwrap();
    assert_eq!(
        kernel.call(child, __NR_rt_sigtimedwait, &[SCRATCH, 0, SCRATCH + 8, 8]),
        failure(Errno::EAGAIN)
    );
    assert_eq!(
        kernel.call(child, __NR_rt_sigtimedwait, &[SCRATCH, SCRATCH + 64, 0, 8]),
        None
    );
    kernel.must(first, __NR_kill, &[3, number(SIGUSR1)]);
    assert_eq!(kernel.tasks[child].record.regs.rax, number(SIGUSR1));
    assert_eq!(
        kernel.user(child).read::<[u32; 5]>(SCRATCH + 64),
        Ok([SIGUSR1, 0, 0, 0, 2])
    );
    assert_eq!(kernel.tasks[child].signals.mask, 1 << (SIGUSR1 - 1));
}

#[test]
fn a_fault_cannot_be_ignored() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    let child = fork(&mut kernel, first);
    install(&mut kernel, child, SIGSEGV, 1, 0);
    kernel.force_signal(
        child,
        SignalInfo {
            signal: SIGSEGV,
            code: 1,
            pid: 0,
            value: 0x123,
        },
    );
    kernel.settle();
    assert_eq!(kernel.tasks[child].record.exit_status, SIGSEGV);
}

#[test]
fn a_fault_handler_learns_the_address() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    run_for_a_while(&mut kernel, first);
    install(&mut kernel, first, SIGSEGV, HANDLER, SA_SIGINFO);
    kernel.force_signal(
        first,
        SignalInfo {
            signal: SIGSEGV,
            code: 1,
            pid: 0,
            value: 0x123,
        },
    );
    kernel.settle();
    let regs = kernel.tasks[first].record.regs;
    assert_eq!(regs.rip, HANDLER);
    assert_eq!(
        kernel.user(first).read::<[u64; 3]>(regs.rsi),
        Ok([number(SIGSEGV), 1, 0x123])
    );
}

#[test]
fn sigchld_reaches_the_parents_handler() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    run_for_a_while(&mut kernel, first);
    install(&mut kernel, first, SIGCHLD, HANDLER, SA_SIGINFO);
    let child = fork(&mut kernel, first);
    assert_eq!(kernel.call(child, __NR_exit_group, &[7]), None);
    let regs = kernel.tasks[first].record.regs;
    assert_eq!((regs.rip, regs.rdi), (HANDLER, number(SIGCHLD)));
    assert_eq!(
        kernel.user(first).read::<[u32; 7]>(regs.rsi),
        Ok([SIGCHLD, 0, CLD_EXITED, 0, 3, 0, 7])
    );
}

#[test]
fn a_process_takes_its_signal_in_a_thread_that_does_not_block_it() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    let flags = u64::from(CLONE_VM | CLONE_SIGHAND | CLONE_THREAD);
    install(&mut kernel, first, SIGUSR1, HANDLER, 0);
    let stack = kernel.tasks[first].record.regs.rsp - 0x2000;
    let thread = kernel.must(first, __NR_clone, &[flags, stack]);
    let thread = kernel.task(thread);
    mask(&mut kernel, first, SIG_BLOCK, 1 << (SIGUSR1 - 1));
    kernel.must(first, __NR_kill, &[2, number(SIGUSR1)]);
    assert_ne!(kernel.tasks[first].record.regs.rip, HANDLER);
    assert_eq!(kernel.tasks[thread].record.regs.rip, HANDLER);
}
