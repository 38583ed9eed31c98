//! A process's memory as the kernel reaches it: never through the user's virtual address, always by
//! walking its page table, faulting pages in and breaking COW as the process itself would.
//!
//! A page whose PTE already allows the access costs one walk and the copy.

use super::address::{Frame, page_down};
use super::fault::{Access, FaultOutcome, allows};
use super::frames::Frames;
use super::page_table::frame_of;
use super::space::AddressSpace;
use crate::errno::Errno;
use alloc::vec::Vec;
use core::ops::Range;
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::layout::USER_END;
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
        let mut rest = into;
        self.with_bytes(address, rest.len() as u64, |piece| {
            let (now, later) = core::mem::take(&mut rest).split_at_mut(piece.len());
            now.copy_from_slice(piece);
            rest = later;
        })
    }

    /// Copies to the process; EFAULT if any byte is not writable, after the bytes before it were written.
    pub fn write_bytes(&mut self, address: u64, from: &[u8]) -> Result<(), Errno> {
        let mut rest = from;
        self.with_bytes_mut(address, from.len() as u64, |piece| {
            let (now, later) = rest.split_at(piece.len());
            piece.copy_from_slice(now);
            rest = later;
        })
    }

    /// A value.
    pub fn read<T: FromBytes + IntoBytes>(&mut self, address: u64) -> Result<T, Errno> {
        let mut value = T::new_zeroed();
        self.read_bytes(address, value.as_mut_bytes())?;
        Ok(value)
    }

    /// A value.
    pub fn write<T: IntoBytes + Immutable + ?Sized>(
        &mut self,
        address: u64,
        value: &T,
    ) -> Result<(), Errno> {
        self.write_bytes(address, value.as_bytes())
    }

    /// A NUL-terminated string without its NUL, of at most `max` bytes; `too_long` if there is no NUL among the first `max`.
    pub fn read_string(
        &mut self,
        address: u64,
        max: usize,
        too_long: Errno,
    ) -> Result<Vec<u8>, Errno> {
        let mut string = Vec::new();
        let mut at = address;
        while string.len() < max {
            let (frame, range) = self.piece(at, (max - string.len()) as u64, Access::Read)?;
            let piece = &self.frames.window.page(frame)[range];
            if let Some(len) = piece.iter().position(|byte| *byte == 0) {
                string.extend_from_slice(&piece[..len]);
                return Ok(string);
            }
            string.extend_from_slice(piece);
            at += piece.len() as u64;
        }
        Err(too_long)
    }

    /// Shows `len` bytes of the process to `look`, page by page in order. EFAULT if one is not readable; the
    /// pages before it have been shown then.
    pub fn with_bytes(
        &mut self,
        address: u64,
        len: u64,
        mut look: impl FnMut(&[u8]),
    ) -> Result<(), Errno> {
        let mut done = 0;
        while done < len {
            let (frame, range) =
                self.piece(address.wrapping_add(done), len - done, Access::Read)?;
            done += range.len() as u64;
            look(&self.frames.window.page(frame)[range]);
        }
        Ok(())
    }

    /// Hands `len` bytes of the process to `fill`, page by page in order. EFAULT if one is not writable; the
    /// pages before it have been filled then.
    pub fn with_bytes_mut(
        &mut self,
        address: u64,
        len: u64,
        mut fill: impl FnMut(&mut [u8]),
    ) -> Result<(), Errno> {
        let mut done = 0;
        while done < len {
            let (frame, range) =
                self.piece(address.wrapping_add(done), len - done, Access::Write)?;
            done += range.len() as u64;
            fill(&mut self.frames.window.page_mut(frame)[range]);
        }
        Ok(())
    }

    /// The frame behind `address` and the bytes in it that the access may touch, at most `len`.
    #[inline]
    fn piece(
        &mut self,
        address: u64,
        len: u64,
        access: Access,
    ) -> Result<(Frame, Range<usize>), Errno> {
        let frame = self.frame(address, access)?;
        let start = address % PAGE_SIZE;
        let end = (start + len.min(PAGE_SIZE)).min(PAGE_SIZE);
        #[allow(clippy::cast_possible_truncation, reason = "offsets in a page")]
        Ok((frame, start as usize..end as usize))
    }

    /// The frame behind `address`, usable for `access`: from the PTE if it allows that already.
    #[inline]
    fn frame(&mut self, address: u64, access: Access) -> Result<Frame, Errno> {
        if address >= USER_END {
            return Err(Errno::EFAULT);
        }
        if let Some(slot) = self.space.table.slot(&self.frames.window, address) {
            let entry = self.frames.window.word(slot);
            if allows(entry, access) {
                return Ok(frame_of(entry));
            }
        }
        self.fault_in(address, access)
    }

    #[cold]
    fn fault_in(&mut self, address: u64, access: Access) -> Result<Frame, Errno> {
        match self.space.resolve(self.frames, page_down(address), access) {
            FaultOutcome::Resolved => self
                .space
                .translate(self.frames, address)
                .map(frame_of)
                .ok_or(Errno::EFAULT),
            FaultOutcome::OutOfMemory => Err(Errno::ENOMEM),
            FaultOutcome::NotMapped | FaultOutcome::Denied | FaultOutcome::BeyondFile => {
                Err(Errno::EFAULT)
            }
        }
    }
}
