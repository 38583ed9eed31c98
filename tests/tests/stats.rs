//! `--stats` and `--json`: the figures agree with what the program did.

use forkvm_tests::{Vm, on_each_platform, program};
use serde_json::Value;

/// The guest's counters after a run.
fn counters(vm: &Vm, name: &str, case: &str) -> Value {
    let finished = vm.clone().options(["--json"]).run(program(name), &[case]);
    let summary: Value = serde_json::from_slice(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}: {finished}"));
    summary["guest"].clone()
}

fn count(counters: &Value, name: &str) -> u64 {
    counters[name]
        .as_u64()
        .unwrap_or_else(|| panic!("no counter {name}: {counters}"))
}

#[test]
fn forks_and_exits_are_counted() {
    on_each_platform(|vm| {
        let guest = counters(&vm, "fork", "two_hundred_children_at_once");
        assert_eq!(count(&guest, "forks"), 200, "{guest}");
        assert_eq!(count(&guest, "vforks"), 0, "{guest}");
        assert_eq!(count(&guest, "execs"), 1, "the first program: {guest}");
        assert_eq!(count(&guest, "exits"), 201, "{guest}");
    });
}

#[test]
fn vforks_are_counted_among_the_forks() {
    on_each_platform(|vm| {
        let guest = counters(&vm, "vfork", "vfork_within_vfork");
        assert_eq!(
            (count(&guest, "forks"), count(&guest, "vforks")),
            (2, 2),
            "{guest}"
        );
    });
}

#[test]
fn execs_are_counted() {
    on_each_platform(|vm| {
        let guest = counters(&vm, "exec", "chain_of_30_programs");
        assert_eq!(count(&guest, "execs"), 31, "{guest}");
        assert_eq!(count(&guest, "forks"), 0, "{guest}");
    });
}

#[test]
fn copies_happen_only_where_someone_writes() {
    on_each_platform(|vm| {
        // Eight times, a parent writes to all of 256 pages that a child, which writes to most of them, shares.
        let guest = counters(&vm, "memory", "copy_on_write_with_both_sides_writing");
        let (copies, reuses, armed) = (
            count(&guest, "cow_copies"),
            count(&guest, "cow_reuses"),
            count(&guest, "cow_armed"),
        );
        // A fork copies ahead at most eight pages that were written right after the last one.
        assert!(armed >= 8 * (256 - 8), "each fork arms the area: {guest}");
        assert!(
            copies >= 8 * 100,
            "whoever writes first gets a copy: {guest}"
        );
        assert!(
            copies + reuses >= 8 * 256,
            "each of the parent's writes is one of both: {guest}"
        );
        assert!(copies <= armed + 200, "no page is copied twice: {guest}");
    });
}

#[test]
fn system_calls_and_faults_are_among_the_traps() {
    on_each_platform(|vm| {
        let guest = counters(&vm, "pipes", "ring_of_processes");
        let (traps, calls, faults, interrupts) = (
            count(&guest, "traps"),
            count(&guest, "syscalls"),
            count(&guest, "faults"),
            count(&guest, "interrupts"),
        );
        assert!(calls >= 10 * 20 * 2, "{guest}");
        assert!(
            calls + faults + interrupts <= traps + interrupts && calls + faults <= traps,
            "{guest}"
        );
        assert!(count(&guest, "switches") >= 200, "{guest}");
    });
}

#[test]
fn peak_memory_is_at_least_what_the_program_touched() {
    on_each_platform(|vm| {
        let guest = counters(
            &vm.options(["-m", "256M"]),
            "memory",
            "sixty_four_megabytes_and_a_fork",
        );
        assert!(
            (16 * 1024..40 * 1024).contains(&count(&guest, "frames_peak")),
            "{guest}"
        );
        assert!(
            count(&guest, "frames_used") < count(&guest, "frames_peak") / 4,
            "{guest}"
        );
        assert!(
            count(&guest, "frames_peak") <= count(&guest, "frames_total"),
            "{guest}"
        );
    });
}

#[test]
fn the_table_goes_to_standard_error_and_leaves_the_output_alone() {
    on_each_platform(|vm| {
        let finished = vm.options(["--stats"]).run("hello", &[""; 0]);
        assert_eq!(finished.text(), "hello from ring 3\n");
        for word in [
            "exits to the VMM",
            "doorbell",
            "cow_copies",
            "frames_peak",
            "wall time",
        ] {
            assert!(finished.errors().contains(word), "{word}: {finished}");
        }
    });
}

#[test]
fn the_summary_says_how_the_program_ended() {
    on_each_platform(|vm| {
        let summary = |name: &str, case: &str| -> Value {
            let finished = vm.clone().options(["--json"]).run(program(name), &[case]);
            serde_json::from_slice(&finished.stdout)
                .unwrap_or_else(|error| panic!("{error}: {finished}"))
        };
        assert_eq!(summary("stream", "both")["end"]["exited"], 3);
        assert_eq!(
            summary("signals", "died_by_a_signal_itself")["end"]["signal"],
            15
        );
    });
}
