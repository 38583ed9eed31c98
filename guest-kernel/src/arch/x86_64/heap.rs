//! The kernel heap: size classes over a window of virtual addresses that grows by single frames. The VMM has mapped its beginning.
//!
//! An allocation must not fail, because Rust code cannot handle that everywhere. So the kernel keeps
//! headroom: [`top_up_heap`] is called between system calls, when frames are at hand, and callers refuse new work
//! (ENOMEM) while [`headroom`] is short. Blocks are never split or merged; allocating and freeing are a dozen
//! instructions each.

use crate::memory::Frames;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;
use forkvm_abi::PAGE_BYTES;
use forkvm_abi::inspect::FrameUse;
use forkvm_abi::layout::{HEAP_BASE, HEAP_MAX, RING0_PML4_GPA};
use forkvm_abi::page_table::{
    ACCESSED, ADDRESS_MASK, DIRTY, NO_EXECUTE, PRESENT, USER, WRITABLE, index,
};

/// The global allocator.
#[derive(Debug)]
pub struct KernelHeap;

/// Bytes that may be allocated between two top-ups.
const HEADROOM: usize = 256 << 10;
/// Smallest block: it holds the free list's link.
const SMALLEST: usize = 16;
/// Two classes an octave, from 16 bytes to 12 MiB.
const CLASSES: usize = 40;

struct State {
    /// First byte never allocated.
    frontier: usize,
    /// First byte not backed by a frame.
    mapped_end: usize,
    /// Free blocks by class, linked through their first word.
    free: [*mut FreeBlock; CLASSES],
    /// Bytes in use.
    used: usize,
}

struct FreeBlock {
    next: *mut FreeBlock,
}

struct Heap(UnsafeCell<State>);

// SAFETY: there is one vCPU and the kernel is not interrupted, so accesses do not overlap.
unsafe impl Sync for Heap {}

#[allow(clippy::cast_possible_truncation, reason = "addresses are 64-bit")]
const BASE: usize = HEAP_BASE as usize;

static HEAP: Heap = Heap(UnsafeCell::new(State {
    frontier: BASE,
    mapped_end: BASE,
    free: [null_mut(); CLASSES],
    used: 0,
}));

/// Class of a size, and the bytes of its blocks: 16, 24, 32, 48, 64, 96, ...
fn class_of(size: usize) -> (usize, usize) {
    let size = size.max(SMALLEST);
    let octave = (usize::BITS - 1 - (size - 1).leading_zeros()) as usize; // 2^octave < size <= 2^(octave + 1)
    let three_quarters = 3 << octave.saturating_sub(1);
    if size <= three_quarters {
        (2 * octave - 7, three_quarters)
    } else {
        (2 * octave - 6, 2 << octave)
    }
}

/// Blocks of a class are aligned to the largest power of two that divides their size.
fn block_for(layout: Layout) -> (usize, usize) {
    let (class, bytes) = class_of(layout.size());
    if bytes & bytes.wrapping_neg() >= layout.align() {
        return (class, bytes);
    }
    class_of(layout.size().max(layout.align()).next_power_of_two())
}

// SAFETY: blocks come from the heap window, are disjoint, large enough and aligned (block_for); a block is on a free list or in use, never both.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (class, bytes) = block_for(layout);
        // SAFETY: one vCPU, no reentry: the only reference to the state.
        let state = unsafe { &mut *HEAP.0.get() };
        let Some(slot) = state.free.get_mut(class) else {
            return null_mut();
        };
        let block = *slot;
        if !block.is_null() {
            // SAFETY: a block on the free list is unused memory of the window, written by `dealloc`.
            *slot = unsafe { (*block).next };
            state.used += bytes;
            return block.cast();
        }
        let align = bytes & bytes.wrapping_neg();
        let start = state.frontier.next_multiple_of(align.min(PAGE_BYTES * 16));
        let Some(end) = start.checked_add(bytes) else {
            return null_mut();
        };
        if end > state.mapped_end {
            return null_mut();
        }
        state.frontier = end;
        state.used += bytes;
        core::ptr::with_exposed_provenance_mut(start)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let (class, bytes) = block_for(layout);
        // SAFETY: as in `alloc`.
        let state = unsafe { &mut *HEAP.0.get() };
        let block: *mut FreeBlock = pointer.cast();
        // SAFETY: the caller gives the block back; it is at least 16 bytes and 8-byte aligned.
        unsafe { (*block).next = state.free[class] };
        state.free[class] = block;
        state.used -= bytes;
    }
}

/// Takes over the bytes that the VMM has mapped, before the first allocation.
pub(super) fn begin(mapped: u64) {
    // SAFETY: as in `alloc`.
    let state = unsafe { &mut *HEAP.0.get() };
    state.mapped_end = BASE + usize::try_from(mapped).expect("64-bit");
}

/// Bytes that can be allocated for certain before the next top-up.
pub fn headroom() -> usize {
    // SAFETY: as in `alloc`.
    let state = unsafe { &*HEAP.0.get() };
    state.mapped_end - state.frontier
}

/// Maps frames behind the heap until it has its headroom again, or until frames run out.
#[inline]
pub fn top_up_heap(frames: &mut Frames) {
    if headroom() < HEADROOM {
        grow(frames);
    }
}

#[cold]
fn grow(frames: &mut Frames) {
    // SAFETY: as in `alloc`; nothing below allocates.
    let state = unsafe { &mut *HEAP.0.get() };
    while state.mapped_end - state.frontier < HEADROOM + HEADROOM / 4 {
        let address = state.mapped_end as u64;
        if address >= HEAP_BASE + HEAP_MAX || map(frames, address).is_none() {
            break;
        }
        state.mapped_end += PAGE_BYTES;
    }
    frames.counters.heap_bytes = state.used as u64;
}

/// Maps one fresh frame. Both platforms share the tables below the PML4.
fn map(frames: &mut Frames, address: u64) -> Option<()> {
    const TABLE: u64 = PRESENT | WRITABLE | USER | ACCESSED;
    let mut table = crate::memory::Frame::containing(crate::memory::PhysAddr(RING0_PML4_GPA));
    for level in [4, 3, 2] {
        let entry = frames.window.table(table)[index(address, level)];
        table = if entry & PRESENT != 0 {
            crate::memory::Frame::containing(crate::memory::PhysAddr(entry & ADDRESS_MASK))
        } else {
            let fresh = frames.allocate_zeroed(FrameUse::PageTable).ok()?;
            frames.window.table_mut(table)[index(address, level)] = fresh.address().0 | TABLE;
            fresh
        };
    }
    let frame = frames.allocate(FrameUse::Heap).ok()?;
    frames.window.table_mut(table)[index(address, 1)] =
        frame.address().0 | TABLE | DIRTY | NO_EXECUTE;
    Some(())
}
