//! Loads the guest kernel's ELF into RAM.

use crate::embedded::Kernel;
use crate::memory::{GuestRam, OutsideRam};
use forkvm_abi::layout::{KERNEL_LOAD_END_GPA, KERNEL_LOAD_GPA};
use linux_loader::loader::{Elf, KernelLoader};
use std::io::Cursor;

/// Why the kernel cannot be loaded: all of them are mistakes of the build.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A segment is not where kernels go.
    #[error(
        "the guest kernel wants {bytes:#x} bytes at guest-physical {gpa:#x}, outside of {KERNEL_LOAD_GPA:#x}..{KERNEL_LOAD_END_GPA:#x}"
    )]
    Bounds {
        /// First GPA.
        gpa: u64,
        /// Bytes.
        bytes: u64,
    },
    /// linux-loader refuses the file.
    #[error("the guest kernel cannot be loaded: {0}")]
    Elf(linux_loader::loader::Error),
    /// A boot symbol is in no segment.
    #[error("the guest kernel's address {0:#x} is in none of its segments")]
    NoSegment(u64),
    /// A boot symbol's segment is not in RAM.
    #[error(transparent)]
    Memory(#[from] OutsideRam),
}

/// Copies the segments to their guest-physical addresses. What they leave uninitialised is zero already.
pub fn load_kernel(ram: &GuestRam, kernel: &Kernel) -> Result<(), LoadError> {
    for segment in kernel.segments {
        let inside = segment.gpa >= KERNEL_LOAD_GPA
            && segment
                .gpa
                .checked_add(segment.bytes)
                .is_some_and(|end| end <= KERNEL_LOAD_END_GPA);
        if !inside {
            return Err(LoadError::Bounds {
                gpa: segment.gpa,
                bytes: segment.bytes,
            });
        }
    }
    Elf::load(ram.mapping(), None, &mut Cursor::new(kernel.elf), None).map_err(LoadError::Elf)?;
    Ok(())
}

/// Guest-physical address of a virtual address of the kernel image.
pub fn kernel_gpa(kernel: &Kernel, address: u64) -> Result<u64, LoadError> {
    let containing = kernel
        .segments
        .iter()
        .find(|segment| (segment.address..segment.address + segment.bytes).contains(&address));
    containing
        .map(|segment| segment.gpa + (address - segment.address))
        .ok_or(LoadError::NoSegment(address))
}
