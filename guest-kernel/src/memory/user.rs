//! A process's memory as the kernel reaches it: never through the user's virtual address, always by
//! walking its page table, faulting pages in and breaking COW as the process itself would.

use super::frames::Frames;
use super::space::AddressSpace;
use crate::errno::Errno;
use alloc::vec::Vec;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// One process's memory, borrowed for the length of a system call.
#[derive(Debug)]
pub struct UserMemory<'a> {
    /// Whose.
    pub space: &'a mut AddressSpace,
    /// Where frames come from when pages are faulted in.
    pub frames: &'a mut Frames,
}

impl UserMemory<'_> {
    /// Copies from the process. EFAULT if any byte is not readable; what was copied before stays copied.
    pub fn read_bytes(&mut self, address: u64, into: &mut [u8]) -> Result<(), Errno> {
        let _ = (address, into);
        todo!()
    }

    /// Copies to the process; EFAULT if any byte is not writable, after the bytes before it were written.
    pub fn write_bytes(&mut self, address: u64, from: &[u8]) -> Result<(), Errno> {
        let _ = (address, from);
        todo!()
    }

    /// A value.
    pub fn read<T: FromBytes + IntoBytes>(&mut self, address: u64) -> Result<T, Errno> {
        let mut value = T::new_zeroed();
        self.read_bytes(address, value.as_mut_bytes())?;
        Ok(value)
    }

    /// A value.
    pub fn write<T: IntoBytes + Immutable + ?Sized>(&mut self, address: u64, value: &T) -> Result<(), Errno> {
        self.write_bytes(address, value.as_bytes())
    }

    /// A NUL-terminated string without its NUL, of at most `max` bytes; `too_long` if there is no NUL among the first `max`.
    pub fn read_string(&mut self, address: u64, max: usize, too_long: Errno) -> Result<Vec<u8>, Errno> {
        let _ = (address, max, too_long);
        todo!()
    }
}
