//! Programs of other makers: raw assembly, Rust's standard library, musl, static PIE, busybox, bash.

use forkvm_tests::programs::optional;
use forkvm_tests::{Comparison, on_each_platform, program};

/// One test for each assembly program; the arguments are the same for all.
macro_rules! assembly {
    ($($promise:ident => $name:literal;)*) => {
        $(
            #[test]
            fn $promise() {
                Comparison::of(concat!("asm-", $name), &["one", "two"]).check();
            }
        )*
    };
}

assembly! {
    a_program_of_two_system_calls_says_hello => "hello";
    the_raw_fork_returns_twice => "fork";
    the_raw_vfork_shares_memory_and_red_zone => "vfork";
    the_raw_execve_adds_an_argument_each_time => "execve";
    fork_keeps_every_register_in_both_processes => "registers";
    a_program_starts_with_clean_registers_and_an_aligned_stack => "start";
    the_red_zone_survives_faults_calls_and_preemption => "redzone";
    the_raw_orphan_gets_a_new_parent => "orphan";
}

/// One test for each thing that the Rust program does.
macro_rules! rust {
    ($($promise:ident => $case:literal;)*) => {
        $(
            #[test]
            fn $promise() {
                Comparison::of("rust-std", &[$case]).check();
            }
        )*
    };
}

rust! {
    rust_commands_report_exit_statuses_and_signals => "status";
    rust_commands_return_output => "output";
    rust_commands_are_fed_through_pipes => "pipe";
    rust_commands_get_a_clean_environment => "environment";
    rust_says_that_a_program_is_missing => "missing";
    rust_allocates_and_frees => "allocate";
    rust_aborts_by_signal => "kill";
}

#[test]
fn a_rust_panic_is_status_101_with_a_message() {
    on_each_platform(|vm| {
        let finished = vm.run(program("rust-std"), &["panic"]);
        assert_eq!(finished.status, 101, "{finished}");
        assert!(finished.errors().contains("on purpose"), "{finished}");
    });
}

/// Some cases of a C program, built another way.
fn check_variant(suffix: &str, package: &str, cases: &[(&str, &str)]) {
    for (name, case) in cases {
        if let Some(path) = optional(format!("{name}-{suffix}"), package) {
            Comparison::of_path(path, &[case]).check();
        }
    }
}

/// What depends on how a program was linked, and on which C library.
const VARIED: [(&str, &str); 16] = [
    ("fork", "return_values"),
    ("fork", "memory_parts_after_fork"),
    ("fork", "thread_local_storage_is_copied"),
    ("fork", "atfork_handlers_run_in_order"),
    ("fork", "standard_io_buffer_is_copied"),
    ("vfork", "child_writes_the_parents_memory"),
    ("vfork", "posix_spawn_with_file_actions"),
    ("exec", "arguments_and_environment_arrive"),
    ("exec", "auxiliary_vector"),
    ("exec", "failing_calls_leave_the_caller_whole"),
    ("wait", "exit_codes"),
    ("signals", "handler_runs_and_returns"),
    ("signals", "sigchld_handler_reaps"),
    ("memory", "break_grows_with_zeros"),
    ("memory", "copy_on_write_over_five_generations"),
    ("pipes", "pipeline_of_three"),
];

#[test]
fn static_pie_programs_run_like_static_ones() {
    check_variant("pie", "gcc", &VARIED);
}

#[test]
fn static_musl_programs_run_like_glibc_ones() {
    check_variant("musl", "musl-tools", &VARIED);
}

/// Runs a shell script in both worlds.
fn check_shell(shell: &str, package: &str, leading: &[&str], script: &str) {
    if let Some(path) = optional(shell, package) {
        let arguments = [leading, &["-c", script]].concat();
        Comparison::of_path(path, &arguments).check();
    }
}

fn busybox(script: &str) {
    check_shell("/bin/busybox", "busybox-static", &["sh"], script);
}

fn bash(script: &str) {
    check_shell("/bin/bash-static", "bash-static", &[], script);
}

#[test]
fn busybox_applets_run() {
    if let Some(busybox) = optional("/bin/busybox", "busybox-static") {
        for arguments in [
            &["echo", "hello", "world"][..],
            &["true"],
            &["false"],
            &["seq", "5"],
            &["expr", "6", "*", "7"],
            &["uname", "-m"],
        ] {
            Comparison::of_path(&busybox, arguments).check();
        }
        Comparison::of_path(&busybox, &["wc", "-c"])
            .input(&[b'x'; 100_000])
            .check();
        Comparison::of_path(&busybox, &["sort", "-n"])
            .input(b"3\n1\n2\n10\n")
            .check();
        Comparison::of_path(&busybox, &["sha256sum"])
            .input(b"abc")
            .check();
        Comparison::of_path(&busybox, &["sed", "s/a/b/g"])
            .input(b"banana\n")
            .check();
        Comparison::of_path(&busybox, &["awk", "{ s += $1 } END { print s }"])
            .input(b"1\n2\n39\n")
            .check();
    }
}

#[test]
fn a_shell_computes_and_exits_with_a_status() {
    let script = "x=6; echo $((x * 7)); exit $((x + 1))";
    busybox(script);
    bash(script);
}

#[test]
fn a_shell_forks_subshells() {
    let script = "x=1; (x=2; echo inner $x; exit 3); echo outer $x status $?";
    busybox(script);
    bash(script);
}

#[test]
fn a_shell_builds_pipelines_of_its_own_functions() {
    let script = "produce() { for i in 1 2 3 4 5; do echo $i; done; }; \
                  double() { while read n; do echo $((n * 2)); done; }; \
                  produce | double | { s=0; while read n; do s=$((s + n)); done; echo sum $s; }";
    busybox(script);
    bash(script);
}

#[test]
fn a_shell_substitutes_commands() {
    let script = "a=$(echo one; echo two); echo \"$a\"; echo `echo nested $(echo deeper)`";
    busybox(script);
    bash(script);
}

#[test]
fn a_shell_waits_for_background_jobs() {
    let script =
        "(exit 3) & a=$!; (exit 4) & b=$!; wait $a; echo $?; wait $b; echo $?; wait; echo $?";
    busybox(script);
    bash(script);
}

#[test]
fn a_shell_reports_a_child_killed_by_a_signal() {
    let script = "(kill -TERM $BASHPID 2>/dev/null || kill -TERM $(exec sh -c 'echo $PPID')) 2>/dev/null; echo $?";
    bash(script);
}

#[test]
fn a_shell_traps_signals_and_its_exit() {
    let script = "trap 'echo caught' USR1; trap 'echo bye' EXIT; kill -USR1 $$; echo after";
    busybox(script);
    bash(script);
}

#[test]
fn a_shell_reads_here_documents_and_input() {
    let script = "while read a b; do echo \"$b $a\"; done <<END\none two\nthree four\nEND\nread line; echo got $line";
    for (shell, leading) in [
        ("/bin/busybox", &["sh", "-c"][..]),
        ("/bin/bash-static", &["-c"]),
    ] {
        if let Some(path) = optional(shell, "busybox-static bash-static") {
            Comparison::of_path(path, &[leading, &[script]].concat())
                .input(b"from outside\n")
                .check();
        }
    }
}

#[test]
fn a_shell_says_127_for_a_missing_command() {
    let script = "no-such-command 2>/dev/null; echo $?";
    busybox(script);
    bash(script);
}

#[test]
fn a_recursive_shell_function_forks_deep() {
    let script =
        "down() { if [ $1 -gt 0 ]; then (down $(($1 - 1))); else echo bottom; fi; }; down 20";
    busybox(script);
    bash(script);
}
