//! Addresses by kind. User virtual addresses stay plain `u64`: they are claims, checked where used.

use forkvm_abi::PAGE_SIZE;

/// Bytes in a page, as the length of a slice.
#[allow(clippy::cast_possible_truncation, reason = "4096 fits every usize")]
pub const PAGE_BYTES: usize = PAGE_SIZE as usize;

/// Binary logarithm of the page size.
pub const PAGE_SHIFT: u32 = PAGE_SIZE.trailing_zeros();

/// A guest-physical address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhysAddr(pub u64);

/// A page frame: 4 KiB of guest-physical memory. Kept as the address of its first byte, which is
/// how page-table entries name it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame(u64);

impl Frame {
    /// The frame that contains an address.
    pub const fn containing(address: PhysAddr) -> Self {
        Self(page_down(address.0))
    }

    /// By page frame number.
    pub const fn from_number(number: u64) -> Self {
        Self(number << PAGE_SHIFT)
    }

    /// Page frame number.
    pub const fn number(self) -> u64 {
        self.0 >> PAGE_SHIFT
    }

    /// Address of its first byte.
    pub const fn address(self) -> PhysAddr {
        PhysAddr(self.0)
    }
}

impl core::fmt::Debug for Frame {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "frame {:#x}", self.0)
    }
}

impl core::fmt::Debug for PhysAddr {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Rounds down to a page boundary.
pub const fn page_down(address: u64) -> u64 {
    address & !(PAGE_SIZE - 1)
}

/// Rounds up to a page boundary; `None` on overflow.
pub const fn page_up(address: u64) -> Option<u64> {
    match address.checked_add(PAGE_SIZE - 1) {
        Some(sum) => Some(page_down(sum)),
        None => None,
    }
}
