//! What the VMM (host) and the guest kernel agree on, and nothing else.
//!
//! Both sides compile this crate, so a number, an address or a record layout is
//! written once. Everything is `#[repr(C)]`, little-endian and free of pointers;
//! sizes are asserted. The crate has no `unsafe` and no allocation.
//!
//! In the order data flows: the memory map, what the VMM hands over at start,
//! the root image it lays out, the requests the kernel rings the doorbell with,
//! the records the VMM reads while the guest runs, and how it all ends.
#![no_std]
#![forbid(unsafe_code)]

pub mod boot;
pub mod doorbell;
pub mod image;
pub mod inspect;
pub mod layout;
pub mod page_table;
pub mod pt_regs;

/// Version of this agreement. The VMM refuses a kernel that was built with another.
pub const ABI_VERSION: u32 = 2;

/// Bytes in a page and in a page frame.
pub const PAGE_SIZE: u64 = 4096;
/// The same, for lengths of slices.
pub const PAGE_BYTES: usize = 4096;
