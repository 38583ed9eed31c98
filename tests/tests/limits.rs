//! setrlimit(2) and prlimit(2), and what happens at each limit.

use forkvm_tests::{Comparison, comparisons, native, on_each_platform, program};

comparisons! { "limits":
    descriptors_end_at_their_limit => "number_of_descriptors";
    the_address_space_ends_at_its_limit => "size_of_the_address_space";
    the_data_segment_ends_at_its_limit => "size_of_the_data";
    limits_are_read_and_written => "values";
}

#[test]
fn fork_fails_cleanly_at_the_limit_of_processes() {
    if native::is_root() {
        Comparison::of("limits", &["number_of_processes"]).check();
    } else {
        // Linux counts the user's other processes as well, so there is nothing to compare with.
        on_each_platform(|vm| {
            let finished = vm.run(program("limits"), &["number_of_processes"]);
            let full = "4 children, then: Resource temporarily unavailable\n";
            assert_eq!(finished.text().matches(full).count(), 3, "{finished}");
        });
    }
}
