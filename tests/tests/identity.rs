//! Who a process is: pids, groups, sessions, names, and small calls.
//!
//! Each test runs one case of `programs/c/identity.c` natively and under forkvm and compares.

use forkvm_tests::comparisons;

comparisons! { "identity":
    pid_tid_group_and_session_are_consistent => "ids";
    a_child_can_start_a_session => "new_session";
    a_group_leader_cannot_start_a_session => "group_leader_cannot_start_a_session";
    process_groups_follow_their_rules => "groups";
    the_group_of_a_child_that_has_executed_stays => "group_of_a_child_that_has_executed";
    uname_says_linux_on_x86_64 => "system_name";
    getrandom_gives_random_bytes => "random_bytes";
    random_bytes_differ_after_fork => "random_bytes_differ_after_fork";
    unknown_system_calls_are_enosys => "unknown_system_calls";
    prctl_sets_names_and_refuses_nonsense => "process_attributes";
    sched_yield_comes_back => "yielding";
    a_spinning_child_does_not_hold_up_its_parent => "a_spinning_child_does_not_hold_up_its_parent";
}
