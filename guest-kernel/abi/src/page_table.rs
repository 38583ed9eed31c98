//! Page-table entry bits (Intel SDM vol. 3, 4.5; AMD APM vol. 2, 5.3), and which of the
//! bits left to software forkvm uses.

/// Entry is valid.
pub const PRESENT: u64 = 1 << 0;
/// Writes are allowed (at every level).
pub const WRITABLE: u64 = 1 << 1;
/// Ring 3 may access (at every level).
pub const USER: u64 = 1 << 2;
/// Write-through.
pub const WRITE_THROUGH: u64 = 1 << 3;
/// Not cached.
pub const CACHE_DISABLE: u64 = 1 << 4;
/// Set by the CPU on any access.
pub const ACCESSED: u64 = 1 << 5;
/// Set by the CPU on a write (leaf entries).
pub const DIRTY: u64 = 1 << 6;
/// The entry maps a large page (PDPTE, PDE).
pub const PAGE_SIZE_BIT: u64 = 1 << 7;
/// Survives a CR3 load.
pub const GLOBAL: u64 = 1 << 8;
/// Software bit: read-only because the frame is shared since a fork; a write copies it or takes it over.
pub const COW: u64 = 1 << 9;
/// Software bit: the frame's references are not counted; it belongs to the root image, or is the frame of zeros.
pub const UNCOUNTED: u64 = 1 << 10;
/// Instruction fetches are refused.
pub const NO_EXECUTE: u64 = 1 << 63;
/// The physical-address bits of an entry.
pub const ADDRESS_MASK: u64 = 0x000f_ffff_ffff_f000;

/// Entries in a table.
pub const ENTRIES: usize = 512;

/// Index into the table of `level` (4 is the PML4, 1 the page table) for a virtual address.
pub const fn index(va: u64, level: u32) -> usize {
    ((va >> (12 + 9 * (level - 1))) & 511) as usize
}
