//! Children whose parent ends first.
//!
//! Each test runs one case of `programs/c/orphan.c` natively and under forkvm and compares.

use forkvm_tests::comparisons;

comparisons! { "orphan":
    an_orphan_is_adopted_by_init => "is_adopted_by_init";
    an_orphan_can_have_children_of_its_own => "has_children_of_its_own";
    an_orphan_stays_in_its_group_and_session => "stays_in_its_group_and_session";
    an_orphan_is_adopted_by_the_nearest_subreaper => "is_adopted_by_a_subreaper";
    being_a_subreaper_is_not_inherited => "subreaper_is_not_inherited_by_fork";
    zombies_are_handed_over_too => "zombies_are_handed_over_too";
    three_generations_are_orphaned_one_after_the_other => "three_generations_end_from_the_top";
    init_reaps_what_it_adopts => "init_reaps_what_it_adopts";
    the_parent_death_signal_ends_an_orphan => "parent_death_signal";
}
