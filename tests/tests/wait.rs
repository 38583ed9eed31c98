//! wait4(2), waitpid(2) and waitid(2).
//!
//! Each test runs one case of `programs/c/wait.c` natively and under forkvm and compares.

use forkvm_tests::comparisons;

comparisons! { "wait":
    the_status_holds_the_low_eight_bits_of_the_exit_code => "exit_codes";
    exit_and_exit_group_end_a_process_alike => "exit_and_exit_group";
    wnohang_returns_zero_while_the_child_runs => "no_hang";
    without_children_wait_fails_with_echild => "without_children";
    waiting_for_one_child_leaves_the_others => "for_one_among_several";
    each_child_is_reaped_once => "any_child_takes_each_once";
    wait_blocks_until_the_child_ends => "blocks_until_the_child_ends";
    children_are_found_by_process_group => "by_process_group";
    grandchildren_cannot_be_waited_for => "grandchildren_are_not_ours";
    waitid_fills_siginfo => "waitid_tells_more";
    a_zombie_can_be_looked_at_and_signalled_until_it_is_reaped => "zombie_can_be_looked_at";
    waitid_without_a_child_to_report_clears_siginfo => "waitid_without_hanging";
    waitid_for_group_zero_means_our_own => "waitid_group_zero_is_ours";
    waitid_refuses_nonsense => "waitid_refuses";
    the_raw_waitid_reports_resource_usage => "raw_waitid_gives_usage";
    a_bad_status_pointer_is_efault_after_reaping => "pointers";
    resource_usage_of_reaped_children_adds_up => "usage_of_children_adds_up";
    children_of_a_parent_that_ignores_sigchld_leave_no_zombie => "ignored_sigchld_reaps_by_itself";
    sa_nocldwait_leaves_no_zombie => "nocldwait_reaps_by_itself";
    wait_reports_stopped_and_continued_children => "stopped_and_continued";
    waitid_reports_stopped_and_continued_children => "waitid_stopped_and_continued";
    a_stopped_process_can_be_killed => "stopped_processes_can_be_killed";
}
