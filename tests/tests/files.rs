//! Descriptors, devices and the files that every root has.
//!
//! Each test runs one case of `programs/c/files.c` natively and under forkvm and compares.

use forkvm_tests::comparisons;

comparisons! { "files":
    dev_null_swallows_and_dev_zero_gives_zeros => "null_and_zero";
    stat_tells_types_permissions_and_device_numbers => "types";
    open_says_why_it_fails => "open_refuses";
    the_lowest_free_descriptor_is_taken => "lowest_descriptor_is_taken";
    duplicates_share_the_offset => "duplicates_share_the_offset";
    dup2_and_dup3_follow_their_rules => "dup2_and_dup3";
    descriptor_flags_and_file_flags_are_kept => "flags";
    closed_descriptors_are_ebadf => "closed_descriptors";
    descriptors_go_one_way_only => "directions";
    seeking_follows_its_rules => "seeking";
    vectors_are_read_and_written_in_order => "vectors";
    files_that_are_no_terminal_say_so => "terminal_requests_on_other_files";
    the_current_directory_can_be_changed => "directories";
    directories_can_be_listed => "listing";
    access_and_readlink_answer => "access_and_links";
    umask_returns_the_old_mask => "mask";
    large_reads_and_writes_are_whole => "large_counts";
    a_file_read_in_small_pieces_is_the_file => "copy_of_the_program_by_small_reads";
}
