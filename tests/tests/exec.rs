//! execve(2): what the new program gets, what survives, and what a failure leaves.
//!
//! Each test runs one case of `programs/c/exec.c` natively and under forkvm and compares.

use forkvm_tests::comparisons;

comparisons! { "exec":
    arguments_and_environment_arrive_to_the_byte => "arguments_and_environment_arrive";
    an_empty_environment_stays_empty => "empty_environment";
    a_thousand_arguments_arrive => "many_arguments";
    an_argument_of_128_kib_is_too_long_and_one_byte_less_is_not => "long_argument";
    three_megabytes_of_arguments_are_too_many => "too_many_arguments";
    pid_parent_and_directory_survive => "identity_survives";
    children_survive => "children_survive";
    descriptors_marked_close_on_exec_are_closed_and_no_others => "close_on_exec";
    handlers_are_reset_ignored_signals_mask_and_pending_signals_stay => "signal_state";
    memory_is_new => "memory_is_new";
    the_name_becomes_the_files => "name_becomes_the_files";
    the_auxiliary_vector_tells_the_truth => "auxiliary_vector";
    at_execfn_is_the_path_given => "execfn_is_the_path_given";
    a_failing_execve_leaves_the_caller_whole => "failing_calls_leave_the_caller_whole";
    fexecve_runs_an_open_file => "fexecve";
    execveat_checks_directory_path_and_flags => "execveat";
    a_chain_of_thirty_programs_in_one_process => "chain_of_30_programs";
    fork_exec_and_wait_bring_back_each_status => "fork_then_exec_then_wait";
    the_stack_limit_holds_for_the_next_program => "stack_limit_is_taken_at_exec";
}
