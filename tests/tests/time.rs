//! Clocks and sleep, without asserting how long anything takes.
//!
//! Each test runs one case of `programs/c/time.c` natively and under forkvm and compares.

use forkvm_tests::comparisons;

comparisons! { "time":
    clocks_do_not_go_back => "clocks_do_not_go_back";
    clocks_go_on_while_a_process_computes => "clocks_go_on";
    children_see_the_same_clock => "children_see_the_same_clock";
    sleep_is_never_too_short => "sleep_is_never_too_short";
    sleep_until_a_moment_does_not_end_before_it => "sleep_until_a_moment";
    clock_calls_refuse_nonsense => "refused";
    clocks_of_the_day_agree => "clocks_of_the_day_agree";
    clocks_have_a_resolution_of_a_nanosecond => "resolution_of_clocks";
    the_time_a_process_used_is_counted => "time_used_is_counted";
}
