//! Resolves page faults of user code, and of the kernel's own accesses to user memory.
//!
//! A present PTE decides by itself: COW means "copy, or take over if you are the last". Only an
//! absent one asks for the region. Faults come one trap at a time, and a trap is what costs, so
//! neighbours that need no frame of their own are mapped along.

use super::address::{Frame, PhysAddr, page_down};
use super::frames::{Frames, OutOfFrames};
use super::page_table::frame_of;
use super::shared::{NoPage, SharedPages};
use super::space::AddressSpace;
use super::vma::{PROTECTION, STACK_GUARD_BYTES, Source, Vma};
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::inspect::{FrameUse, vma as flag};
use forkvm_abi::layout::{MMAP_MIN_ADDR, USER_END};
use forkvm_abi::page_table::{
    ACCESSED, ADDRESS_MASK, COW, DIRTY, NO_EXECUTE, UNCOUNTED, USER, WRITABLE,
};

/// Pages of a file that one fault maps at most, as an aligned window (Linux's fault_around_bytes).
const FILE_WINDOW: u64 = 16;

/// What the access wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Execute,
}

/// What became of a page fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum FaultOutcome {
    /// The page is usable now; run the instruction again.
    Resolved,
    /// Nothing is mapped there: SIGSEGV, SEGV_MAPERR.
    NotMapped,
    /// The region does not allow it: SIGSEGV, SEGV_ACCERR.
    Denied,
    /// Behind the end of the mapped file: SIGBUS, BUS_ADRERR.
    BeyondFile,
    /// No frame is left.
    OutOfMemory,
}

impl AddressSpace {
    /// Makes `address` usable for `access`, or says why not. Counts what it did in `frames`' counters.
    pub fn fault(&mut self, frames: &mut Frames, address: u64, access: Access) -> FaultOutcome {
        frames.counters.faults += 1;
        self.resolve(frames, address, access)
    }

    /// Makes all pages of a range usable for `access` ahead of time (MAP_POPULATE, execve); stops at
    /// the first that cannot be.
    pub fn populate(
        &mut self,
        frames: &mut Frames,
        start: u64,
        len: u64,
        access: Access,
    ) -> FaultOutcome {
        let mut page = page_down(start);
        let end = start.saturating_add(len);
        while page < end {
            match self.resolve(frames, page, access) {
                FaultOutcome::Resolved => page += PAGE_SIZE,
                refused => return refused,
            }
        }
        FaultOutcome::Resolved
    }

    /// Breaks copy-on-write of one page ahead of the write, which saves its trap. Other pages are left
    /// as they are; so is this one if no frame is left.
    pub fn prefault_cow(&mut self, frames: &mut Frames, address: u64) {
        if let Some(entry) = self.translate(frames, address)
            && entry & COW != 0
        {
            let _ = self.resolve(frames, address, Access::Write);
        }
    }

    /// As [`AddressSpace::fault`], for the kernel's own accesses: not counted as a fault.
    pub(super) fn resolve(
        &mut self,
        frames: &mut Frames,
        address: u64,
        access: Access,
    ) -> FaultOutcome {
        if address >= USER_END {
            return FaultOutcome::NotMapped;
        }
        let page = page_down(address);
        let slot = self.table.slot(&frames.window, page);
        match slot.map(|slot| (slot, frames.window.word(slot))) {
            Some((slot, entry)) if entry != 0 => {
                self.resolve_present(frames, page, slot, entry, access)
            }
            _ => self.resolve_absent(frames, page, slot, access),
        }
    }

    /// A page that has a PTE.
    #[inline]
    fn resolve_present(
        &mut self,
        frames: &mut Frames,
        page: u64,
        slot: PhysAddr,
        entry: u64,
        access: Access,
    ) -> FaultOutcome {
        match access {
            Access::Write if entry & COW != 0 => self.break_cow(frames, page, slot, entry),
            _ if allows(entry, access) => FaultOutcome::Resolved,
            _ => FaultOutcome::Denied,
        }
    }

    /// A write to a page that is shared since a fork, or borrowed from a file or the zero frame. The
    /// last owner takes the frame over; everybody else gets a copy.
    fn break_cow(
        &mut self,
        frames: &mut Frames,
        page: u64,
        slot: PhysAddr,
        entry: u64,
    ) -> FaultOutcome {
        let old = frame_of(entry);
        let references = frames.references(old);
        self.note_write(frames, page, references);
        let bits = entry & !(COW | UNCOUNTED | ADDRESS_MASK) | WRITABLE | DIRTY | ACCESSED;
        if references == Some(1) {
            frames.window.set_word(slot, old.address().0 | bits);
            frames.counters.cow_reuses += 1;
            return FaultOutcome::Resolved;
        }

        let Ok(new) = own_copy(frames, old) else {
            return FaultOutcome::OutOfMemory;
        };
        frames.window.set_word(slot, new.address().0 | bits);
        if references.is_some() {
            frames.release(old);
        }
        self.flush_range(page, page + PAGE_SIZE);
        FaultOutcome::Resolved
    }

    /// The first writes after a fork are what the next fork will copy ahead. Taking a page over is cheaper than
    /// copying it, except for its trap.
    fn note_write(&mut self, frames: &Frames, page: u64, references: Option<u32>) {
        if self.writes_to_note != 0 && (references != Some(1) || frames.costly_traps) {
            self.writes_to_note -= 1;
            self.early_writes.note(page);
        }
    }

    /// A page without a PTE: its region says what belongs there.
    fn resolve_absent(
        &mut self,
        frames: &mut Frames,
        page: u64,
        slot: Option<PhysAddr>,
        access: Access,
    ) -> FaultOutcome {
        let vma = match self.vmas.find(page) {
            Some(vma) => vma,
            None => {
                if !self.grow_stack(page) {
                    return FaultOutcome::NotMapped;
                }
                self.vmas
                    .find(page)
                    .expect("the stack has grown down to the page")
            }
        };
        if !vma_allows(vma, access) {
            return FaultOutcome::Denied;
        }
        if vma.is_behind_source(page) {
            return FaultOutcome::BeyondFile;
        }
        let slot = match slot.map_or_else(|| self.table.slot_or_create(frames, page), Ok) {
            Ok(slot) => slot,
            Err(_) => return FaultOutcome::OutOfMemory,
        };
        let fault = AbsentPage {
            vma,
            page,
            slot,
            write: access == Access::Write,
        };
        let mapped = match &vma.source {
            Source::Anonymous => fault.anonymous(frames),
            Source::Image { data, size } => fault.image(frames, *data, *size),
            Source::Shared(pages) => fault.shared(frames, pages),
            Source::Private(pages) => fault.private(frames, pages),
        };
        match mapped {
            Ok(pages) => {
                self.usage.resident += pages;
                FaultOutcome::Resolved
            }
            Err(NoPage::OutOfFrames) => FaultOutcome::OutOfMemory,
            // As on Linux when a hole of a file on a full file system is touched.
            Err(NoPage::OverQuota) => FaultOutcome::BeyondFile,
        }
    }

    /// Extends the stack above `page` down to it, within RLIMIT_STACK and off the region below
    /// (Linux: expand_downwards, acct_stack_growth).
    fn grow_stack(&mut self, page: u64) -> bool {
        let Some(stack) = self
            .vmas
            .first_behind(page)
            .filter(|vma| vma.has(flag::GROWS_DOWN))
        else {
            return false;
        };
        let (start, end, flags) = (stack.start(), stack.end(), stack.flags());
        let is_too_close = self.vmas.last_below(page).is_some_and(|below| {
            !below.has(flag::GROWS_DOWN)
                && below.has(PROTECTION)
                && page - below.end() < STACK_GUARD_BYTES
        });
        if is_too_close
            || page < MMAP_MIN_ADDR
            || end - page > self.limits.stack
            || !self.may_expand(start - page, flags)
        {
            return false;
        }
        self.account(start - page, flags, u64::wrapping_add);
        self.vmas.extend_down(end, page);
        true
    }
}

/// A fault on a page without a PTE, ready to be mapped. The methods return how many pages they
/// mapped.
struct AbsentPage<'a> {
    vma: &'a Vma,
    page: u64,
    slot: PhysAddr,
    write: bool,
}

impl AbsentPage<'_> {
    /// Zeros: the shared frame of them for a read, frames of its own for a write.
    fn anonymous(&self, frames: &mut Frames) -> Result<u64, NoPage> {
        if !self.write {
            let zero = frames.zero_frame();
            let bits = self.vma.borrowed_bits() | UNCOUNTED;
            frames.window.set_word(self.slot, zero.address().0 | bits);
            return Ok(1);
        }
        let bits = self.vma.own_bits();
        let frame = frames.allocate_zeroed(FrameUse::User)?;
        frames.window.set_word(self.slot, frame.address().0 | bits);
        let mut mapped = 1;
        if frames.fault_around > 1 {
            for slot in self
                .window(frames.fault_around)
                .map(|page| self.slot_of(page))
            {
                if frames.window.word(slot) == 0
                    && let Ok(frame) = frames.allocate_zeroed(FrameUse::User)
                {
                    frames.window.set_word(slot, frame.address().0 | bits);
                    mapped += 1;
                }
            }
        }
        frames.counters.demand_zero += mapped;
        Ok(mapped)
    }

    /// A page of a file: the image's own frames for reading, with their neighbours; a copy for writing.
    fn image(&self, frames: &mut Frames, data: u64, size: u64) -> Result<u64, NoPage> {
        let frame_for = |page| Frame::containing(PhysAddr(data + self.vma.offset_of(page)));
        let mut mapped = 0;
        if self.write {
            let copy = own_copy(frames, frame_for(self.page))?;
            frames
                .window
                .set_word(self.slot, copy.address().0 | self.vma.own_bits());
            mapped += 1;
        }
        let bits = self.vma.borrowed_bits() | UNCOUNTED;
        for page in self.window(FILE_WINDOW) {
            let slot = self.slot_of(page);
            if frames.window.word(slot) == 0 && self.vma.offset_of(page) < size {
                frames
                    .window
                    .set_word(slot, frame_for(page).address().0 | bits);
                mapped += 1;
            }
        }
        Ok(mapped)
    }

    /// A page of a shared object, which keeps a reference of its own.
    fn shared(&self, frames: &mut Frames, pages: &SharedPages) -> Result<u64, NoPage> {
        let frame = pages.writable(frames, self.page_of_file())?;
        frames.share(frame);
        frames
            .window
            .set_word(self.slot, frame.address().0 | self.vma.own_bits());
        Ok(1)
    }

    /// A page of a file in memory: the file's own frame for reading, a copy for writing.
    fn private(&self, frames: &mut Frames, pages: &SharedPages) -> Result<u64, NoPage> {
        let page = self.page_of_file();
        let frame = match pages.readable(frames, page) {
            Some(frame) => frame,
            None => pages.writable(frames, page)?,
        };
        let entry = if self.write {
            own_copy(frames, frame)?.address().0 | self.vma.own_bits()
        } else {
            frames.share(frame);
            let uncounted = match frames.references(frame) {
                Some(_) => 0,
                None => UNCOUNTED,
            };
            frame.address().0 | self.vma.borrowed_bits() | uncounted
        };
        frames.window.set_word(self.slot, entry);
        Ok(1)
    }

    /// Number of the page in the file or shared object.
    fn page_of_file(&self) -> u64 {
        self.vma.offset_of(self.page) / PAGE_SIZE
    }

    /// The pages of the aligned window of `pages` (at most 512) around the fault, as far as the
    /// region has them. They share one page table.
    fn window(&self, pages: u64) -> impl Iterator<Item = u64> + use<> {
        let bytes = pages * PAGE_SIZE;
        let aligned = self.page & !(bytes - 1);
        let start = aligned.max(self.vma.start());
        let end = (aligned + bytes).min(self.vma.end());
        (0..(end - start) / PAGE_SIZE).map(move |i| start + i * PAGE_SIZE)
    }

    /// The slot of a page of the window.
    fn slot_of(&self, page: u64) -> PhysAddr {
        let distance = page.wrapping_sub(self.page).cast_signed() / (PAGE_SIZE / 8).cast_signed();
        PhysAddr(self.slot.0.wrapping_add_signed(distance))
    }
}

/// A frame with the bytes of `old` for one owner.
fn own_copy(frames: &mut Frames, old: Frame) -> Result<Frame, OutOfFrames> {
    if old == frames.zero_frame() {
        let new = frames.allocate_zeroed(FrameUse::User)?;
        frames.counters.demand_zero += 1;
        Ok(new)
    } else {
        let new = frames.allocate(FrameUse::User)?;
        frames.window.copy(old, new);
        frames.counters.cow_copies += 1;
        Ok(new)
    }
}

/// Whether a PTE lets ring 3 do it.
#[inline]
pub(super) fn allows(entry: u64, access: Access) -> bool {
    match access {
        Access::Read => entry & USER != 0,
        Access::Write => entry & (USER | WRITABLE) == USER | WRITABLE,
        Access::Execute => entry & (USER | NO_EXECUTE) == USER,
    }
}

/// Whether a region lets ring 3 do it: on x86 every accessible page can be read.
fn vma_allows(vma: &Vma, access: Access) -> bool {
    match access {
        Access::Read => vma.has(PROTECTION),
        Access::Write => vma.has(flag::WRITE),
        Access::Execute => vma.has(flag::EXEC),
    }
}
