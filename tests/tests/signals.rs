//! Signals: default actions, faults, and handlers of the simple kind.
//!
//! Each test but one runs one case of `programs/c/signals.c` natively and under forkvm and compares.

use forkvm_tests::{comparisons, on_each_platform, program};

comparisons! { "signals":
    every_signal_does_by_default_what_linux_says => "every_default_action";
    real_time_signals_end_a_process => "real_time_signals_end_a_process";
    a_parent_can_kill_its_child => "killed_by_the_parent";
    a_spinning_process_can_be_killed => "killed_while_it_spins";
    a_waiting_process_can_be_killed => "killed_while_it_reads_a_pipe";
    abort_ends_with_sigabrt_even_if_that_is_ignored => "abort_ends_with_sigabrt";
    the_first_programs_death_by_signal_is_128_and_the_signal => "died_by_a_signal_itself";
    the_first_programs_fault_is_139 => "fault_of_its_own";
    accesses_to_what_is_not_there_are_sigsegv => "memory_faults";
    bad_instructions_have_their_signals => "instruction_faults";
    privileged_instructions_are_sigsegv => "privileged_instructions";
    segment_registers_lead_nowhere => "segment_registers";
    a_lost_stack_pointer_is_the_programs_own_problem => "stack_pointer_gone";
    behind_the_end_of_a_mapped_file_is_sigbus => "bus_error_behind_the_end_of_a_file";
    kill_finds_its_target_or_says_why_not => "kill_finds_its_target";
    kill_reaches_a_whole_group => "kill_reaches_a_whole_group";
    dispositions_that_cannot_be_set_are_refused => "dispositions_that_cannot_be_set";
    sigkill_and_sigstop_cannot_be_blocked => "kill_and_stop_cannot_be_blocked";
    a_fault_that_is_blocked_or_ignored_ends_the_process => "blocked_faults_end_the_process";
    a_handler_runs_and_returns => "handler_runs_and_returns";
    a_handler_leaves_the_registers_alone => "handler_preserves_registers";
    a_handler_learns_who_sent_the_signal => "handler_is_told_who";
    a_fault_handler_learns_where => "fault_handler_is_told_where";
    a_fault_handler_can_repair_and_return => "fault_handler_can_repair";
    blocked_signals_arrive_once_when_unblocked => "signal_is_blocked_in_its_handler";
    a_one_shot_handler_runs_once => "one_shot_handler";
    sigsuspend_waits_for_a_signal => "suspended_until_a_signal";
    a_sigchld_handler_reaps_all_children => "sigchld_handler_reaps";
    read_is_restarted_or_interrupted_as_asked => "read_is_restarted_or_interrupted";
    writing_to_nobody_is_sigpipe_or_epipe => "broken_pipe";
}

/// Not a comparison: on an emulated processor these instructions can take Linux itself down.
#[test]
fn a_return_to_ring_0_is_sigsegv() {
    on_each_platform(|vm| {
        let finished = vm.run(program("signals"), &["returns_to_ring_0"]);
        let expected = "iretq: killed by signal 11 (0xb)\nfar return: killed by signal 11 (0xb)\n";
        assert_eq!(finished.text(), expected, "{finished}");
    });
}
