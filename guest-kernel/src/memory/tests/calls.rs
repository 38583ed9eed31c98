//! mmap, munmap, mprotect, mremap, madvise, brk: rules and errors of the man pages.

use super::*;
use crate::errno::Errno;
use crate::memory::{Access, FaultOutcome};
use forkvm_abi::inspect::vma::{EXEC, FILE, HEAP, SHARED};
use forkvm_abi::layout::USER_END;
use linux_raw_sys::general::{
    MADV_DONTNEED, MADV_FREE, MADV_WILLNEED, MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE,
};

const P: u64 = PAGE_SIZE;

/// A space with ten pages at BASE, page n holding n.
fn ten_pages() -> (Frames, AddressSpace) {
    let mut frames = guest(128);
    let mut space = space(&mut frames);
    map_at(&mut space, &mut frames, BASE, 10);
    (0..10u8).for_each(|page| write(&mut space, &mut frames, BASE + u64::from(page) * P, page));
    (frames, space)
}

#[test]
fn mmap_refuses_what_linux_refuses() {
    let (mut frames, mut space) = ten_pages();
    let mut map = |placement, len| {
        let request = MapRequest {
            len,
            ..anonymous(placement, 1, RW)
        };
        space.map(&mut frames, &request)
    };
    assert_eq!(map(Placement::Hint(0), 0), Err(Errno::EINVAL));
    assert_eq!(map(Placement::Hint(0), u64::MAX), Err(Errno::ENOMEM));
    assert_eq!(map(Placement::Fixed(BASE + 1), P), Err(Errno::EINVAL));
    assert_eq!(map(Placement::Fixed(USER_END), P), Err(Errno::ENOMEM));
    assert_eq!(
        map(Placement::Fixed(u64::MAX - P + 1), P),
        Err(Errno::ENOMEM)
    );
    assert_eq!(map(Placement::Fixed(0), P), Err(Errno::EPERM));
    assert_eq!(
        map(Placement::FixedNoReplace(BASE + 9 * P), P),
        Err(Errno::EEXIST)
    );
    assert_eq!(
        map(Placement::FixedNoReplace(BASE + 10 * P), 1),
        Ok(BASE + 10 * P)
    );
    assert_eq!(
        map(Placement::Hint(BASE + 20 * P - 5), 1),
        Ok(BASE + 20 * P),
        "a free hint is rounded up and taken"
    );
    assert_ne!(
        map(Placement::Hint(BASE), 1),
        Ok(BASE),
        "a hint that is taken is no hint"
    );
}

#[test]
fn offsets_that_overflow_are_refused() {
    let mut frames = guest(128);
    let mut space = space(&mut frames);
    let backing = file(&frames, (u64::MAX >> 12) - 1);
    let request = MapRequest {
        backing,
        ..anonymous(Placement::Hint(0), 1, READ)
    };
    let start = space
        .map(&mut frames, &request)
        .expect("it fits, and every access is SIGBUS");
    assert_eq!(
        space.fault(&mut frames, start, Access::Read),
        FaultOutcome::BeyondFile
    );
    assert_eq!(
        space.remap(&mut frames, start, P, 3 * P, MREMAP_MAYMOVE, 0),
        Err(Errno::EINVAL)
    );
    let request = MapRequest {
        len: 3 * P,
        ..request
    };
    assert_eq!(space.map(&mut frames, &request), Err(Errno::EOVERFLOW));
}

#[test]
fn a_fixed_mapping_replaces_what_was_there() {
    let (mut frames, mut space) = ten_pages();
    map_at(&mut space, &mut frames, BASE + 2 * P, 3);
    let seen: Vec<u8> = (0..10)
        .map(|page| read(&mut space, &mut frames, BASE + page * P))
        .collect();
    assert_eq!(seen, [0, 1, 0, 0, 0, 5, 6, 7, 8, 9]);
    assert_eq!(regions(&space), [(BASE, BASE + 10 * P, RW)]);
    check_references(&frames, &[&space]);
}

#[test]
fn munmap_cuts_and_frees() {
    let (mut frames, mut space) = ten_pages();
    assert_eq!(space.unmap(&mut frames, BASE + 1, P), Err(Errno::EINVAL));
    assert_eq!(space.unmap(&mut frames, BASE, 0), Err(Errno::EINVAL));
    assert_eq!(space.unmap(&mut frames, BASE, u64::MAX), Err(Errno::EINVAL));
    assert_eq!(space.unmap(&mut frames, USER_END, P), Err(Errno::EINVAL));
    assert_eq!(space.unmap(&mut frames, BASE + 4 * P, 2 * P - 1), Ok(()));
    assert_eq!(
        regions(&space),
        [(BASE, BASE + 4 * P, RW), (BASE + 6 * P, BASE + 10 * P, RW)]
    );
    assert_eq!(
        space.fault(&mut frames, BASE + 5 * P, Access::Read),
        FaultOutcome::NotMapped
    );
    check_references(&frames, &[&space]);
    assert_eq!(
        space.unmap(&mut frames, 0, USER_END),
        Ok(()),
        "holes do not matter"
    );
    assert_eq!(
        (frames.counters.frames_used, space.usage().mapped),
        (1, 0),
        "only the root is left"
    );
    assert_eq!(
        space.unmap(&mut frames, BASE, P),
        Ok(()),
        "nor does nothing"
    );
}

#[test]
fn mprotect_splits_merges_and_never_loses_a_page() {
    let (mut frames, mut space) = ten_pages();
    space
        .protect(&mut frames, BASE + 3 * P, 2 * P, READ)
        .expect("mapped");
    assert_eq!(
        regions(&space),
        [
            (BASE, BASE + 3 * P, RW),
            (BASE + 3 * P, BASE + 5 * P, READ),
            (BASE + 5 * P, BASE + 10 * P, RW)
        ]
    );
    assert_eq!(
        space.fault(&mut frames, BASE + 3 * P, Access::Write),
        FaultOutcome::Denied
    );
    space
        .protect(&mut frames, BASE, 10 * P, RW)
        .expect("mapped");
    assert_eq!(regions(&space), [(BASE, BASE + 10 * P, RW)]);
    let faults = frames.counters.faults;
    write(&mut space, &mut frames, BASE + 3 * P, 33);
    assert_eq!(
        (frames.counters.faults, frames.counters.cow_reuses),
        (faults, 0),
        "writable at once for its only owner"
    );
    space.protect(&mut frames, BASE, 10 * P, 0).expect("mapped");
    space
        .protect(&mut frames, BASE, 10 * P, READ | EXEC)
        .expect("mapped");
    assert_eq!(
        space.fault(&mut frames, BASE + 9 * P, Access::Execute),
        FaultOutcome::Resolved
    );
    let seen: Vec<u8> = (0..10)
        .map(|page| read(&mut space, &mut frames, BASE + page * P))
        .collect();
    assert_eq!(seen, [0, 1, 2, 33, 4, 5, 6, 7, 8, 9]);
    check_references(&frames, &[&space]);
}

#[test]
fn mprotect_does_not_give_a_child_its_parents_page() {
    let (mut frames, mut parent) = ten_pages();
    let mut child = parent.fork(&mut frames).expect("frames are left");
    for protection in [READ, RW] {
        child
            .protect(&mut frames, BASE, 10 * P, protection)
            .expect("mapped");
    }
    write(&mut child, &mut frames, BASE + P, 77);
    assert_eq!(read(&mut parent, &mut frames, BASE + P), 1);
    check_references(&frames, &[&parent, &child]);
}

#[test]
fn mprotect_refuses_what_linux_refuses() {
    let (mut frames, mut space) = ten_pages();
    let backing = file(&frames, 0);
    let request = MapRequest {
        backing,
        flags: SHARED | crate::memory::vma::NEVER_WRITE,
        ..anonymous(Placement::Fixed(BASE + 20 * P), 2, READ)
    };
    space.map(&mut frames, &request).expect("it fits");
    assert_eq!(
        space.protect(&mut frames, BASE + 1, P, READ),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        space.protect(&mut frames, BASE + 50 * P, P, READ),
        Err(Errno::ENOMEM)
    );
    assert_eq!(
        space.protect(&mut frames, BASE, u64::MAX, READ),
        Err(Errno::ENOMEM)
    );
    assert_eq!(space.protect(&mut frames, BASE, 0, READ), Ok(()));
    assert_eq!(
        space.protect(&mut frames, BASE + 20 * P, P, RW),
        Err(Errno::EACCES)
    );
    assert_eq!(
        space.protect(&mut frames, BASE + 8 * P, 4 * P, READ),
        Err(Errno::ENOMEM)
    );
    assert_eq!(
        regions(&space)[1],
        (BASE + 8 * P, BASE + 10 * P, READ),
        "up to the hole it is done"
    );
    assert_eq!(
        regions(&space)[2].2,
        READ | SHARED | FILE | crate::memory::vma::NEVER_WRITE
    );
}

#[test]
fn mremap_shrinks_and_grows_in_place_where_it_can() {
    let (mut frames, mut space) = ten_pages();
    assert_eq!(
        space.remap(&mut frames, BASE, 10 * P, 4 * P, 0, 0),
        Ok(BASE)
    );
    assert_eq!(regions(&space), [(BASE, BASE + 4 * P, RW)]);
    assert_eq!(space.remap(&mut frames, BASE, 4 * P, 6 * P, 0, 0), Ok(BASE));
    assert_eq!(regions(&space), [(BASE, BASE + 6 * P, RW)]);
    assert_eq!(read(&mut space, &mut frames, BASE + 3 * P), 3);
    assert_eq!(read(&mut space, &mut frames, BASE + 4 * P), 0);
    map_at(&mut space, &mut frames, BASE + 6 * P, 1);
    space
        .protect(&mut frames, BASE + 6 * P, P, READ)
        .expect("mapped");
    assert_eq!(
        space.remap(&mut frames, BASE, 6 * P, 8 * P, 0, 0),
        Err(Errno::ENOMEM)
    );
    check_references(&frames, &[&space]);
}

#[test]
fn mremap_moves_entries_not_bytes() {
    let (mut frames, mut space) = ten_pages();
    map_at(&mut space, &mut frames, BASE + 10 * P, 1);
    space
        .protect(&mut frames, BASE + 10 * P, P, READ)
        .expect("mapped");
    let frame = frame_of(space.translate(&frames, BASE + 4 * P).expect("present"));
    let moved = space
        .remap(&mut frames, BASE, 10 * P, 60 * P, MREMAP_MAYMOVE, 0)
        .expect("there is room");
    assert_eq!(
        frame_of(space.translate(&frames, moved + 4 * P).expect("present")),
        frame
    );
    let seen: Vec<u8> = (0..11)
        .map(|page| read(&mut space, &mut frames, moved + page * P))
        .collect();
    assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]);
    assert_eq!(regions(&space)[0], (BASE + 10 * P, BASE + 11 * P, READ));
    assert_eq!(
        (frames.counters.cow_copies, space.usage().mapped),
        (0, 61 * P)
    );
    check_references(&frames, &[&space]);
}

#[test]
fn mremap_to_a_fixed_place_replaces_what_was_there() {
    let (mut frames, mut space) = ten_pages();
    let target = 0x5fff_f000;
    map_at(&mut space, &mut frames, target, 4);
    write(&mut space, &mut frames, target, 99);
    let flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    assert_eq!(
        space.remap(&mut frames, BASE + 2 * P, 3 * P, 2 * P, flags, target),
        Ok(target)
    );
    assert_eq!(
        [0, 1].map(|page| read(&mut space, &mut frames, target + page * P)),
        [2, 3]
    );
    assert_eq!(
        regions(&space),
        [
            (BASE, BASE + 2 * P, RW),
            (BASE + 5 * P, BASE + 10 * P, RW),
            (target, target + 4 * P, RW)
        ]
    );
    check_references(&frames, &[&space]);
}

#[test]
fn mremap_dontunmap_leaves_the_old_range_empty() {
    let (mut frames, mut space) = ten_pages();
    let flags = MREMAP_MAYMOVE | MREMAP_DONTUNMAP;
    let moved = space
        .remap(&mut frames, BASE, 10 * P, 10 * P, flags, 0)
        .expect("there is room");
    assert_eq!(
        (
            read(&mut space, &mut frames, moved + 9 * P),
            read(&mut space, &mut frames, BASE + 9 * P)
        ),
        (9, 0)
    );
    assert_eq!(space.usage().mapped, 20 * P);
    check_references(&frames, &[&space]);
}

#[test]
fn mremap_keeps_the_offset_in_a_file() {
    let mut frames = guest(128);
    let mut space = space(&mut frames);
    let backing = file(&frames, 1);
    let request = MapRequest {
        backing,
        ..anonymous(Placement::Fixed(BASE), 6, READ)
    };
    space.map(&mut frames, &request).expect("it fits");
    let target = BASE + 100 * P;
    let flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    assert_eq!(
        space.remap(&mut frames, BASE + 2 * P, 2 * P, 3 * P, flags, target),
        Ok(target)
    );
    assert_eq!(
        [0, 1, 2].map(|page| read(&mut space, &mut frames, target + page * P)),
        [4, 5, 6]
    );
    assert_eq!(read(&mut space, &mut frames, BASE + 4 * P), 6);
    check_references(&frames, &[&space]);
}

#[test]
fn mremap_of_no_bytes_of_shared_memory_maps_it_once_more() {
    let mut frames = guest(128);
    let mut space = space(&mut frames);
    let request = MapRequest {
        flags: SHARED,
        ..anonymous(Placement::Fixed(BASE), 2, RW)
    };
    space.map(&mut frames, &request).expect("it fits");
    let alias = space
        .remap(&mut frames, BASE, 0, 2 * P, MREMAP_MAYMOVE, 0)
        .expect("there is room");
    write(&mut space, &mut frames, alias + P, 6);
    assert_eq!(read(&mut space, &mut frames, BASE + P), 6);
    check_references(&frames, &[&space]);
}

#[test]
fn mremap_refuses_what_linux_refuses() {
    let (mut frames, mut space) = ten_pages();
    let mut remap = |old, old_len, new_len, flags, new| {
        space.remap(&mut frames, old, old_len, new_len, flags, new)
    };
    assert_eq!(remap(BASE + 1, P, P, 0, 0), Err(Errno::EINVAL));
    assert_eq!(remap(BASE, P, 0, 0, 0), Err(Errno::EINVAL));
    assert_eq!(remap(BASE, P, P, 8, 0), Err(Errno::EINVAL));
    assert_eq!(
        remap(BASE, P, P, MREMAP_FIXED, BASE + 50 * P),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        remap(BASE, P, 2 * P, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        remap(BASE, P, P, MREMAP_MAYMOVE | MREMAP_FIXED, BASE + 50 * P + 1),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        remap(
            BASE,
            4 * P,
            4 * P,
            MREMAP_MAYMOVE | MREMAP_FIXED,
            BASE + 2 * P
        ),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        remap(BASE, 11 * P, 12 * P, MREMAP_MAYMOVE, 0),
        Err(Errno::EFAULT)
    );
    assert_eq!(
        remap(BASE + 20 * P, P, 2 * P, MREMAP_MAYMOVE, 0),
        Err(Errno::EFAULT)
    );
    assert_eq!(remap(BASE, 0, P, MREMAP_MAYMOVE, 0), Err(Errno::EINVAL));
    assert_eq!(
        remap(BASE, P, 1 << 46, MREMAP_MAYMOVE, 0),
        Err(Errno::ENOMEM)
    );
    assert_eq!(regions(&space), [(BASE, BASE + 10 * P, RW)]);
}

#[test]
fn a_move_that_fails_changes_nothing() {
    let (mut frames, mut space) = ten_pages();
    map_at(&mut space, &mut frames, BASE + 10 * P, 1);
    space
        .protect(&mut frames, BASE + 10 * P, P, READ)
        .expect("mapped");
    let (used, before) = (frames.counters.frames_used, regions(&space));
    for nth in 1..=3 {
        frames.fail_allocation(nth);
        assert_eq!(
            space.remap(&mut frames, BASE, 10 * P, 20 * P, MREMAP_MAYMOVE, 0),
            Err(Errno::ENOMEM)
        );
        assert_eq!(
            (frames.counters.frames_used, regions(&space)),
            (used, before.clone())
        );
    }
    frames.fail_allocation(0);
    assert_eq!(read(&mut space, &mut frames, BASE + 9 * P), 9);
    check_references(&frames, &[&space]);
}

#[test]
fn madvise_dontneed_and_free_drop_pages() {
    let (mut frames, mut space) = ten_pages();
    space
        .advise(&mut frames, BASE + P, 2 * P, MADV_DONTNEED)
        .expect("mapped");
    space
        .advise(&mut frames, BASE + 5 * P, P, MADV_FREE)
        .expect("mapped");
    space
        .advise(&mut frames, BASE, 10 * P, MADV_WILLNEED)
        .expect("mapped");
    let seen: Vec<u8> = (0..7)
        .map(|page| read(&mut space, &mut frames, BASE + page * P))
        .collect();
    assert_eq!(seen, [0, 0, 0, 3, 4, 0, 6]);
    check_references(&frames, &[&space]);
}

#[test]
fn madvise_refuses_what_linux_refuses() {
    let (mut frames, mut space) = ten_pages();
    let mut advise = |address, len, advice| space.advise(&mut frames, address, len, advice);
    assert_eq!(advise(BASE, P, 7), Err(Errno::EINVAL));
    assert_eq!(advise(BASE, P, u32::MAX), Err(Errno::EINVAL));
    assert_eq!(advise(BASE + 1, P, MADV_DONTNEED), Err(Errno::EINVAL));
    assert_eq!(advise(BASE, u64::MAX, MADV_DONTNEED), Err(Errno::EINVAL));
    assert_eq!(advise(BASE, 0, MADV_DONTNEED), Ok(()));
    assert_eq!(
        advise(BASE + 9 * P, 2 * P, MADV_DONTNEED),
        Err(Errno::ENOMEM)
    );
    assert_eq!(
        read(&mut space, &mut frames, BASE + 9 * P),
        0,
        "the mapped part is dealt with"
    );
}

#[test]
fn the_break_moves_within_its_limits() {
    let (mut frames, mut space) = ten_pages();
    let start = BASE + 100 * P + 0x123;
    space.set_break_start(start);
    assert_eq!(space.set_break(&mut frames, 0), start);
    assert_eq!(space.set_break(&mut frames, start + 1), start + 1);
    assert_eq!(space.vmas().count(), 1, "the page belongs to the image");
    let up = start + 3 * P;
    assert_eq!(space.set_break(&mut frames, up), up);
    assert_eq!(
        regions(&space)[1],
        (BASE + 101 * P, BASE + 104 * P, RW | HEAP)
    );
    write(&mut space, &mut frames, up - 1, 8);
    assert_eq!(space.set_break(&mut frames, up + 5 * P), up + 5 * P);
    assert_eq!(space.vmas().count(), 2);
    assert_eq!(space.set_break(&mut frames, start), start);
    assert_eq!(space.set_break(&mut frames, up), up);
    assert_eq!(
        read(&mut space, &mut frames, up - 1),
        0,
        "what was given back comes back empty"
    );

    space.limits.data = 5 * P;
    assert_eq!(space.set_break(&mut frames, start + 6 * P), up);
    space.limits.data = u64::MAX;
    map_at(&mut space, &mut frames, BASE + 110 * P, 1);
    assert_eq!(
        space.set_break(&mut frames, BASE + 110 * P),
        up,
        "a page is left to the next region"
    );
    assert_eq!(space.set_break(&mut frames, BASE + 109 * P), BASE + 109 * P);
    assert_eq!(space.set_break(&mut frames, u64::MAX), BASE + 109 * P);
    check_references(&frames, &[&space]);
}
