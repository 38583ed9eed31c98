//! Page faults: demand zero, files, copy-on-write, the stack.

use super::*;
use crate::memory::space::Flush;
use crate::memory::{Access, FaultOutcome};
use forkvm_abi::inspect::vma::{EXEC, GROWS_DOWN, STACK};
use forkvm_abi::page_table::{COW, NO_EXECUTE, USER, WRITABLE};

#[test]
fn reading_fresh_memory_maps_the_zero_frame_and_writing_replaces_it() {
    let mut frames = guest(64);
    let mut space = space(&mut frames);
    map_at(&mut space, &mut frames, BASE, 4);
    assert_eq!(
        space.fault(&mut frames, BASE + 5, Access::Read),
        FaultOutcome::Resolved
    );
    let entry = space.translate(&frames, BASE).expect("present");
    assert_eq!(
        (frame_of(entry), entry & (COW | WRITABLE | NO_EXECUTE)),
        (frames.zero_frame(), COW | NO_EXECUTE)
    );

    assert_eq!(
        space.fault(&mut frames, BASE + 5, Access::Write),
        FaultOutcome::Resolved
    );
    let entry = space.translate(&frames, BASE).expect("present");
    assert_ne!(frame_of(entry), frames.zero_frame());
    assert_eq!(entry & (COW | WRITABLE), WRITABLE);
    assert_eq!(space.pending_flush, Flush::Page(BASE));
    assert_eq!(
        (
            frames.counters.demand_zero,
            frames.counters.cow_copies,
            frames.counters.faults
        ),
        (1, 0, 2)
    );
    check_references(&frames, &[&space]);
}

#[test]
fn a_first_write_gets_a_zeroed_frame_and_needs_no_flush() {
    let mut frames = guest(64);
    let mut space = space(&mut frames);
    map_at(&mut space, &mut frames, BASE, 4);
    write(&mut space, &mut frames, BASE + 0x2fff, 9);
    assert_eq!(read(&mut space, &mut frames, BASE + 0x2ffe), 0);
    assert_eq!(
        (frames.counters.demand_zero, space.pending_flush),
        (1, Flush::None)
    );
}

#[test]
fn a_platform_with_costly_traps_maps_neighbours_along() {
    let mut frames = guest(64);
    frames.fault_around = 4;
    let mut space = space(&mut frames);
    map_at(&mut space, &mut frames, BASE + 0x1000, 6);
    write(&mut space, &mut frames, BASE + 0x2000, 1);
    let present = |space: &AddressSpace, page: u64| {
        space.translate(&frames, BASE + page * PAGE_SIZE).is_some()
    };
    assert_eq!(
        [0, 1, 2, 3, 4].map(|page| present(&space, page)),
        [false, true, true, true, false]
    );
    assert_eq!(frames.counters.demand_zero, 3);
    check_references(&frames, &[&space]);
}

#[test]
fn accesses_that_the_region_forbids_are_denied() {
    let mut frames = guest(64);
    let mut space = space(&mut frames);
    let request = MapRequest {
        protection: READ,
        ..anonymous(Placement::Fixed(BASE), 1, READ)
    };
    space.map(&mut frames, &request).expect("it fits");
    space
        .map(
            &mut frames,
            &anonymous(Placement::Fixed(BASE + 0x1000), 1, 0),
        )
        .expect("it fits");
    for touched_before in [false, true] {
        assert_eq!(
            space.fault(&mut frames, BASE, Access::Write),
            FaultOutcome::Denied,
            "{touched_before}"
        );
        assert_eq!(
            space.fault(&mut frames, BASE, Access::Execute),
            FaultOutcome::Denied
        );
        assert_eq!(
            space.fault(&mut frames, BASE, Access::Read),
            FaultOutcome::Resolved
        );
    }
    assert_eq!(
        space.fault(&mut frames, BASE + 0x1000, Access::Read),
        FaultOutcome::Denied
    );
    assert_eq!(
        space.fault(&mut frames, BASE + 0x2000, Access::Read),
        FaultOutcome::NotMapped
    );
    assert_eq!(
        space.fault(&mut frames, u64::MAX, Access::Write),
        FaultOutcome::NotMapped
    );
    assert_eq!(
        space.fault(&mut frames, 1 << 47, Access::Read),
        FaultOutcome::NotMapped
    );
}

#[test]
fn pages_that_can_be_written_or_run_can_be_read() {
    let mut frames = guest(64);
    let mut space = space(&mut frames);
    for (page, protection) in [(0, WRITE), (1, EXEC)] {
        let request = anonymous(Placement::Fixed(BASE + page * PAGE_SIZE), 1, protection);
        space.map(&mut frames, &request).expect("it fits");
        assert_eq!(
            space.fault(&mut frames, BASE + page * PAGE_SIZE, Access::Read),
            FaultOutcome::Resolved
        );
    }
    assert_eq!(
        space.fault(&mut frames, BASE + 0x1000, Access::Execute),
        FaultOutcome::Resolved
    );
}

#[test]
fn a_file_is_mapped_from_the_image_with_its_neighbours() {
    let mut frames = guest(64);
    let mut space = space(&mut frames);
    let backing = file(&frames, 0);
    let request = MapRequest {
        backing,
        ..anonymous(Placement::Fixed(BASE), FILE_PAGES, READ | EXEC)
    };
    space.map(&mut frames, &request).expect("it fits");
    let used = frames.counters.frames_used;
    assert_eq!(
        space.fault(&mut frames, BASE + 3 * PAGE_SIZE, Access::Execute),
        FaultOutcome::Resolved
    );
    assert_eq!(space.usage().resident, 16);
    assert_eq!(
        frames.counters.frames_used,
        used + 3,
        "three tables and no page"
    );
    assert_eq!(read(&mut space, &mut frames, BASE + 15 * PAGE_SIZE), 16);
    assert_eq!(frames.counters.faults, 1);
    check_references(&frames, &[&space]);
}

#[test]
fn a_private_write_to_a_file_is_a_copy_and_the_image_stays_whole() {
    let mut frames = guest(64);
    let mut space = space(&mut frames);
    let backing = file(&frames, 2);
    let request = MapRequest {
        backing,
        ..anonymous(Placement::Fixed(BASE), 4, RW)
    };
    space.map(&mut frames, &request).expect("it fits");
    assert_eq!(read(&mut space, &mut frames, BASE), 3);
    for page in [0, 1] {
        write(&mut space, &mut frames, BASE + page * PAGE_SIZE, 99);
        assert_eq!(
            read(&mut space, &mut frames, BASE + page * PAGE_SIZE + 1),
            3 + u8::try_from(page).expect("small")
        );
        assert_eq!(read(&mut space, &mut frames, BASE + page * PAGE_SIZE), 99);
    }
    assert_eq!(frames.counters.cow_copies, 2);
    space
        .advise(
            &mut frames,
            BASE,
            PAGE_SIZE,
            linux_raw_sys::general::MADV_DONTNEED,
        )
        .expect("it is mapped");
    assert_eq!(read(&mut space, &mut frames, BASE), 3);
    check_references(&frames, &[&space]);
}

#[test]
fn behind_the_end_of_a_file_zeros_to_the_end_of_the_page_then_sigbus() {
    let mut frames = guest(64);
    let mut space = space(&mut frames);
    let backing = file(&frames, FILE_PAGES - 1);
    let request = MapRequest {
        backing,
        ..anonymous(Placement::Fixed(BASE), 3, RW)
    };
    space.map(&mut frames, &request).expect("it fits");
    assert_eq!(read(&mut space, &mut frames, BASE + 4095 - 100), 24);
    assert_eq!(read(&mut space, &mut frames, BASE + 4095), 0);
    for access in [Access::Read, Access::Write] {
        assert_eq!(
            space.fault(&mut frames, BASE + PAGE_SIZE, access),
            FaultOutcome::BeyondFile
        );
    }
    assert_eq!(space.usage().resident, 1);
}

#[test]
fn a_shared_page_is_copied_for_the_first_writer_and_kept_by_the_last() {
    let mut frames = guest(64);
    let mut parent = space(&mut frames);
    map_at(&mut parent, &mut frames, BASE, 1);
    write(&mut parent, &mut frames, BASE, 1);
    let original = frame_of(parent.translate(&frames, BASE).expect("present"));
    let mut child = parent.fork(&mut frames).expect("frames are left");
    assert_eq!(frames.references(original), Some(2));

    assert_eq!(
        child.fault(&mut frames, BASE, Access::Write),
        FaultOutcome::Resolved
    );
    let copy = frame_of(child.translate(&frames, BASE).expect("present"));
    assert_ne!(copy, original);
    assert_eq!(
        (frames.counters.cow_copies, child.pending_flush),
        (1, Flush::Page(BASE))
    );

    parent.pending_flush = Flush::None;
    assert_eq!(
        parent.fault(&mut frames, BASE, Access::Write),
        FaultOutcome::Resolved
    );
    assert_eq!(
        frame_of(parent.translate(&frames, BASE).expect("present")),
        original
    );
    assert_eq!(
        (frames.counters.cow_reuses, frames.counters.cow_copies),
        (1, 1)
    );
    assert_eq!(parent.pending_flush, Flush::None, "rights were only gained");
    check_references(&frames, &[&parent, &child]);
}

#[test]
fn copy_on_write_can_be_broken_ahead_of_the_write() {
    let mut frames = guest(64);
    let mut parent = space(&mut frames);
    map_at(&mut parent, &mut frames, BASE, 2);
    write(&mut parent, &mut frames, BASE, 1);
    let mut child = parent.fork(&mut frames).expect("frames are left");
    child.prefault_cow(&mut frames, BASE + 8);
    child.prefault_cow(&mut frames, BASE + PAGE_SIZE);
    child.prefault_cow(&mut frames, 0);
    let entry = child.translate(&frames, BASE).expect("present");
    assert_eq!(entry & (WRITABLE | COW | USER), WRITABLE | USER);
    assert_eq!((frames.counters.faults, child.usage().resident), (0, 1));
}

fn stack(space: &mut AddressSpace, frames: &mut Frames, end: u64, pages: u64) {
    let start = end - pages * PAGE_SIZE;
    let request = MapRequest {
        flags: GROWS_DOWN | STACK,
        ..anonymous(Placement::Fixed(start), pages, RW)
    };
    space.map(frames, &request).expect("it fits");
}

const STACK_END: u64 = 0x7000_0000;

#[test]
fn the_stack_grows_to_its_limit() {
    let mut frames = guest(128);
    let mut space = space(&mut frames);
    space.limits.stack = 16 * PAGE_SIZE;
    stack(&mut space, &mut frames, STACK_END, 2);
    write(&mut space, &mut frames, STACK_END - 10 * PAGE_SIZE, 1);
    assert_eq!(regions(&space)[0].0, STACK_END - 10 * PAGE_SIZE);
    assert_eq!(
        space.fault(&mut frames, STACK_END - 16 * PAGE_SIZE, Access::Write),
        FaultOutcome::Resolved
    );
    assert_eq!(
        space.fault(&mut frames, STACK_END - 17 * PAGE_SIZE, Access::Write),
        FaultOutcome::NotMapped
    );
    check_references(&frames, &[&space]);
}

#[test]
fn the_stack_keeps_256_pages_off_the_region_below() {
    let mut frames = guest(128);
    let mut space = space(&mut frames);
    stack(&mut space, &mut frames, STACK_END, 1);
    let below = STACK_END - 400 * PAGE_SIZE;
    map_at(&mut space, &mut frames, below, 1);
    let lowest = below + PAGE_SIZE + 256 * PAGE_SIZE;
    assert_eq!(
        space.fault(&mut frames, lowest - 1, Access::Write),
        FaultOutcome::NotMapped
    );
    assert_eq!(
        space.fault(&mut frames, lowest, Access::Write),
        FaultOutcome::Resolved
    );
}

#[test]
fn an_inaccessible_region_below_the_stack_is_guard_enough() {
    let mut frames = guest(128);
    let mut space = space(&mut frames);
    stack(&mut space, &mut frames, STACK_END, 1);
    let below = STACK_END - 8 * PAGE_SIZE;
    space
        .map(&mut frames, &anonymous(Placement::Fixed(below), 1, 0))
        .expect("it fits");
    assert_eq!(
        space.fault(&mut frames, below + PAGE_SIZE, Access::Write),
        FaultOutcome::Resolved
    );
    assert_eq!(
        space.fault(&mut frames, below, Access::Write),
        FaultOutcome::Denied
    );
}

#[test]
fn without_frames_a_fault_says_so_and_the_page_stays_absent() {
    let mut frames = guest(64);
    let mut space = space(&mut frames);
    map_at(&mut space, &mut frames, BASE, 4);
    for nth in 1..=4 {
        frames.fail_allocation(nth);
        assert_eq!(
            space.fault(&mut frames, BASE, Access::Write),
            FaultOutcome::OutOfMemory,
            "allocation {nth}"
        );
        assert_eq!(space.translate(&frames, BASE), None);
        space
            .advise(
                &mut frames,
                BASE,
                PAGE_SIZE,
                linux_raw_sys::general::MADV_DONTNEED,
            )
            .expect("it is mapped");
        space
            .unmap(&mut frames, BASE, 4 * PAGE_SIZE)
            .expect("it is mapped");
        map_at(&mut space, &mut frames, BASE, 4);
    }
    frames.fail_allocation(0);
    write(&mut space, &mut frames, BASE, 1);
    check_references(&frames, &[&space]);
}
