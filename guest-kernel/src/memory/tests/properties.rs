//! Random histories of several processes against a plain model.
//!
//! The model of a process is a map from page number to protection, contents and whom it is shared
//! with, and a TLB that forgets only what it is told to. After every step the reference count of each frame must equal the number of page-table
//! entries and owners that refer to it; at the end all frames must be back.

use super::*;
use crate::errno::Errno;
use crate::memory::space::{Flush, free_skeletons};
use crate::memory::{Access, FaultOutcome};
use core::cell::RefCell;
use forkvm_abi::inspect::vma::SHARED;
use forkvm_abi::page_table::{NO_EXECUTE, PRESENT, USER, WRITABLE};
use linux_raw_sys::general::{MADV_DONTNEED, MREMAP_FIXED, MREMAP_MAYMOVE};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Pages of the playground, around the border between two page tables.
const PAGES: u64 = 24;
const START: u64 = 0x20_0000 - 10 * PAGE_SIZE;

/// What one process does.
#[derive(Clone, Debug)]
enum Step {
    Map {
        page: u64,
        pages: u64,
        protection: u64,
        kind: Kind,
    },
    Unmap {
        page: u64,
        pages: u64,
    },
    Protect {
        page: u64,
        pages: u64,
        protection: u64,
    },
    Write {
        page: u64,
        value: u8,
    },
    Read {
        page: u64,
    },
    Drop {
        page: u64,
        pages: u64,
    },
    Move {
        page: u64,
        pages: u64,
        to: u64,
        to_pages: u64,
    },
    Fork,
    Exit,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Private,
    Shared,
    File,
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let page = 0..PAGES;
    let pages = 1..8u64;
    let protection = prop_oneof![4 => Just(RW), 2 => Just(READ), 1 => Just(0)];
    let kind =
        prop_oneof![3 => Just(Kind::Private), 1 => Just(Kind::Shared), 2 => Just(Kind::File)];
    let step = prop_oneof![
        4 => (page.clone(), pages.clone(), protection.clone(), kind)
            .prop_map(|(page, pages, protection, kind)| Step::Map { page, pages, protection, kind }),
        2 => (page.clone(), pages.clone()).prop_map(|(page, pages)| Step::Unmap { page, pages }),
        3 => (page.clone(), pages.clone(), protection)
            .prop_map(|(page, pages, protection)| Step::Protect { page, pages, protection }),
        12 => (page.clone(), 1..=255u8).prop_map(|(page, value)| Step::Write { page, value }),
        6 => page.clone().prop_map(|page| Step::Read { page }),
        1 => (page.clone(), pages.clone()).prop_map(|(page, pages)| Step::Drop { page, pages }),
        2 => (page.clone(), pages.clone(), page, pages)
            .prop_map(|(page, pages, to, to_pages)| Step::Move { page, pages, to, to_pages }),
        3 => Just(Step::Fork),
        1 => Just(Step::Exit),
    ];
    prop::collection::vec((0..8usize, step), 1..80)
}

/// A shared mapping as everybody sees it who has it.
#[derive(Debug)]
struct SharedBytes {
    pages: u64,
    written: RefCell<HashMap<u64, u8>>,
}

/// What a page of the model holds.
#[derive(Clone, Debug)]
enum Contents {
    Anonymous(u8),
    /// A page of the file, unless the process has written its own value.
    File(u64, Option<u8>),
    /// A page of a shared mapping.
    Shared(Rc<SharedBytes>, u64),
}

#[derive(Clone, Debug)]
struct Page {
    protection: u64,
    contents: Contents,
}

impl Page {
    /// `None`: behind the end of what is mapped.
    fn value(&self) -> Option<u8> {
        match &self.contents {
            Contents::Anonymous(value) => Some(*value),
            Contents::File(page, own) => {
                (*page < FILE_PAGES).then(|| own.unwrap_or_else(|| file_value(*page)))
            }
            Contents::Shared(bytes, page) => (*page < bytes.pages)
                .then(|| bytes.written.borrow().get(page).copied().unwrap_or(0)),
        }
    }

    fn write(&mut self, new: u8) {
        match &mut self.contents {
            Contents::Anonymous(value) => *value = new,
            Contents::File(_, own) => *own = Some(new),
            Contents::Shared(bytes, page) => drop(bytes.written.borrow_mut().insert(*page, new)),
        }
    }

    /// madvise(MADV_DONTNEED).
    fn drop_own(&mut self) {
        match &mut self.contents {
            Contents::Anonymous(value) => *value = 0,
            Contents::File(_, own) => *own = None,
            Contents::Shared(..) => {}
        }
    }

    /// The page that lies `distance` pages behind this one in a region that has just grown.
    fn behind(&self, distance: u64) -> Self {
        let contents = match &self.contents {
            Contents::Anonymous(_) => Contents::Anonymous(0),
            Contents::File(page, _) => Contents::File(page + distance, None),
            Contents::Shared(bytes, page) => Contents::Shared(bytes.clone(), page + distance),
        };
        Self {
            protection: self.protection,
            contents,
        }
    }
}

/// A process: the real space, what it should look like, and a TLB that forgets nothing by itself.
struct Process {
    space: AddressSpace,
    model: BTreeMap<u64, Page>,
    tlb: BTreeMap<u64, u64>,
}

fn address(page: u64) -> u64 {
    START + page * PAGE_SIZE
}

/// The value of file page `page`.
fn file_value(page: u64) -> u8 {
    u8::try_from(page + 1).expect("few pages")
}

impl Process {
    fn new(space: AddressSpace, model: BTreeMap<u64, Page>) -> Self {
        Self {
            space,
            model,
            tlb: BTreeMap::new(),
        }
    }

    /// Flushes what the space asks for; what the TLB then still holds must be no more than the page
    /// table allows.
    fn enter_ring_3(&mut self, frames: &Frames) {
        match core::mem::take(&mut self.space.pending_flush) {
            Flush::None => {}
            Flush::Page(address) => drop(self.tlb.remove(&address)),
            Flush::All => self.tlb.clear(),
        }
        for (address, cached) in &self.tlb {
            let entry = self.space.translate(frames, *address).unwrap_or(0);
            let excess =
                cached & !entry & (PRESENT | USER | WRITABLE) | entry & !cached & NO_EXECUTE;
            assert_eq!(excess, 0, "stale rights at {address:#x}");
            assert_eq!(
                frame_of(*cached),
                frame_of(entry),
                "stale frame at {address:#x}"
            );
        }
        for page in 0..PAGES + 8 {
            if let Some(entry) = self.space.translate(frames, address(page)) {
                self.tlb.insert(address(page), entry);
            }
        }
    }

    fn run(&mut self, frames: &mut Frames, step: &Step) {
        match *step {
            Step::Map {
                page,
                pages,
                protection,
                kind,
            } => self.map(frames, page, pages, protection, kind),
            Step::Unmap { page, pages } => {
                if self
                    .space
                    .unmap(frames, address(page), pages * PAGE_SIZE)
                    .is_ok()
                {
                    self.model
                        .retain(|at, _| !(page..page + pages).contains(at));
                }
            }
            Step::Protect {
                page,
                pages,
                protection,
            } => {
                let result =
                    self.space
                        .protect(frames, address(page), pages * PAGE_SIZE, protection);
                let mapped = (page..page + pages)
                    .take_while(|at| self.model.contains_key(at))
                    .count() as u64;
                assert_eq!(result.is_ok(), mapped == pages);
                for (_, page) in self.model.range_mut(page..page + mapped) {
                    page.protection = protection;
                }
            }
            Step::Write { page, value } => self.write(frames, page, value),
            Step::Read { page } => self.check_page(frames, page),
            Step::Drop { page, pages } => {
                let result =
                    self.space
                        .advise(frames, address(page), pages * PAGE_SIZE, MADV_DONTNEED);
                assert_eq!(
                    result.is_ok(),
                    (page..page + pages).all(|at| self.model.contains_key(&at))
                );
                self.model
                    .range_mut(page..page + pages)
                    .for_each(|(_, page)| page.drop_own());
            }
            Step::Move {
                page,
                pages,
                to,
                to_pages,
            } => self.remap(frames, page, pages, to, to_pages),
            Step::Fork | Step::Exit => unreachable!("the driver does these"),
        }
    }

    fn map(&mut self, frames: &mut Frames, page: u64, pages: u64, protection: u64, kind: Kind) {
        let first = page % 8;
        let backing = if kind == Kind::File {
            file(frames, first)
        } else {
            Backing::Anonymous
        };
        let flags = if kind == Kind::Shared { SHARED } else { 0 };
        let request = MapRequest {
            backing,
            flags,
            ..anonymous(Placement::Fixed(address(page)), pages, protection)
        };
        let result = self.space.map(frames, &request);
        if result.is_err() {
            // The old mapping is gone before the new one fails, as on Linux.
            self.model
                .retain(|at, _| self.space.vma_at(address(*at)).is_some());
            return;
        }
        let shared = Rc::new(SharedBytes {
            pages,
            written: RefCell::default(),
        });
        for at in 0..pages {
            let contents = match kind {
                Kind::Private => Contents::Anonymous(0),
                Kind::File => Contents::File(first + at, None),
                Kind::Shared => Contents::Shared(shared.clone(), at),
            };
            self.model.insert(
                page + at,
                Page {
                    protection,
                    contents,
                },
            );
        }
    }

    fn write(&mut self, frames: &mut Frames, page: u64, value: u8) {
        let result = UserMemory {
            space: &mut self.space,
            frames,
        }
        .write(address(page) + 5, &value);
        let writable = self
            .model
            .get_mut(&page)
            .filter(|page| page.protection & WRITE != 0 && page.value().is_some());
        match (writable, result) {
            (Some(page), Ok(())) => page.write(value),
            (Some(_), Err(Errno::ENOMEM)) | (None, Err(Errno::EFAULT)) => {}
            (page, result) => panic!("page is {page:?}, but writing it: {result:?}"),
        }
    }

    fn remap(&mut self, frames: &mut Frames, page: u64, pages: u64, to: u64, to_pages: u64) {
        let flags = MREMAP_MAYMOVE | MREMAP_FIXED;
        let (old_len, new_len) = (pages * PAGE_SIZE, to_pages * PAGE_SIZE);
        let before = self
            .space
            .vma_at(address(page))
            .map(|vma| (vma.start(), vma.end(), vma.inode()));
        let result = self
            .space
            .remap(frames, address(page), old_len, new_len, flags, address(to));
        let overlaps = page < to + to_pages && to < page + pages;
        if overlaps {
            return assert_eq!(result, Err(Errno::EINVAL));
        }
        let is_one_region =
            before.is_some_and(|(_, end, _)| end >= address(page + pages.min(to_pages)));
        if !is_one_region {
            return assert_eq!(result, Err(Errno::EFAULT));
        }
        if result.is_err() {
            // Out of frames: what was at the target, or behind the new length, may be gone.
            return self
                .model
                .retain(|at, _| self.space.vma_at(address(*at)).is_some());
        }
        let last_old = pages.min(to_pages) - 1;
        let moved: Vec<Page> = (0..to_pages)
            .map(|at| {
                if at <= last_old {
                    self.model[&(page + at)].clone()
                } else {
                    self.model[&(page + last_old)].behind(at - last_old)
                }
            })
            .collect();
        self.model.retain(|at, _| {
            !(to..to + to_pages).contains(at) && !(page..page + pages).contains(at)
        });
        self.model.extend((to..).zip(moved));
    }

    /// The page reads as the model says, or fails as it says.
    fn check_page(&mut self, frames: &mut Frames, page: u64) {
        let expected = self.model.get(&page).filter(|page| page.protection != 0);
        let value = expected.map(Page::value);
        let outcome = self.space.fault(frames, address(page), Access::Read);
        match (value, outcome) {
            (_, FaultOutcome::OutOfMemory) | (Some(None), FaultOutcome::BeyondFile) => {}
            (None, FaultOutcome::NotMapped | FaultOutcome::Denied) => {}
            (Some(Some(value)), FaultOutcome::Resolved) => {
                let seen = UserMemory {
                    space: &mut self.space,
                    frames,
                }
                .read::<u8>(address(page) + 5);
                assert_eq!(seen, Ok(value), "page {page}");
            }
            (expected, outcome) => {
                panic!("page {page} should hold {expected:?}, but the fault was {outcome:?}")
            }
        }
    }
}

/// Runs a history; `fail_every` makes each so manieth allocation fail.
fn run(history: &[(usize, Step)], fail_every: Option<u64>, costly_traps: bool) {
    let mut frames = guest(512);
    frames.costly_traps = costly_traps;
    frames.fault_around = if costly_traps { 4 } else { 1 };
    let mut processes = std::vec![Process::new(space(&mut frames), BTreeMap::new())];
    for (who, step) in history {
        if let Some(nth) = fail_every {
            frames.fail_allocation(nth);
        }
        let count = processes.len();
        let process = &mut processes[who % count];
        match step {
            Step::Fork if count < 8 => {
                if let Ok(child) = process.space.fork(&mut frames) {
                    let model = process.model.clone();
                    processes.push(Process::new(child, model));
                }
            }
            Step::Exit if count > 1 => processes
                .swap_remove(who % count)
                .space
                .destroy(&mut frames),
            Step::Fork | Step::Exit => {}
            step => process.run(&mut frames, step),
        }
        processes
            .iter_mut()
            .for_each(|process| process.enter_ring_3(&frames));
        let spaces: Vec<&AddressSpace> = processes.iter().map(|process| &process.space).collect();
        check_references(&frames, &spaces);
    }

    frames.fail_allocation(0);
    for process in &mut processes {
        (0..PAGES + 8).for_each(|page| process.check_page(&mut frames, page));
    }
    processes
        .into_iter()
        .for_each(|process| process.space.destroy(&mut frames));
    free_skeletons(&mut frames);
    assert_eq!(frames.counters.frames_used, 0, "all frames are back");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn processes_see_their_own_memory_and_frames_are_counted(history in steps(), costly_traps in any::<bool>()) {
        run(&history, None, costly_traps);
    }

    #[test]
    fn failing_allocations_lose_nothing(history in steps(), nth in 1..6u64, costly_traps in any::<bool>()) {
        run(&history, Some(nth), costly_traps);
    }
}
