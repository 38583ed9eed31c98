//! Descriptor tables: small integers to open file descriptions.
//!
//! In:  ids of open files, each with one reference that the table takes over.
//! Out: ids again. The table counts nothing and closes nothing: what falls out of it is handed back
//!      for [`FileSystem::close_file`](super::FileSystem::close_file).

use super::file::OpenFile;
use crate::arena::Id;
use crate::errno::Errno;
use alloc::vec::Vec;

/// Descriptors a process may have at most, whatever RLIMIT_NOFILE says (Linux's fs.nr_open): one table stays
/// below 64 KiB of heap.
pub const MAX_DESCRIPTORS: u32 = 4096;

/// One descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// What is open.
    pub file: Id<OpenFile>,
    /// FD_CLOEXEC.
    pub close_on_exec: bool,
}

/// Descriptors of one process (shared by CLONE_FILES).
#[derive(Clone, Debug, Default)]
pub struct FdTable {
    slots: Vec<Option<Descriptor>>,
    /// No slot below is free: where the search for the lowest free one starts.
    lowest_free: usize,
}

impl FdTable {
    /// A table without descriptors.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is open under a number. EBADF.
    pub fn get(&self, fd: i32) -> Result<Descriptor, Errno> {
        usize::try_from(fd)
            .ok()
            .and_then(|slot| *self.slots.get(slot)?)
            .ok_or(Errno::EBADF)
    }

    /// FD_CLOEXEC of a descriptor. EBADF.
    pub fn set_close_on_exec(&mut self, fd: i32, on: bool) -> Result<(), Errno> {
        let slot = usize::try_from(fd)
            .ok()
            .and_then(|slot| self.slots.get_mut(slot)?.as_mut())
            .ok_or(Errno::EBADF)?;
        slot.close_on_exec = on;
        Ok(())
    }

    /// Whether [`add`](Self::add) would find a slot: asked before something is made that needs one. EMFILE.
    pub fn has_room(&self, from: u32, limit: u32) -> Result<(), Errno> {
        self.free_slot(from, limit).map(|_| ())
    }

    /// Enters a file under the lowest free number from `from` up. EMFILE if that is not below `limit` (RLIMIT_NOFILE).
    pub fn add(&mut self, descriptor: Descriptor, from: u32, limit: u32) -> Result<i32, Errno> {
        let slot = self.free_slot(from, limit)?;
        if slot >= self.slots.len() {
            self.slots.resize(slot + 1, None);
        }
        self.slots[slot] = Some(descriptor);
        if slot == self.lowest_free {
            self.lowest_free = slot + 1;
        }
        Ok(i32::try_from(slot).expect("slots stay below MAX_DESCRIPTORS"))
    }

    /// Enters a file under exactly this number (dup2); what was there is handed back. EBADF if `fd` is not below `limit`.
    pub fn set(
        &mut self,
        fd: i32,
        descriptor: Descriptor,
        limit: u32,
    ) -> Result<Option<Descriptor>, Errno> {
        let slot = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        if slot >= limit.min(MAX_DESCRIPTORS) as usize {
            return Err(Errno::EBADF);
        }
        if slot >= self.slots.len() {
            self.slots.resize(slot + 1, None);
        }
        Ok(self.slots[slot].replace(descriptor))
    }

    /// Takes a descriptor out. EBADF.
    pub fn remove(&mut self, fd: i32) -> Result<Descriptor, Errno> {
        let slot = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        let descriptor = self
            .slots
            .get_mut(slot)
            .and_then(Option::take)
            .ok_or(Errno::EBADF)?;
        self.lowest_free = self.lowest_free.min(slot);
        Ok(descriptor)
    }

    /// Takes out the first descriptor from `from` up that close-on-exec marks.
    pub fn remove_marked(&mut self, from: usize) -> Option<(usize, Descriptor)> {
        let slot = (from..self.slots.len())
            .find(|&slot| self.slots[slot].is_some_and(|entry| entry.close_on_exec))?;
        self.lowest_free = self.lowest_free.min(slot);
        self.slots[slot].take().map(|descriptor| (slot, descriptor))
    }

    /// Everything that is open, in order of the numbers.
    pub fn descriptors(&self) -> impl Iterator<Item = Descriptor> {
        self.slots.iter().flatten().copied()
    }

    /// Slots in use or once used; no descriptor has this number or a higher one.
    pub fn end(&self) -> usize {
        self.slots.len()
    }

    fn free_slot(&self, from: u32, limit: u32) -> Result<usize, Errno> {
        let start = self.lowest_free.max(from as usize);
        let free = (start..self.slots.len()).find(|&slot| self.slots[slot].is_none());
        let slot = free.unwrap_or(self.slots.len().max(start));
        if slot < limit.min(MAX_DESCRIPTORS) as usize {
            Ok(slot)
        } else {
            Err(Errno::EMFILE)
        }
    }
}
