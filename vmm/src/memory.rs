//! The guest's RAM as the VMM sees it.
//!
//! In:  the size asked for.
//! Out: a [`GuestRam`]: every access is by guest-physical address, checked, and fails as a value.
//!
//! The host backs RAM lazily: a guest of 64 GiB costs what it touches. Low RAM starts at
//! GPA 0; what does not fit below 3 GiB continues at 4 GiB (see `forkvm_abi::layout`).

use forkvm_abi::boot::Span;
use forkvm_abi::layout::{HIGH_RAM_GPA, LOW_RAM_MAX};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// RAM comes in large pages: the direct map uses no smaller ones.
pub const LARGE_PAGE: u64 = 2 << 20;

const _: () = assert!(usize::BITS == u64::BITS, "forkvm runs on x86-64 hosts");

/// A length or an index as the host counts them: nothing is lost on a 64-bit host.
#[expect(clippy::cast_possible_truncation, reason = "asserted above")]
pub(crate) const fn native(value: u64) -> usize {
    value as usize
}

/// An access to guest memory that is not RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{len:#x} bytes at guest-physical {gpa:#x} are not all in RAM")]
pub struct OutsideRam {
    /// First GPA of the access.
    pub gpa: u64,
    /// Bytes.
    pub len: u64,
}

/// Why there is no RAM for a guest.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot reserve {mib} MiB of address space for the guest's memory: {source}; ask for less with --memory"
)]
pub struct AllocationError {
    mib: u64,
    source: vm_memory::mmap::FromRangesError,
}

/// RAM of one guest.
#[derive(Debug)]
pub struct GuestRam {
    mapping: GuestMemoryMmap,
    /// From GPA 0.
    pub low: Span,
    /// From 4 GiB; empty for small guests.
    pub high: Span,
}

impl GuestRam {
    /// Reserves `bytes` (a multiple of [`LARGE_PAGE`]) of zeros.
    pub fn allocate(bytes: u64) -> Result<Self, AllocationError> {
        let low = Span {
            start: 0,
            len: bytes.min(LOW_RAM_MAX),
        };
        let high = Span {
            start: HIGH_RAM_GPA,
            len: bytes - low.len,
        };
        let ranges = [low, high].into_iter().filter(|span| span.len > 0);
        let ranges: Vec<_> = ranges
            .map(|span| (GuestAddress(span.start), native(span.len)))
            .collect();
        // vm-memory maps anonymous, private and with MAP_NORESERVE.
        let mapping = GuestMemoryMmap::from_ranges(&ranges).map_err(|source| AllocationError {
            mib: bytes >> 20,
            source,
        })?;
        Ok(Self { mapping, low, high })
    }

    /// First GPA behind all RAM.
    pub fn end(&self) -> u64 {
        if self.high.len > 0 {
            self.high.end()
        } else {
            self.low.end()
        }
    }

    /// vm-memory's view, for crates that load into it.
    pub fn mapping(&self) -> &GuestMemoryMmap {
        &self.mapping
    }

    /// GPA, bytes and host address of each run of RAM, for KVM's memory slots.
    pub fn regions(&self) -> impl Iterator<Item = (u64, u64, *mut u8)> {
        self.mapping
            .iter()
            .map(|region| (region.start_addr().0, region.len(), region.as_ptr()))
    }

    /// Whether all of it is RAM.
    pub fn contains(&self, gpa: u64, len: u64) -> bool {
        let inside = |span: Span| {
            gpa >= span.start
                && gpa - span.start <= span.len
                && len <= span.len - (gpa - span.start)
        };
        inside(self.low) || inside(self.high)
    }

    /// Copies bytes out of RAM.
    pub fn read_bytes(&self, gpa: u64, bytes: &mut [u8]) -> Result<(), OutsideRam> {
        self.check(gpa, bytes.len())?;
        self.mapping
            .read_slice(bytes, GuestAddress(gpa))
            .map_err(|_| OutsideRam {
                gpa,
                len: bytes.len() as u64,
            })
    }

    /// Copies bytes into RAM.
    pub fn write_bytes(&self, gpa: u64, bytes: &[u8]) -> Result<(), OutsideRam> {
        self.check(gpa, bytes.len())?;
        self.mapping
            .write_slice(bytes, GuestAddress(gpa))
            .map_err(|_| OutsideRam {
                gpa,
                len: bytes.len() as u64,
            })
    }

    /// A record of the abi crate.
    pub fn read<T: FromBytes + IntoBytes>(&self, gpa: u64) -> Result<T, OutsideRam> {
        let mut value = T::new_zeroed();
        self.read_bytes(gpa, value.as_mut_bytes())?;
        Ok(value)
    }

    /// Stores a record of the abi crate.
    pub fn write<T: IntoBytes + Immutable>(&self, gpa: u64, value: &T) -> Result<(), OutsideRam> {
        self.write_bytes(gpa, value.as_bytes())
    }

    /// Host address of RAM, for what has to be atomic or done by a system call.
    pub fn host_address(&self, gpa: u64, len: u64) -> Result<*mut u8, OutsideRam> {
        if !self.contains(gpa, len) {
            return Err(OutsideRam { gpa, len });
        }
        self.mapping
            .get_host_address(GuestAddress(gpa))
            .map_err(|_| OutsideRam { gpa, len })
    }

    /// Backs RAM that the guest is about to use with pages at once.
    pub fn make_resident(&self, span: Span) -> Result<(), OutsideRam> {
        let address = self.host_address(span.start, span.len)?;
        // SAFETY: (1) the span is RAM, all of which is a private mapping of ours.
        unsafe { make_resident(address, native(span.len)) };
        Ok(())
    }

    /// The direct answer to hostile lengths: no access that straddles two regions or leaves RAM.
    fn check(&self, gpa: u64, len: usize) -> Result<(), OutsideRam> {
        if self.contains(gpa, len as u64) {
            Ok(())
        } else {
            Err(OutsideRam {
                gpa,
                len: len as u64,
            })
        }
    }
}

/// Backs memory with pages of its own at once, before the guest touches it: one system call instead of a fault for
/// each page, and KVM can map neighbours of a page that faults, because they are there and writable.
/// A hint (Linux 5.14): where it fails, pages come as they are touched.
///
/// # Safety
/// The range is a private mapping of the caller's.
pub(crate) unsafe fn make_resident(address: *mut u8, len: usize) {
    // SAFETY: (1) populating changes nothing that can be read; (2) the range is the caller's.
    unsafe { libc::madvise(address.cast(), len, libc::MADV_POPULATE_WRITE) };
}
