//! clone(2) and clone3(2) in their process forms.
//!
//! Each test runs one case of `programs/c/clone.c` natively and under forkvm and compares.

use forkvm_tests::comparisons;

comparisons! { "clone":
    clone_with_sigchld_alone_is_fork => "plain_clone_is_fork";
    tids_are_stored_where_the_flags_say => "tids_are_stored_in_parent_and_child";
    a_bad_child_tid_pointer_does_not_keep_the_child_from_running => "bad_tid_pointers";
    child_cleartid_clears_the_tid_when_the_memory_lives_on => "child_cleartid_clears_when_the_memory_lives_on";
    clone_vm_runs_a_function_on_another_stack_in_shared_memory => "shared_memory_on_another_stack";
    a_clone_without_clone_vm_gets_a_copy => "copied_memory_on_another_stack";
    clone_files_shares_descriptors => "shared_descriptors";
    clone_fs_shares_directory_and_umask => "shared_directory_and_umask";
    clone_parent_makes_a_sibling => "clone_parent_makes_a_sibling";
    the_exit_signal_is_the_callers_choice => "exit_signal_is_the_callers_choice";
    a_child_without_exit_signal_is_waited_for_with_wclone => "no_exit_signal";
    execve_makes_the_exit_signal_sigchld_again => "exec_restores_sigchld";
    settls_gives_the_child_a_thread_pointer_of_its_own => "settls_gives_the_child_its_own_fs_base";
    clone3_can_be_fork => "clone3_is_fork";
    forbidden_flag_pairs_of_clone_are_refused_and_leave_no_child => "forbidden_flags_of_clone";
    forbidden_arguments_of_clone3_are_refused_and_leave_no_child => "forbidden_arguments_of_clone3";
    clone3_checks_the_size_of_its_argument => "sizes_of_clone3";
}
