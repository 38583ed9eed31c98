//! vfork(2): the child borrows the parent's memory, and the parent waits.
//!
//! Each test runs one case of `programs/c/vfork.c` natively and under forkvm and compares.

use forkvm_tests::comparisons;

comparisons! { "vfork":
    the_child_writes_the_parents_memory => "child_writes_the_parents_memory";
    the_parent_waits_until_the_child_exits => "parent_waits_for_exit";
    the_parent_goes_on_when_the_child_is_killed => "parent_goes_on_when_the_child_is_killed";
    the_parent_goes_on_when_the_child_faults => "parent_goes_on_when_the_child_faults";
    the_parent_goes_on_when_the_child_executes_a_program => "exec_gives_the_memory_back";
    a_failed_execve_leaves_the_child_in_the_parents_memory => "failed_exec_leaves_the_child_its_loan";
    the_childs_descriptors_are_its_own => "descriptors_are_the_childs_own";
    a_vfork_child_can_vfork => "vfork_within_vfork";
    the_parents_stack_survives_the_loan => "stack_of_the_parent_survives";
    posix_spawn_starts_a_program => "posix_spawn";
    posix_spawn_reports_a_missing_file_and_leaves_no_child => "posix_spawn_of_a_missing_file";
    posix_spawn_redirects_output_into_a_pipe => "posix_spawn_with_file_actions";
}
