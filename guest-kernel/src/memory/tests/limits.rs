//! RLIMIT_AS, RLIMIT_DATA, vm.max_map_count, and placement that stays fast with many regions.

use super::*;
use crate::errno::Errno;
use crate::memory::map::MAX_VMAS;
use forkvm_abi::inspect::vma::SHARED;

#[test]
fn rlimit_as_counts_every_region() {
    let mut frames = guest(64);
    let mut space = space(&mut frames);
    space.limits.address_space = 8 * PAGE_SIZE;
    map_at(&mut space, &mut frames, BASE, 6);
    let three = anonymous(Placement::Hint(0), 3, 0);
    assert_eq!(space.map(&mut frames, &three), Err(Errno::ENOMEM));
    let over = anonymous(Placement::Fixed(BASE + 4 * PAGE_SIZE), 4, READ);
    assert_eq!(
        space.map(&mut frames, &over),
        Ok(BASE + 4 * PAGE_SIZE),
        "what is replaced does not count"
    );
    assert_eq!(space.usage().mapped, 8 * PAGE_SIZE);
    assert_eq!(
        space.map(&mut frames, &anonymous(Placement::Hint(0), 1, 0)),
        Err(Errno::ENOMEM)
    );
}

#[test]
fn rlimit_data_counts_private_writable_memory() {
    let mut frames = guest(64);
    let mut space = space(&mut frames);
    space.limits.data = 4 * PAGE_SIZE;
    map_at(&mut space, &mut frames, BASE, 3);
    assert_eq!(
        space.map(&mut frames, &anonymous(Placement::Hint(0), 2, RW)),
        Err(Errno::ENOMEM)
    );
    let readable = space
        .map(&mut frames, &anonymous(Placement::Hint(0), 2, READ))
        .expect("not data");
    let shared = MapRequest {
        flags: SHARED,
        ..anonymous(Placement::Hint(0), 2, RW)
    };
    space.map(&mut frames, &shared).expect("not data");
    assert_eq!(
        space.protect(&mut frames, readable, 2 * PAGE_SIZE, RW),
        Err(Errno::ENOMEM)
    );
    assert_eq!(space.protect(&mut frames, readable, PAGE_SIZE, RW), Ok(()));
    check_references(&frames, &[&space]);
}

#[test]
fn memory_far_beyond_ram_is_refused_unless_it_is_only_reserved() {
    let mut frames = guest(64);
    let mut space = space(&mut frames);
    let terabyte = 1 << 28;
    assert_eq!(
        space.map(&mut frames, &anonymous(Placement::Hint(0), terabyte, RW)),
        Err(Errno::ENOMEM)
    );
    let reserved = MapRequest {
        flags: crate::memory::vma::NO_RESERVE,
        ..anonymous(Placement::Hint(0), terabyte, RW)
    };
    assert!(space.map(&mut frames, &reserved).is_ok());
    assert!(
        space
            .map(&mut frames, &anonymous(Placement::Hint(0), terabyte, 0))
            .is_ok()
    );
    assert_eq!(
        space.map(&mut frames, &anonymous(Placement::Hint(0), 1 << 35, 0)),
        Err(Errno::ENOMEM)
    );
}

#[test]
fn no_more_regions_than_vm_max_map_count() {
    let mut frames = guest(64);
    let mut space = space(&mut frames);
    let alternate = |page: u64| if page.is_multiple_of(2) { READ } else { RW };
    let mut mapped = 0;
    let refused = loop {
        match space.map(
            &mut frames,
            &anonymous(Placement::Hint(0), 3, alternate(mapped)),
        ) {
            Ok(_) => mapped += 1,
            Err(errno) => break errno,
        }
    };
    assert_eq!(
        (refused, space.vmas().count()),
        (Errno::ENOMEM, MAX_VMAS + 1)
    );
    let first = regions(&space)[0].0;
    assert_eq!(
        space.unmap(&mut frames, first + PAGE_SIZE, PAGE_SIZE),
        Err(Errno::ENOMEM),
        "it would split"
    );
    assert_eq!(
        space.protect(&mut frames, first + PAGE_SIZE, PAGE_SIZE, 0),
        Err(Errno::ENOMEM)
    );
    assert_eq!(space.unmap(&mut frames, first, 3 * PAGE_SIZE), Ok(()));
    check_records(&space);
    let child = space.fork(&mut frames).expect("frames are left");
    assert_eq!(child.vmas().count(), MAX_VMAS);
    check_references(&frames, &[&space, &child]);
}

#[test]
fn adjacent_mappings_of_a_kind_are_one_region() {
    let mut frames = guest(64);
    let mut space = space(&mut frames);
    for _ in 0..10_000 {
        space
            .map(&mut frames, &anonymous(Placement::Hint(0), 1, RW))
            .expect("it fits");
    }
    assert_eq!(space.vmas().count(), 1);
    assert_eq!(space.usage().mapped, 10_000 * PAGE_SIZE);
}

#[test]
fn the_highest_gap_that_fits_is_taken() {
    let mut frames = guest(64);
    let mut space = space(&mut frames);
    let mut map = |space: &mut AddressSpace, pages, protection| {
        space
            .map(
                &mut frames,
                &anonymous(Placement::Hint(0), pages, protection),
            )
            .expect("it fits")
    };
    let top = map(&mut space, 4, READ) + 4 * PAGE_SIZE;
    assert_eq!(
        top, 0x7fff_f7ff_f000,
        "Linux without randomisation, 8 MiB of stack: 128 MiB below the end"
    );
    let second = map(&mut space, 2, RW);
    let third = map(&mut space, 8, READ);
    assert_eq!((second, third), (top - 6 * PAGE_SIZE, top - 14 * PAGE_SIZE));

    let mut frames_too = guest(64);
    space
        .unmap(&mut frames_too, second, 2 * PAGE_SIZE)
        .expect("mapped");
    assert_eq!(
        map(&mut space, 3, RW),
        top - 17 * PAGE_SIZE,
        "the gap is too small"
    );
    assert_eq!(map(&mut space, 1, RW), second + PAGE_SIZE);
    assert_eq!(map(&mut space, 1, READ), second);
}
