//! pipe(2) and pipe2(2).
//!
//! Each test runs one case of `programs/c/pipes.c` natively and under forkvm and compares.

use forkvm_tests::comparisons;

comparisons! { "pipes":
    bytes_go_to_the_child_and_back => "from_parent_to_child_and_back";
    a_pipe_ends_when_its_last_writer_is_gone => "end_of_file_when_all_writers_are_gone";
    a_megabyte_flows_through_in_order => "a_megabyte_flows_through";
    a_pipe_holds_64_kib_and_says_when_it_is_full_or_empty => "capacity_and_nonblocking";
    pipes_are_refused_for_good_reasons => "refused";
    a_blocked_writer_goes_on_as_the_reader_reads => "blocked_writer_goes_on_as_the_reader_reads";
    a_blocked_writer_learns_that_the_reader_is_gone => "blocked_writer_learns_that_the_reader_is_gone";
    writes_of_up_to_pipe_buf_do_not_mix => "small_writes_do_not_mix";
    a_pipeline_of_three_processes => "pipeline_of_three";
    a_token_goes_round_ten_processes => "ring_of_processes";
    reading_and_writing_nothing_does_nothing => "zero_bytes";
    a_killed_reader_takes_no_data_with_it => "a_killed_reader_leaves_the_data";
}
