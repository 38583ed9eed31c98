//! All regions of an address space, in address order, linked for the VMM.
//!
//! Sorted chunks of boxed VMAs: finding one is two binary searches, most spaces have one chunk, and
//! inserting moves a chunk's pointers at most. A VMA never moves, as the records name each other by
//! address. Neighbours that continue each other are merged as Linux does (mm/mmap.c,
//! vma_merge), so a program that maps page after page has one VMA.

use super::frames::{Frames, OutOfFrames};
use super::page_table::LOWER_HALF_END;
use super::vma::{DONT_FORK, Vma};
use crate::arch;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

/// VMAs in a chunk at most.
const CHUNK: usize = 128;
/// Kernel heap that must be there to copy a chunk.
const HEAP_FOR_A_CHUNK: usize = 64 << 10;

/// All VMAs of a space.
#[derive(Debug, Default)]
pub(super) struct VmaSet {
    /// None is empty.
    #[allow(clippy::vec_box, reason = "records link each other by address")]
    chunks: Vec<Vec<Box<Vma>>>,
    /// VMAs in all chunks.
    count: usize,
    /// Address of the first record; 0: none.
    first: u64,
}

/// Where a VMA stands, or, with `chunk` one too high, the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    chunk: usize,
    index: usize,
}

impl VmaSet {
    /// Number of VMAs.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Address of the first record; 0: none.
    pub(super) fn first_record(&self) -> u64 {
        self.first
    }

    /// All, upwards.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Vma> {
        self.chunks.iter().flatten().map(|vma| &**vma)
    }

    /// Ranges of addresses without a hole whose VMAs agree on `kind`, upwards. `None` leaves a VMA out.
    pub(super) fn spans<K: PartialEq>(
        &self,
        kind: impl Fn(&Vma) -> Option<K>,
    ) -> impl Iterator<Item = (Range<u64>, K)> {
        let mut vmas = self
            .iter()
            .filter_map(move |vma| Some((vma.start()..vma.end(), kind(vma)?)))
            .peekable();
        core::iter::from_fn(move || {
            let (mut span, kind) = vmas.next()?;
            while let Some((more, _)) =
                vmas.next_if(|(next, other)| next.start == span.end && *other == kind)
            {
                span.end = more.end;
            }
            Some((span, kind))
        })
    }

    /// All, to be taken apart.
    pub(super) fn into_vmas(self) -> impl Iterator<Item = Box<Vma>> {
        self.chunks.into_iter().flatten()
    }

    /// The first that ends behind `address` (Linux: find_vma).
    #[inline]
    pub(super) fn first_behind(&self, address: u64) -> Option<&Vma> {
        self.get(self.position_behind(address))
    }

    /// The one that contains `address`.
    #[inline]
    pub(super) fn find(&self, address: u64) -> Option<&Vma> {
        self.first_behind(address)
            .filter(|vma| vma.start() <= address)
    }

    /// The last that ends at `address` or below it.
    pub(super) fn last_below(&self, address: u64) -> Option<&Vma> {
        self.get(self.before(self.position_behind(address))?)
    }

    /// Those that end at `address` or below it, downwards.
    pub(super) fn below(&self, address: u64) -> impl Iterator<Item = &Vma> {
        let last = self.before(self.position_behind(address));
        core::iter::successors(last, |position| self.before(*position))
            .filter_map(|position| self.get(position))
    }

    /// Those that have a page in the range, upwards.
    pub(super) fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = &Vma> {
        let first = Some(self.position_behind(start));
        let behind = core::iter::successors(first, |position| Some(self.after(*position)));
        behind
            .map_while(|position| self.get(position))
            .take_while(move |vma| vma.start() < end)
    }

    /// The unmapped addresses around a range that no VMA overlaps.
    pub(super) fn hole_around(&self, start: u64, end: u64) -> (u64, u64) {
        let behind = self.position_behind(start.max(end - 1));
        let below = self.before(behind).and_then(|position| self.get(position));
        (
            below.map_or(0, Vma::end),
            self.get(behind).map_or(LOWER_HALF_END, Vma::start),
        )
    }

    /// Adds a VMA where none is, merging it with its neighbours.
    pub(super) fn insert(&mut self, mut new: Vma) {
        let above = self.position_behind(new.start());
        let below = self.before(above);
        let continues_below = below.filter(|below| {
            self.get(*below)
                .is_some_and(|lower| lower.is_continued_by(&new))
        });
        if let Some(upper) = self.get_mut(above)
            && new.is_continued_by(upper)
        {
            upper.begin_at(new.start());
            if let Some(below) = continues_below {
                let start = self.remove_at(below).start();
                self.extend_down(new.end(), start);
            }
        } else if let Some(lower) = continues_below.and_then(|below| self.get_mut(below)) {
            lower.record.end = new.end();
        } else {
            new.record.next = 0;
            self.insert_at(above, Box::new(new));
        }
    }

    /// Takes the first VMA of a range out.
    pub(super) fn take_first_in(&mut self, start: u64, end: u64) -> Option<Box<Vma>> {
        let position = self.position_behind(start);
        self.get(position).filter(|vma| vma.start() < end)?;
        Some(self.remove_at(position))
    }

    /// Makes both ends of a range boundaries between VMAs, where they are inside of one. Returns
    /// whether there is any VMA in the range.
    pub(super) fn isolate(&mut self, start: u64, end: u64) -> bool {
        let position = self.position_behind(start);
        let Some(vma) = self.get(position).filter(|vma| vma.start() < end) else {
            return false;
        };
        let (first_start, first_end) = (vma.start(), vma.end());
        if first_start < start {
            self.split_at(position, start);
        }
        if first_end != end {
            self.split_at(self.position_behind(end), end);
        }
        true
    }

    /// Cuts the VMA at a position in two, if `at` is inside of it.
    fn split_at(&mut self, position: Position, at: u64) {
        if let Some(vma) = self.get_mut(position)
            && vma.start() < at
        {
            let lower = vma.cut_below(at);
            self.insert_at(position, Box::new(lower));
        }
    }

    /// Moves the start of the VMA that ends at `end` down, into free addresses.
    pub(super) fn extend_down(&mut self, end: u64, start: u64) {
        if let Some(vma) = self.get_mut(self.position_behind(end - 1)) {
            vma.begin_at(start);
        }
    }

    /// Changes the flags of the VMAs in a range, which begin and end on its edges, and merges what
    /// has become alike.
    pub(super) fn change_flags(&mut self, start: u64, end: u64, change: impl Fn(u64) -> u64) {
        let mut position = self.position_behind(start);
        while let Some(vma) = self.get_mut(position).filter(|vma| vma.start() < end) {
            vma.record.flags = change(vma.record.flags);
            position = self.after(position);
        }

        let mut boundary = start;
        while boundary <= end {
            self.merge_at(boundary);
            match self.first_behind(boundary) {
                Some(vma) => boundary = vma.end(),
                None => break,
            }
        }
    }

    /// Merges the VMAs that meet at `at`, if they continue each other.
    fn merge_at(&mut self, at: u64) {
        let above = self.position_behind(at);
        if let Some(below) = self.before(above)
            && let (Some(lower), Some(upper)) = (self.get(below), self.get(above))
            && lower.is_continued_by(upper)
        {
            let end = upper.end();
            let start = self.remove_at(below).start();
            self.extend_down(end, start);
        }
    }

    /// A copy for a child, without what madvise(MADV_DONTFORK) keeps from it. Fails if the kernel's heap
    /// cannot take it.
    pub(super) fn fork(&self, frames: &mut Frames) -> Result<Self, OutOfFrames> {
        let mut chunks = Vec::with_capacity(self.chunks.len());
        for chunk in &self.chunks {
            if arch::headroom() < HEAP_FOR_A_CHUNK {
                arch::top_up_heap(frames);
                if arch::headroom() < HEAP_FOR_A_CHUNK {
                    return Err(OutOfFrames);
                }
            }
            let mut copy = chunk.clone();
            if copy.iter().any(|vma| vma.has(DONT_FORK)) {
                copy.retain(|vma| !vma.has(DONT_FORK));
            }
            if !copy.is_empty() {
                chunks.push(copy);
            }
        }

        let (mut count, mut next) = (0, 0);
        for vma in chunks.iter_mut().flatten().rev() {
            vma.record.next = next;
            next = address_of(vma);
            count += 1;
        }
        Ok(Self {
            chunks,
            count,
            first: next,
        })
    }

    /// Where the first VMA stands that ends behind `address`.
    #[inline]
    fn position_behind(&self, address: u64) -> Position {
        let chunk = match self.chunks.len() {
            0 | 1 => 0,
            _ => self
                .chunks
                .partition_point(|chunk| chunk.last().is_some_and(|vma| vma.end() <= address)),
        };
        let Some(vmas) = self.chunks.get(chunk) else {
            return Position { chunk, index: 0 };
        };
        let index = vmas.partition_point(|vma| vma.end() <= address);
        if index < vmas.len() {
            Position { chunk, index }
        } else {
            Position {
                chunk: chunk + 1,
                index: 0,
            }
        }
    }

    #[inline]
    fn get(&self, at: Position) -> Option<&Vma> {
        Some(self.chunks.get(at.chunk)?.get(at.index)?)
    }

    #[inline]
    fn get_mut(&mut self, at: Position) -> Option<&mut Vma> {
        Some(self.chunks.get_mut(at.chunk)?.get_mut(at.index)?)
    }

    fn before(&self, at: Position) -> Option<Position> {
        match (at.chunk, at.index) {
            (chunk, index @ 1..) => Some(Position {
                chunk,
                index: index - 1,
            }),
            (0, 0) => None,
            (chunk, 0) => Some(Position {
                chunk: chunk - 1,
                index: self.chunks[chunk - 1].len() - 1,
            }),
        }
    }

    fn after(&self, at: Position) -> Position {
        match self.chunks.get(at.chunk) {
            Some(chunk) if at.index + 1 < chunk.len() => Position {
                index: at.index + 1,
                ..at
            },
            _ => Position {
                chunk: at.chunk + 1,
                index: 0,
            },
        }
    }

    /// Puts a VMA before the one at a position, into set and list.
    fn insert_at(&mut self, at: Position, mut new: Box<Vma>) {
        new.record.next = self.get(at).map_or(0, address_of);
        self.link_before(at, address_of(&new));
        self.count += 1;

        // What comes behind the last goes into the last chunk.
        let at = match self.chunks.last() {
            Some(last) if at.chunk == self.chunks.len() => Position {
                chunk: at.chunk - 1,
                index: last.len(),
            },
            _ => at,
        };
        match self.chunks.get_mut(at.chunk) {
            None => self.chunks.push(Vec::from([new])),
            Some(chunk) => {
                chunk.insert(at.index, new);
                if chunk.len() > CHUNK {
                    let upper = chunk.split_off(CHUNK / 2);
                    self.chunks.insert(at.chunk + 1, upper);
                }
            }
        }
    }

    /// Takes the VMA at a position out of set and list.
    fn remove_at(&mut self, at: Position) -> Box<Vma> {
        let chunk = &mut self.chunks[at.chunk];
        let old = chunk.remove(at.index);
        if chunk.is_empty() {
            self.chunks.remove(at.chunk);
        }
        self.count -= 1;
        self.link_before(at, old.record.next);
        old
    }

    /// Makes the record before a position, or the head of the list, lead to `next`.
    fn link_before(&mut self, at: Position, next: u64) {
        match self.before(at).and_then(|before| self.get_mut(before)) {
            Some(before) => before.record.next = next,
            None => self.first = next,
        }
    }
}

/// The kernel virtual address of a VMA's record, for the reader in the VMM.
fn address_of(vma: &Vma) -> u64 {
    core::ptr::from_ref(&vma.record).addr() as u64
}
