//! Memory: frames, page tables, and the address spaces of processes.
//!
//! `phys` is the only door to guest-physical memory. `frames` counts references;
//! `page_table` walks and edits; `vma` is a region, `vma_set` all of a space; `shared` are pages of MAP_SHARED and
//! of files, kept in a `page_tree`; `space` puts them together, `early_writes` tells a fork what to copy at once.
//! One file per operation on a space: `fault`, `fork`, `map` (mmap,
//! munmap), `protect`, `remap`, `advise` (madvise, mincore), `program_break` (brk). `user` is how the rest of
//! the kernel reaches a process's memory.

pub mod address;
pub mod advise;
mod early_writes;
pub mod fault;
pub mod fork;
pub mod frames;
pub mod map;
pub mod page_table;
mod page_tree;
pub mod phys;
mod place;
pub mod program_break;
pub mod protect;
pub mod remap;
pub mod shared;
pub mod space;
pub mod user;
pub mod vma;
mod vma_set;

pub use address::{Frame, PhysAddr};
pub use fault::{Access, FaultOutcome};
pub use frames::Frames;
pub use space::AddressSpace;
pub use user::UserMemory;

#[cfg(test)]
mod tests;
