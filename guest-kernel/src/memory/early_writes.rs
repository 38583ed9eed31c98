//! Which pages a program writes right after a fork.
//!
//! Every fork arms all private pages for copy-on-write, and nearly always the same few are written at
//! once: the stack's top, the thread's own data, the allocator's. Each costs a trap on both sides. So the processes of
//! a program note the first pages they break, and the next fork copies those ahead.

use core::cell::Cell;

/// Pages noted; when there are more, the oldest is forgotten.
const PAGES: usize = 8;
/// Broken pages that each side of a fork notes.
pub(super) const NOTED_PER_FORK: u32 = 8;

/// A few page addresses, shared by all processes that descend from one execve by fork alone.
#[derive(Debug, Default)]
pub(super) struct EarlyWrites {
    pages: [Cell<u64>; PAGES],
    oldest: Cell<usize>,
}

impl EarlyWrites {
    /// Notes a page.
    pub(super) fn note(&self, page: u64) {
        if self.pages.iter().all(|known| known.get() != page) {
            let place = self.oldest.get();
            self.pages[place].set(page);
            self.oldest.set((place + 1) % PAGES);
        }
    }

    /// The pages noted. They need not be mapped any more.
    pub(super) fn pages(&self) -> impl Iterator<Item = u64> {
        self.pages.iter().map(Cell::get).filter(|page| *page != 0)
    }
}
