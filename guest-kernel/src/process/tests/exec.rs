//! execve: what the new program finds, and what the old one keeps when it fails.

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::elf::tests::ordinary;
use crate::process::task::TaskId;
use crate::process::testing::{SCRATCH, failure};
use alloc::vec::Vec;
use forkvm_abi::layout::{USER_END, selector};
use linux_raw_sys::auxvec::*;
use linux_raw_sys::general::*;

const FRAMES: u64 = 4000;

/// Puts NULL-terminated string arrays and a path into the caller's memory; returns the arguments of execve.
fn arguments(
    kernel: &mut Kernel,
    task: TaskId,
    path: &str,
    argv: &[&str],
    envp: &[&str],
) -> [u64; 3] {
    let mut at = SCRATCH + 0x800;
    let mut put = |kernel: &mut Kernel, string: &str| {
        let start = at;
        kernel
            .user(task)
            .write_bytes(at, string.as_bytes())
            .unwrap();
        kernel
            .user(task)
            .write_bytes(at + string.len() as u64, &[0])
            .unwrap();
        at += string.len() as u64 + 1;
        start
    };
    let path = put(kernel, path);
    let lists = [(SCRATCH + 0x200, argv), (SCRATCH + 0x400, envp)].map(|(list, strings)| {
        for (index, string) in strings.iter().enumerate() {
            let pointer = put(kernel, string);
            kernel
                .user(task)
                .write(list + index as u64 * 8, &pointer)
                .unwrap();
        }
        kernel
            .user(task)
            .write(list + strings.len() as u64 * 8, &0u64)
            .unwrap();
        list
    });
    [path, lists[0], lists[1]]
}

fn execve(
    kernel: &mut Kernel,
    task: TaskId,
    path: &str,
    argv: &[&str],
    envp: &[&str],
) -> Option<u64> {
    let arguments = arguments(kernel, task, path, argv, envp);
    kernel.call(task, __NR_execve, &arguments)
}

fn word(kernel: &mut Kernel, task: TaskId, at: u64) -> u64 {
    kernel.user(task).read(at).unwrap()
}

fn string(kernel: &mut Kernel, task: TaskId, at: u64) -> Vec<u8> {
    kernel
        .user(task)
        .read_string(at, 1 << 18, Errno::E2BIG)
        .unwrap()
}

/// The strings that a list of pointers at `at` leads to, and the address behind its NULL.
fn strings(kernel: &mut Kernel, task: TaskId, mut at: u64) -> (Strings, u64) {
    let mut found = Vec::new();
    loop {
        let pointer = word(kernel, task, at);
        at += 8;
        if pointer == 0 {
            return (found, at);
        }
        found.push(string(kernel, task, pointer));
    }
}

type Strings = Vec<Vec<u8>>;

/// argv, envp and the auxiliary vector that the program finds at rsp.
fn initial_stack(kernel: &mut Kernel, task: TaskId) -> (Strings, Strings, Vec<(u64, u64)>) {
    let rsp = kernel.tasks[task].record.regs.rsp;
    assert_eq!(rsp % 16, 0);
    let argc = word(kernel, task, rsp);
    let (argv, at) = strings(kernel, task, rsp + 8);
    assert_eq!(argv.len() as u64, argc);
    let (envp, mut at) = strings(kernel, task, at);
    let mut auxiliary = Vec::new();
    loop {
        let entry = (word(kernel, task, at), word(kernel, task, at + 8));
        at += 16;
        auxiliary.push(entry);
        if entry.0 == u64::from(AT_NULL) {
            return (argv, envp, auxiliary);
        }
    }
}

#[test]
fn the_new_program_finds_its_strings_and_the_auxiliary_vector() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    assert_eq!(
        execve(
            &mut kernel,
            first,
            "/prog",
            &["name", "", "two words"],
            &["A=1", "B="]
        ),
        Some(0)
    );
    let regs = kernel.tasks[first].record.regs;
    assert_eq!(
        (regs.rip, regs.cs, regs.ss),
        (
            0x40_1000,
            u64::from(selector::USER_CS),
            u64::from(selector::USER_SS)
        )
    );
    assert_eq!(
        (regs.rax, regs.rbx, regs.rdi, regs.rflags),
        (0, 0, 0, 0x202)
    );
    let (argv, envp, auxiliary) = initial_stack(&mut kernel, first);
    assert_eq!(argv, [&b"name"[..], b"", b"two words"]);
    assert_eq!(envp, [b"A=1".to_vec(), b"B=".to_vec()]);

    let get = |kind: u32| {
        auxiliary
            .iter()
            .find(|entry| entry.0 == u64::from(kind))
            .map(|entry| entry.1)
    };
    assert_eq!(
        (get(AT_PHDR), get(AT_PHENT), get(AT_PHNUM)),
        (Some(0x40_0040), Some(56), Some(3))
    );
    assert_eq!(
        (get(AT_ENTRY), get(AT_BASE), get(AT_PAGESZ)),
        (Some(0x40_1000), Some(0), Some(4096))
    );
    assert_eq!(
        (get(AT_SECURE), get(AT_CLKTCK), get(AT_UID)),
        (Some(0), Some(100), Some(0))
    );
    assert_eq!(
        string(&mut kernel, first, get(AT_EXECFN).unwrap()),
        b"/prog"
    );
    assert_eq!(
        string(&mut kernel, first, get(AT_PLATFORM).unwrap()),
        b"x86_64"
    );
    let random: [u64; 2] = kernel.user(first).read(get(AT_RANDOM).unwrap()).unwrap();
    assert_ne!(random, [0, 0]);
    assert_eq!(word(&mut kernel, first, USER_END - 8), 0);
}

#[test]
fn text_and_data_come_from_the_file_and_bss_is_zero() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    assert_eq!(execve(&mut kernel, first, "/prog", &["x"], &[]), Some(0));
    let mut user = kernel.user(first);
    assert_eq!(user.read::<[u8; 4]>(0x40_0000), Ok(*b"\x7fELF"));
    assert_eq!(
        user.read::<[u8; 4]>(0x40_28fe),
        Ok([0x90, 0x90, 0, 0]),
        "data ends where bss begins"
    );
    assert_eq!(user.read::<u64>(0x40_57f8), Ok(0));
    assert_eq!(
        user.write(0x40_1000, &0u8),
        Err(Errno::EFAULT),
        "text is read-only"
    );
    assert_eq!(
        user.read::<u8>(0x40_6000),
        Err(Errno::EFAULT),
        "nothing behind bss"
    );
}

#[test]
fn what_belongs_to_the_old_program_goes() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    kernel
        .user(first)
        .write(SCRATCH, &[0x40_1000u64, 0, 0, 0])
        .unwrap();
    kernel.must(
        first,
        __NR_rt_sigaction,
        &[u64::from(SIGUSR1), SCRATCH, 0, 8],
    );
    kernel.user(first).write(SCRATCH, &[1u64, 0, 0, 0]).unwrap();
    kernel.must(
        first,
        __NR_rt_sigaction,
        &[u64::from(SIGUSR2), SCRATCH, 0, 8],
    );
    kernel.must(first, __NR_fcntl, &[1, u64::from(F_SETFD), 1]);
    kernel.tasks[first].signals.mask = 1 << (SIGINT - 1);
    assert_eq!(execve(&mut kernel, first, "/prog", &["x"], &[]), Some(0));
    let handlers = kernel.tasks[first].handlers.unwrap();
    assert_eq!(kernel.handlers[handlers].get(SIGUSR1).handler, 0);
    assert_eq!(
        kernel.handlers[handlers].get(SIGUSR2).handler,
        1,
        "ignored signals stay ignored"
    );
    assert_eq!(kernel.tasks[first].signals.mask, 1 << (SIGINT - 1));
    assert_eq!(&kernel.tasks[first].record.comm[..5], b"prog\0");
    assert_eq!(
        kernel.call(first, __NR_dup, &[1]),
        failure(Errno::EBADF),
        "close-on-exec"
    );
    assert_eq!(kernel.call(first, __NR_dup, &[2]), Some(1));
}

#[test]
fn a_failed_execve_leaves_the_caller_whole() {
    let text: &[u8] = b"echo\n";
    let mut broken = ordinary();
    broken.truncate(0x1000);
    let mut kernel = Kernel::for_test_with(
        FRAMES,
        &[
            ("broken", 0o755, &broken),
            ("data", 0o644, text),
            ("text", 0o755, text),
        ],
    );
    let first = kernel.first();
    let before = kernel.tasks[first].record;
    let long = "/".repeat(5000);
    for (path, errno) in [
        ("/nothing", Errno::ENOENT),
        ("", Errno::ENOENT),
        ("/", Errno::EACCES),
        ("/data", Errno::EACCES),
        ("/prog/x", Errno::ENOTDIR),
        ("/text", Errno::ENOEXEC),
        ("/broken", Errno::ENOEXEC),
    ] {
        assert_eq!(
            execve(&mut kernel, first, path, &["x"], &[]),
            failure(errno),
            "{path}"
        );
    }
    kernel
        .user(first)
        .write_bytes(SCRATCH + 0x800, &long.as_bytes()[..0x2000 - 0x800 - 0x800])
        .unwrap();
    let arguments = arguments(&mut kernel, first, "/prog", &["x"], &[]);
    assert_eq!(
        kernel.call(first, __NR_execve, &[8, arguments[1], 0]),
        failure(Errno::EFAULT)
    );
    assert_eq!(
        kernel.call(first, __NR_execve, &[arguments[0], 8, 0]),
        failure(Errno::EFAULT)
    );
    kernel.user(first).write(arguments[1], &8u64).unwrap();
    assert_eq!(
        kernel.call(first, __NR_execve, &arguments),
        failure(Errno::EFAULT)
    );
    let after = kernel.tasks[first].record;
    assert_eq!(
        (after.cr3, after.regs.rip, after.comm),
        (before.cr3, before.regs.rip, before.comm)
    );
    assert_eq!(kernel.spaces.len(), 1);
}

#[test]
fn without_memory_nothing_is_left_behind() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    let arguments = arguments(&mut kernel, first, "/prog", &["x"], &["A=B"]);
    let (used, cr3) = (
        kernel.frames.counters.frames_used,
        kernel.tasks[first].record.cr3,
    );
    for nth in 1..100 {
        assert!(!kernel.frames.fail_allocation(0));
        kernel.frames.fail_allocation(nth);
        if kernel.call(first, __NR_execve, &arguments) == Some(0) {
            assert!(nth > 5);
            return;
        }
        assert_eq!(
            kernel.tasks[first].record.regs.rax,
            Errno::ENOMEM.to_rax(),
            "allocation {nth}"
        );
        assert_eq!(
            (
                kernel.frames.counters.frames_used,
                kernel.tasks[first].record.cr3
            ),
            (used, cr3)
        );
    }
    panic!("execve needs fewer frames than that");
}

#[test]
fn too_many_arguments_are_e2big() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    // One string without an end for 128 KiB, then many short ones.
    let page = kernel.must(
        first,
        __NR_mmap,
        &[
            0,
            4 << 20,
            3,
            u64::from(MAP_PRIVATE | MAP_ANONYMOUS),
            u64::MAX,
            0,
        ],
    );
    let [path, list, _] = arguments(&mut kernel, first, "/prog", &["x"], &[]);
    for at in (0..0x2_0000u64).step_by(4096) {
        kernel
            .user(first)
            .write_bytes(page + at, &[b'a'; 4096])
            .unwrap();
    }
    kernel.user(first).write(list, &[page, 0]).unwrap();
    assert_eq!(
        kernel.call(first, __NR_execve, &[path, list, 0]),
        failure(Errno::E2BIG)
    );
    kernel.user(first).write(page + 0x1_ffff, &0u8).unwrap();
    assert_eq!(
        kernel.call(first, __NR_execve, &[path, list, 0]),
        Some(0),
        "128 KiB with the NUL"
    );
    let (argv, ..) = initial_stack(&mut kernel, first);
    assert_eq!(argv[0].len(), 0x1_ffff);
}

#[test]
fn all_strings_together_are_bounded_by_the_stack_limit() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    let list = kernel.must(
        first,
        __NR_mmap,
        &[
            0,
            4 << 20,
            3,
            u64::from(MAP_PRIVATE | MAP_ANONYMOUS),
            u64::MAX,
            0,
        ],
    );
    let [path, ..] = arguments(&mut kernel, first, "/prog", &[], &[]);
    // 8 MiB of stack allow 2 MiB: pointers of 8 bytes to strings of 2.
    let pointers = |count: u64| (2 << 20) / 10 - count;
    let text = path;
    kernel.user(first).write_bytes(text + 16, b"x\0").unwrap();
    for index in 0..pointers(10) {
        kernel
            .user(first)
            .write(list + index * 8, &(text + 16))
            .unwrap();
    }
    assert_eq!(
        kernel.call(first, __NR_execve, &[path, list, list]),
        failure(Errno::E2BIG)
    );
    assert_eq!(kernel.call(first, __NR_execve, &[path, list, 0]), Some(0));
}

#[test]
fn scripts_run_through_their_interpreter() {
    let script: &[u8] = b"#! /prog  -e x \nrest";
    let nested: &[u8] = b"#!/script";
    let mut kernel = Kernel::for_test_with(
        FRAMES,
        &[("nested", 0o755, nested), ("script", 0o755, script)],
    );
    let first = kernel.first();
    assert_eq!(
        execve(&mut kernel, first, "/script", &["zero", "one"], &[]),
        Some(0)
    );
    let (argv, ..) = initial_stack(&mut kernel, first);
    assert_eq!(argv, [&b"/prog"[..], b"-e x", b"/script", b"one"]);
    assert_eq!(&kernel.tasks[first].record.comm[..7], b"script\0");

    assert_eq!(execve(&mut kernel, first, "/nested", &[], &[]), Some(0));
    let (argv, ..) = initial_stack(&mut kernel, first);
    assert_eq!(argv, [&b"/prog"[..], b"-e x", b"/script", b"/nested"]);
}

#[test]
fn scripts_that_go_round_in_circles_are_eloop() {
    let mut kernel = Kernel::for_test_with(
        FRAMES,
        &[
            ("loop", 0o755, b"#!/loop\n"),
            ("orphan", 0o755, b"#!/nothing\n"),
        ],
    );
    let first = kernel.first();
    assert_eq!(
        execve(&mut kernel, first, "/loop", &["x"], &[]),
        failure(Errno::ELOOP)
    );
    assert_eq!(
        execve(&mut kernel, first, "/orphan", &["x"], &[]),
        failure(Errno::ENOENT)
    );
}

#[test]
fn execveat_runs_what_a_descriptor_names() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    let [path, argv, _] = arguments(&mut kernel, first, "/prog", &["x"], &[]);
    let fd = kernel.must(first, __NR_open, &[path, 0, 0]);
    let empty = path + 5;
    let flags = u64::from(AT_EMPTY_PATH);
    assert_eq!(
        kernel.call(first, __NR_execveat, &[fd, empty, argv, 0, 0]),
        failure(Errno::ENOENT)
    );
    assert_eq!(
        kernel.call(first, __NR_execveat, &[99, empty, argv, 0, flags]),
        failure(Errno::EBADF)
    );
    assert_eq!(
        kernel.call(first, __NR_execveat, &[fd, empty, argv, 0, 0x80]),
        failure(Errno::EINVAL)
    );
    assert_eq!(
        kernel.call(first, __NR_execveat, &[fd, empty, argv, 0, flags]),
        Some(0)
    );
    let (_, _, auxiliary) = initial_stack(&mut kernel, first);
    let name = auxiliary
        .iter()
        .find(|entry| entry.0 == u64::from(AT_EXECFN))
        .unwrap()
        .1;
    assert_eq!(string(&mut kernel, first, name), b"/dev/fd/3");
}

#[test]
fn a_thread_that_execs_becomes_the_process() {
    let mut kernel = Kernel::for_test(FRAMES);
    let first = kernel.first();
    let process = kernel.must(first, __NR_fork, &[]);
    let process = kernel.task(process);
    let flags = u64::from(CLONE_VM | CLONE_SIGHAND | CLONE_THREAD);
    let thread = kernel.must(process, __NR_clone, &[flags, SCRATCH]);
    let thread = kernel.task(thread);
    assert_eq!(execve(&mut kernel, thread, "/prog", &["x"], &[]), Some(0));
    assert_eq!((kernel.task(3), kernel.tasks.by_pid(4)), (thread, None));
    assert_eq!(kernel.must(thread, __NR_getpid, &[]), 3);
    assert_eq!(kernel.call(thread, __NR_exit_group, &[4]), None);
    assert_eq!(kernel.call(first, __NR_wait4, &[3, 0, 0, 0]), Some(3));
}
