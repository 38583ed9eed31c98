//! Address spaces: brk, mmap and its family, protection, the stack, copy-on-write.
//!
//! Each test runs one case of `programs/c/memory.c` natively and under forkvm and compares.

use forkvm_tests::comparisons;

comparisons! { "memory":
    the_break_grows_with_zeros => "break_grows_with_zeros";
    the_break_stays_where_it_is_when_asked_for_nonsense => "break_below_its_start_is_refused";
    what_the_break_gave_back_is_gone => "break_given_back_is_gone";
    fresh_pages_are_zero => "fresh_pages_are_zero";
    unmapped_pages_are_gone => "unmapped_pages_are_gone";
    mmap_and_munmap_refuse_nonsense => "mmap_refuses";
    fixed_mappings_replace_what_was_there => "fixed_mappings_replace";
    address_hints_are_taken_where_they_are_free => "hints_are_taken_where_free";
    protection_is_enforced => "protection_is_enforced";
    protection_is_each_processs_own_after_fork => "protection_follows_over_fork";
    mprotect_refuses_nonsense => "mprotect_refuses";
    code_runs_only_where_it_may => "code_can_be_written_and_run";
    data_and_stack_are_not_executable => "data_and_stack_are_not_executable";
    mremap_grows_moves_and_shrinks => "mremap_grows_moves_and_shrinks";
    mremap_refuses_nonsense => "mremap_refuses";
    moved_pages_stay_shared_until_written => "moved_pages_stay_shared_until_written";
    madvise_dontneed_gives_zeros => "dontneed_gives_zeros";
    private_file_mappings_show_the_file_until_written => "private_file_mapping";
    files_can_be_mapped_from_the_middle => "file_mapping_at_an_offset";
    the_stack_grows => "stack_grows";
    stack_overflow_is_139 => "stack_overflow";
    stack_overflow_of_a_child_is_sigsegv => "stack_overflow_of_a_child";
    the_kernel_grows_the_stack_too => "kernel_writes_into_the_growing_stack";
    both_sides_of_a_fork_can_write_everywhere => "copy_on_write_with_both_sides_writing";
    five_generations_each_have_their_own_values => "copy_on_write_over_five_generations";
    sixteen_children_share_one_area_until_each_writes => "many_children_share_one_area";
    pages_only_read_are_zero_and_part_when_written => "reading_shares_one_page_of_zeros_until_written";
    system_calls_copy_shared_pages_before_writing => "system_calls_write_into_shared_pages";
    a_terabyte_can_be_reserved_and_touched_here_and_there => "address_space_is_larger_than_memory";
    five_hundred_small_mappings_survive_fork => "many_small_mappings";
    bad_pointers_are_efault => "bad_pointers_are_efault";
}
