//! Host tests of the memory code, on a small guest whose RAM is a buffer of the host's.
//!
//! One file a subject; `properties` compares random histories of several processes with a plain
//! model, and reference counts with page tables.

mod calls;
mod fault;
mod fork;
mod frames;
mod limits;
mod properties;
mod user;

use super::address::PAGE_BYTES;
use super::frames::Frames;
use super::map::{MapRequest, Placement};
use super::page_table::frame_of;
use super::phys::PhysWindow;
use super::space::{AddressSpace, Backing, KernelHalf};
use super::vma::Source;
use super::{Frame, PhysAddr, UserMemory};
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::boot::{BootInfo, Span};
use forkvm_abi::inspect::vma::{READ, WRITE};
use forkvm_abi::page_table::UNCOUNTED;
use std::collections::HashMap;
use std::vec::Vec;
use zerocopy::FromZeros;

/// Reading and writing.
const RW: u64 = READ | WRITE;
/// Where tests put their first region.
const BASE: u64 = 0x10_0000;
/// Pages of the file at the end of RAM.
const FILE_PAGES: u64 = 24;
/// Bytes of the file: its last page is not full.
const FILE_SIZE: u64 = FILE_PAGES * PAGE_SIZE - 100;

/// A guest with `ram_pages` of RAM, and behind it, as the root image, a file whose page n is full of n + 1.
fn guest(ram_pages: u64) -> Frames {
    let ram = ram_pages * PAGE_SIZE;
    let bytes = usize::try_from(ram + FILE_PAGES * PAGE_SIZE).expect("test guests are small");
    let mut window = PhysWindow::hosted(bytes);
    for page in 0..FILE_PAGES {
        let bytes = window.page_mut(Frame::containing(PhysAddr(ram + page * PAGE_SIZE)));
        bytes.fill(u8::try_from(page + 1).expect("few pages"));
        if page == FILE_PAGES - 1 {
            bytes[PAGE_BYTES - 100..].fill(0);
        }
    }
    let mut boot = BootInfo::new_zeroed();
    boot.low_ram = Span { start: 0, len: ram };
    boot.free_start = 0x2000;
    Frames::new(window, &boot)
}

/// The file behind RAM, from its page `first` on.
fn file(frames: &Frames, first: u64) -> Backing {
    let (_, count) = frames.frame_table();
    Backing::Image {
        inode: 7,
        data: count * PAGE_SIZE,
        size: FILE_SIZE,
        offset: first * PAGE_SIZE,
    }
}

fn space(frames: &mut Frames) -> AddressSpace {
    AddressSpace::new(
        frames,
        KernelHalf {
            direct_map: 0x1063,
            kernel: 0x2063,
        },
    )
    .expect("a frame for the root")
}

fn anonymous(placement: Placement, pages: u64, protection: u64) -> MapRequest {
    MapRequest {
        placement,
        len: pages * PAGE_SIZE,
        protection,
        flags: 0,
        backing: Backing::Anonymous,
    }
}

/// Maps pages of private anonymous memory, readable and writable, at `start`.
fn map_at(space: &mut AddressSpace, frames: &mut Frames, start: u64, pages: u64) {
    let request = anonymous(Placement::Fixed(start), pages, RW);
    assert_eq!(space.map(frames, &request), Ok(start));
}

/// Start, end and flags of all regions.
fn regions(space: &AddressSpace) -> Vec<(u64, u64, u64)> {
    space
        .vmas()
        .map(|vma| (vma.start(), vma.end(), vma.flags()))
        .collect()
}

fn write(space: &mut AddressSpace, frames: &mut Frames, address: u64, value: u8) {
    UserMemory { space, frames }
        .write(address, &value)
        .expect("the page is writable");
}

fn read(space: &mut AddressSpace, frames: &mut Frames, address: u64) -> u8 {
    UserMemory { space, frames }
        .read(address)
        .expect("the page is readable")
}

/// What the page tables and shared objects of all spaces refer to, frame by frame; panics unless the
/// frame table says the same, and nothing else is in use.
fn check_references(frames: &Frames, spaces: &[&AddressSpace]) {
    let mut owners: HashMap<Frame, u32> = HashMap::new();
    let mut objects = HashMap::new();
    for space in spaces {
        let (tables, pages) = count_entries(frames, space.table.root(), 4);
        assert_eq!(space.usage().resident, pages.len() as u64, "resident pages");
        tables
            .into_iter()
            .chain(pages)
            .for_each(|frame| *owners.entry(frame).or_default() += 1);
        *owners.entry(space.table.root()).or_default() += 1;
        for vma in space.vmas() {
            if let Source::Shared(object) | Source::Private(object) = &vma.source {
                objects.insert(std::rc::Rc::as_ptr(object), object.clone());
            }
        }
        check_records(space);
    }
    for object in objects.values() {
        for frame in object.frames(&frames.window) {
            *owners.entry(frame).or_default() += 1;
        }
    }
    for root in frames.skeletons.roots() {
        let (tables, pages) = count_entries(frames, root, 4);
        assert!(pages.is_empty(), "a skeleton maps nothing");
        tables
            .into_iter()
            .chain([root])
            .for_each(|frame| *owners.entry(frame).or_default() += 1);
    }
    owners.retain(|frame, _| frames.references(*frame).is_some());
    for (frame, owners) in &owners {
        assert_eq!(
            frames.references(*frame),
            Some(*owners),
            "references of {frame:?}"
        );
    }
    assert_eq!(
        frames.counters.frames_used,
        owners.len() as u64,
        "frames in use"
    );
}

/// Tables below a table, and what the leaf entries of the lower half refer to.
fn count_entries(frames: &Frames, table: Frame, level: u32) -> (Vec<Frame>, Vec<Frame>) {
    let (mut tables, mut pages) = (Vec::new(), Vec::new());
    let entries = &frames.window.table(table)[..if level == 4 { 256 } else { 512 }];
    for entry in entries.iter().filter(|entry| **entry != 0) {
        if level == 1 {
            let is_counted = frames.references(frame_of(*entry)).is_some();
            assert_eq!(entry & UNCOUNTED == 0, is_counted, "{entry:#x}");
            pages.push(frame_of(*entry));
        } else {
            tables.push(frame_of(*entry));
            let (more_tables, more_pages) = count_entries(frames, frame_of(*entry), level - 1);
            tables.extend(more_tables);
            pages.extend(more_pages);
        }
    }
    (tables, pages)
}

/// The records are linked in address order, do not overlap, and add up to what is counted.
fn check_records(space: &AddressSpace) {
    let vmas: Vec<_> = space.vmas().collect();
    let mut next = space.first_vma();
    let mut floor = 0;
    for vma in &vmas {
        assert_eq!(
            next,
            core::ptr::from_ref(*vma).addr() as u64,
            "the list and the tree agree"
        );
        assert!(
            floor <= vma.start() && vma.start() < vma.end(),
            "regions are in order"
        );
        (next, floor) = (vma.record.next, vma.end());
    }
    assert_eq!(next, 0, "the list ends with the last region");
    assert_eq!(
        space.usage().mapped,
        vmas.iter().map(|vma| vma.len()).sum::<u64>()
    );
    assert_eq!(
        space.usage().data,
        vmas.iter()
            .filter(|vma| vma.is_data())
            .map(|vma| vma.len())
            .sum::<u64>()
    );
}
