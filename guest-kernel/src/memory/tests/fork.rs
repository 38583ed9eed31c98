//! What a child inherits, and that nothing is left behind when it cannot be made.

use super::*;
use crate::memory::space::Flush;
use crate::memory::{Access, FaultOutcome};
use forkvm_abi::inspect::FrameUse;
use forkvm_abi::inspect::vma::SHARED;
use forkvm_abi::layout::{DIRECT_MAP_SLOT, KERNEL_SLOT};
use forkvm_abi::page_table::{COW, WRITABLE};
use linux_raw_sys::general::{MADV_DOFORK, MADV_DONTFORK, MADV_WIPEONFORK};

#[test]
fn both_sides_become_read_only_and_the_parent_is_flushed_once() {
    let mut frames = guest(64);
    let mut parent = space(&mut frames);
    map_at(&mut parent, &mut frames, BASE, 8);
    (0..4).for_each(|page| write(&mut parent, &mut frames, BASE + page * PAGE_SIZE, 1));
    let child = parent.fork(&mut frames).expect("frames are left");
    for page in 0..4 {
        let [one, two] =
            [&parent, &child].map(|space| space.translate(&frames, BASE + page * PAGE_SIZE));
        assert_eq!(one, two);
        assert_eq!(one.expect("present") & (WRITABLE | COW), COW);
    }
    assert_eq!(
        (frames.counters.cow_armed, parent.pending_flush),
        (4, Flush::All)
    );
    assert_eq!(regions(&parent), regions(&child));
    assert_eq!(parent.usage(), child.usage());
    check_references(&frames, &[&parent, &child]);
}

#[test]
fn what_one_child_wrote_the_next_one_owns() {
    let mut frames = guest(64);
    let mut parent = space(&mut frames);
    map_at(&mut parent, &mut frames, BASE, 2);
    (0..2).for_each(|page| write(&mut parent, &mut frames, BASE + page * PAGE_SIZE, 1));
    let mut first = parent.fork(&mut frames).expect("frames are left");
    write(&mut first, &mut frames, BASE, 2);
    first.destroy(&mut frames);

    let mut second = parent.fork(&mut frames).expect("frames are left");
    for (page, rights) in [(0, WRITABLE), (1, COW)] {
        for space in [&parent, &second] {
            let entry = space.translate(&frames, BASE + page * PAGE_SIZE);
            assert_eq!(entry.expect("present") & (WRITABLE | COW), rights);
        }
    }
    write(&mut parent, &mut frames, BASE, 3);
    assert_eq!(read(&mut second, &mut frames, BASE), 1);
    check_references(&frames, &[&parent, &second]);
}

#[test]
fn kept_tables_come_back_when_frames_run_out() {
    let mut frames = guest(64);
    frames.costly_traps = true;
    let mut one = space(&mut frames);
    map_at(&mut one, &mut frames, BASE, 4);
    write(&mut one, &mut frames, BASE, 1);
    one.destroy(&mut frames);
    assert_eq!(frames.skeletons.roots().count(), 1);
    check_references(&frames, &[]);

    let total = frames.available() + frames.counters.frames_used;
    let mut taken = Vec::new();
    while let Ok(frame) = frames.allocate_zeroed(FrameUse::User) {
        assert!(frames.window.page(frame).iter().all(|byte| *byte == 0));
        taken.push(frame);
    }
    assert_eq!((taken.len() as u64, frames.available()), (total, 0));
}

#[test]
fn a_second_fork_arms_nothing_and_flushes_nothing() {
    let mut frames = guest(64);
    let mut parent = space(&mut frames);
    map_at(&mut parent, &mut frames, BASE, 8);
    write(&mut parent, &mut frames, BASE, 1);
    let first = parent.fork(&mut frames).expect("frames are left");
    parent.pending_flush = Flush::None;
    let second = parent.fork(&mut frames).expect("frames are left");
    assert_eq!(
        (frames.counters.cow_armed, parent.pending_flush),
        (1, Flush::None)
    );
    check_references(&frames, &[&parent, &first, &second]);
}

#[test]
fn the_kernels_half_goes_along() {
    let mut frames = guest(64);
    let mut parent = space(&mut frames);
    let child = parent.fork(&mut frames).expect("frames are left");
    let root = frames.window.table(child.table.root());
    assert_eq!((root[DIRECT_MAP_SLOT], root[KERNEL_SLOT]), (0x1063, 0x2063));
    assert_eq!(child.cr3(), child.table.root().address().0);
}

#[test]
fn shared_anonymous_memory_stays_shared_even_if_first_touched_after_the_fork() {
    let mut frames = guest(64);
    let before = frames.available();
    let mut parent = space(&mut frames);
    let request = MapRequest {
        flags: SHARED,
        ..anonymous(Placement::Fixed(BASE), 4, RW)
    };
    parent.map(&mut frames, &request).expect("it fits");
    write(&mut parent, &mut frames, BASE, 1);
    let mut child = parent.fork(&mut frames).expect("frames are left");
    assert_eq!(
        (frames.counters.cow_armed, parent.pending_flush),
        (0, Flush::None)
    );

    write(&mut child, &mut frames, BASE, 2);
    write(&mut child, &mut frames, BASE + PAGE_SIZE, 3);
    assert_eq!(read(&mut parent, &mut frames, BASE), 2);
    assert_eq!(read(&mut parent, &mut frames, BASE + PAGE_SIZE), 3);
    check_references(&frames, &[&parent, &child]);

    parent.destroy(&mut frames);
    assert_eq!(read(&mut child, &mut frames, BASE + PAGE_SIZE), 3);
    child
        .unmap(&mut frames, BASE, PAGE_SIZE)
        .expect("it is mapped");
    assert_eq!(
        read(&mut child, &mut frames, BASE + PAGE_SIZE),
        3,
        "the offset of the rest is kept"
    );
    check_references(&frames, &[&child]);
    child.destroy(&mut frames);
    assert_eq!(frames.available(), before);
}

#[test]
fn advice_keeps_regions_from_children_or_empties_them() {
    let mut frames = guest(64);
    let mut parent = space(&mut frames);
    map_at(&mut parent, &mut frames, BASE, 6);
    (0..6).for_each(|page| write(&mut parent, &mut frames, BASE + page * PAGE_SIZE, 5));
    parent
        .advise(&mut frames, BASE, 2 * PAGE_SIZE, MADV_DONTFORK)
        .expect("it is mapped");
    parent
        .advise(&mut frames, BASE, PAGE_SIZE, MADV_DOFORK)
        .expect("it is mapped");
    parent
        .advise(
            &mut frames,
            BASE + 4 * PAGE_SIZE,
            PAGE_SIZE,
            MADV_WIPEONFORK,
        )
        .expect("it is mapped");

    let mut child = parent.fork(&mut frames).expect("frames are left");
    assert_eq!(
        child.fault(&mut frames, BASE + PAGE_SIZE, Access::Read),
        FaultOutcome::NotMapped
    );
    let seen = [0, 2, 4, 5].map(|page| read(&mut child, &mut frames, BASE + page * PAGE_SIZE));
    assert_eq!(seen, [5, 5, 0, 5]);
    assert_eq!(read(&mut parent, &mut frames, BASE + 4 * PAGE_SIZE), 5);
    check_references(&frames, &[&parent, &child]);
}

#[test]
fn a_fork_that_fails_leaves_nothing_behind() {
    let mut frames = guest(128);
    let mut parent = space(&mut frames);
    for region in 0..3 {
        map_at(&mut parent, &mut frames, BASE + (region << 30), 4);
        write(
            &mut parent,
            &mut frames,
            BASE + (region << 30),
            1 + u8::try_from(region).expect("small"),
        );
    }
    let used = frames.counters.frames_used;
    let mut failures = 0;
    let child = loop {
        frames.fail_allocation(failures + 1);
        match parent.fork(&mut frames) {
            Ok(child) => break child,
            Err(_) => failures += 1,
        }
        assert_eq!(
            frames.counters.frames_used, used,
            "after failure {failures}"
        );
        check_references(&frames, &[&parent]);
        write(&mut parent, &mut frames, BASE, 1);
    };
    frames.fail_allocation(0);
    assert_eq!(
        failures,
        1 + 1 + 3 + 3,
        "root, one PDPT, three PDs, three PTs"
    );
    child.destroy(&mut frames);
    assert_eq!(frames.counters.frames_used, used);
    assert_eq!(read(&mut parent, &mut frames, BASE + (2 << 30)), 3);
}

#[test]
fn destroying_gives_back_every_frame_however_regions_lie() {
    let mut frames = guest(256);
    let before = frames.available();
    let mut space = space(&mut frames);
    for start in [
        0x1_0000,
        BASE,
        0x1f_f000,
        0x20_0000,
        0x3fff_f000,
        0x7f_ffff_f000,
        0x80_0000_0000,
        0x7fff_ffff_e000,
    ] {
        map_at(&mut space, &mut frames, start, 1);
        write(&mut space, &mut frames, start, 1);
    }
    check_references(&frames, &[&space]);
    space.destroy(&mut frames);
    assert_eq!(frames.available(), before);
}
