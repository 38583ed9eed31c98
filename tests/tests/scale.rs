//! Many processes at once, one after another, and in a row; and that nothing of them stays.

use forkvm_tests::{Comparison, Vm, comparisons, on_each_platform, program};
use serde_json::Value;

comparisons! { "fork":
    two_hundred_children_live_at_once => "two_hundred_children_at_once";
    a_hundred_generations_fork_one_from_the_other => "chain_of_100_generations";
    two_thousand_children_come_and_go => "two_thousand_children_one_after_another";
}

#[test]
fn sixty_four_megabytes_are_shared_by_fork() {
    Comparison::of("memory", &["sixty_four_megabytes_and_a_fork"])
        .memory("256M")
        .check();
}

/// A counter of the guest after a run of `fork CASE`.
fn counter(vm: &Vm, case: &str, name: &str) -> u64 {
    let finished = vm.clone().options(["--json"]).run(program("fork"), &[case]);
    let summary: Value = serde_json::from_slice(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}: {finished}"));
    summary["guest"][name]
        .as_u64()
        .unwrap_or_else(|| panic!("no counter {name}: {summary}"))
}

#[test]
fn two_thousand_children_leave_no_memory_behind() {
    on_each_platform(|vm| {
        let peak_of_one = counter(&vm, "close_on_exec_flag_is_inherited", "frames_peak");
        let peak_of_many = counter(
            &vm,
            "two_thousand_children_one_after_another",
            "frames_peak",
        );
        // Both programs have one child at a time. Two thousand leaked frames would be plain to see.
        assert!(
            peak_of_many <= peak_of_one + 50,
            "one child: {peak_of_one} frames at most, 2,000: {peak_of_many}"
        );
    });
}

#[test]
fn five_waves_of_children_need_no_more_memory_than_one() {
    on_each_platform(|vm| {
        let one = counter(&vm, "two_hundred_children_at_once", "frames_used");
        let five = counter(&vm, "two_hundred_children_five_times", "frames_used");
        // At the end both hold what the kernel keeps for itself; what a process left behind would be there five times.
        assert!(
            five <= one + 20,
            "after one wave {one} frames are in use, after five {five}"
        );
    });
}
