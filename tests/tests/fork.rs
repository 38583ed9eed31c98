//! fork(2): what the child inherits, and what the two share afterwards.
//!
//! Each test runs one case of `programs/c/fork.c` natively and under forkvm and compares.

use forkvm_tests::comparisons;

comparisons! { "fork":
    fork_returns_the_childs_pid_to_the_parent_and_zero_to_the_child => "return_values";
    data_bss_stack_heap_and_mappings_part_at_the_first_write => "memory_parts_after_fork";
    the_child_keeps_the_old_value_when_the_parent_writes => "parent_writes_first";
    a_grandchild_inherits_what_its_parent_wrote => "grandchild_sees_both_generations";
    parent_and_child_share_the_file_offset => "file_offset_is_shared";
    closing_in_the_child_leaves_the_parents_descriptor_open => "descriptors_are_separate";
    the_child_inherits_the_close_on_exec_flag => "close_on_exec_flag_is_inherited";
    the_child_inherits_signal_dispositions_and_mask => "signal_dispositions_and_mask_are_inherited";
    the_child_starts_without_pending_signals => "pending_signals_are_not_inherited";
    the_child_inherits_limits_directory_umask_group_and_session => "limits_directory_mask_and_group_are_inherited";
    the_child_inherits_the_name => "name_is_inherited";
    thread_local_variables_are_copied => "thread_local_storage_is_copied";
    atfork_handlers_run_backwards_before_and_forwards_after => "atfork_handlers_run_in_order";
    a_tree_of_processes_counts_its_leaves => "tree_of_processes";
    unflushed_standard_io_is_written_by_both => "standard_io_buffer_is_copied";
}
