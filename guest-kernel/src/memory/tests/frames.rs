//! Frame table, free lists, counts.

use super::*;
use crate::memory::frames::OutOfFrames;
use forkvm_abi::inspect::{FrameUse, frame_index};
use forkvm_abi::layout::HIGH_RAM_GPA;

#[test]
fn a_frame_lives_as_long_as_it_has_owners() {
    let mut frames = guest(64);
    let before = frames.available();
    let frame = frames.allocate(FrameUse::User).expect("RAM is free");
    frames.share(frame);
    assert_eq!(frames.references(frame), Some(2));
    frames.release(frame);
    assert_eq!(
        (frames.references(frame), frames.available()),
        (Some(1), before - 1)
    );
    frames.release(frame);
    assert_eq!(
        (frames.references(frame), frames.available()),
        (Some(0), before)
    );
}

#[test]
fn freed_frames_are_handed_out_before_fresh_ones_and_cleared_only_if_dirty() {
    let mut frames = guest(64);
    let frame = frames.allocate(FrameUse::User).expect("RAM is free");
    frames.window.page_mut(frame).fill(0xee);
    frames.release(frame);
    assert_eq!(frames.allocate_zeroed(FrameUse::User), Ok(frame));
    assert!(frames.window.page(frame).iter().all(|byte| *byte == 0));

    frames.release_clean(frame);
    assert_eq!(frames.allocate_zeroed(FrameUse::PageTable), Ok(frame));
}

#[test]
fn the_last_frame_is_followed_by_an_error() {
    let mut frames = guest(16);
    let taken: Vec<Frame> = core::iter::from_fn(|| frames.allocate(FrameUse::User).ok()).collect();
    assert_eq!(taken.len() as u64, frames.counters.frames_total);
    assert_eq!(
        (frames.available(), frames.allocate(FrameUse::User)),
        (0, Err(OutOfFrames))
    );
    taken.into_iter().for_each(|frame| frames.release(frame));
    assert_eq!(frames.available(), frames.counters.frames_total);
    assert_eq!(frames.counters.frames_peak, frames.counters.frames_total);
}

#[test]
fn what_is_not_ours_is_not_counted() {
    let mut frames = guest(64);
    let image = Frame::from_number(frames.frame_table().1);
    for frame in [image, frames.zero_frame(), Frame::from_number(1)] {
        frames.share(frame);
        frames.release(frame);
        frames.release(frame);
        assert_eq!(frames.references(frame), None);
    }
    assert_eq!(frames.counters.frames_used, 0);
}

#[test]
fn ram_beyond_the_hole_is_used_after_low_ram_and_has_its_records_behind_it() {
    let low = 32 * PAGE_SIZE;
    let window =
        PhysWindow::hosted(usize::try_from(HIGH_RAM_GPA + 8 * PAGE_SIZE).expect("64-bit host"));
    let mut boot = BootInfo::new_zeroed();
    boot.low_ram = Span { start: 0, len: low };
    boot.high_ram = Span {
        start: HIGH_RAM_GPA,
        len: 8 * PAGE_SIZE,
    };
    boot.free_start = 0x2000;
    let mut frames = Frames::new(window, &boot);
    let taken: Vec<Frame> =
        core::iter::from_fn(|| frames.allocate(FrameUse::Kernel).ok()).collect();
    assert_eq!(taken.len() as u64, frames.counters.frames_total);
    assert_eq!(
        taken.last(),
        Some(&Frame::from_number(HIGH_RAM_GPA / PAGE_SIZE + 7))
    );

    let (table, count) = frames.frame_table();
    assert_eq!(count, 40);
    for frame in taken {
        let index =
            frame_index(frame.address().0, low, HIGH_RAM_GPA + 8 * PAGE_SIZE).expect("it is RAM");
        let record = frames.window.word(PhysAddr(table + 8 * index));
        assert_eq!(
            record,
            1 | (FrameUse::Kernel as u64) << 32,
            "record of {frame:?}"
        );
        frames.release(frame);
    }
    assert_eq!(frames.counters.frames_used, 0);
}
