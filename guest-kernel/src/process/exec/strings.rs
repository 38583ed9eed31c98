//! Strings on their way from the caller's memory to the new program's, through a small buffer.

use crate::errno::Errno;
use crate::memory::{AddressSpace, Frames, UserMemory};
use forkvm_abi::PAGE_SIZE;

/// Bytes of one string at most, its NUL included (MAX_ARG_STRLEN).
const STRING_MAX: u64 = 32 * PAGE_SIZE;
/// Bytes that travel at a time.
pub(super) const CHUNK: usize = 256;

/// Where a list of strings comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// The kernel (boot).
    Kernel(&'a [&'a [u8]]),
    /// A NULL-terminated array of pointers in the caller's memory; NULL is an empty list.
    User(u64),
}

/// A string to be copied; `len` counts its NUL.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    kernel: Option<&'a [u8]>,
    address: u64,
    pub(super) len: u64,
}

/// The memory of the program that calls execve; none when the kernel starts the first one.
pub(super) struct OldMemory<'a> {
    pub(super) space: Option<&'a mut AddressSpace>,
    pub(super) frames: &'a mut Frames,
}

impl OldMemory<'_> {
    /// Shows all strings of a list but the first `skip`.
    pub(super) fn each<'s>(
        &mut self,
        source: Source<'s>,
        skip: usize,
        mut visit: impl FnMut(&mut Self, Piece<'s>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        match source {
            Source::Kernel(strings) => strings.iter().skip(skip).try_for_each(|string| {
                visit(
                    self,
                    Piece {
                        kernel: Some(string),
                        address: 0,
                        len: string.len() as u64 + 1,
                    },
                )
            }),
            Source::User(0) => Ok(()),
            Source::User(array) => {
                for index in 0u64.. {
                    let address: u64 = self.user()?.read(array.wrapping_add(index * 8))?;
                    if address == 0 {
                        break;
                    }
                    if index >= skip as u64 {
                        let len = self.measure(address)?;
                        visit(
                            self,
                            Piece {
                                kernel: None,
                                address,
                                len,
                            },
                        )?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Bytes of a string of the caller's, its NUL included; E2BIG, EFAULT.
    fn measure(&mut self, address: u64) -> Result<u64, Errno> {
        let mut chunk = [0; CHUNK];
        let mut len = 0;
        while len < STRING_MAX {
            let at = address.wrapping_add(len);
            // Never over a page boundary: the next page may not be there, and need not be.
            let step = chunk_bytes((PAGE_SIZE - at % PAGE_SIZE).min(STRING_MAX - len));
            self.user()?.read_bytes(at, &mut chunk[..step])?;
            if let Some(end) = chunk[..step].iter().position(|byte| *byte == 0) {
                return Ok(len + end as u64 + 1);
            }
            len += step as u64;
        }
        Err(Errno::E2BIG)
    }

    /// Copies a string with its NUL to `at` in the new space.
    pub(super) fn copy_to(
        &mut self,
        space: &mut AddressSpace,
        string: Piece<'_>,
        at: u64,
    ) -> Result<(), Errno> {
        if let Some(bytes) = string.kernel {
            let mut new = self.in_new(space);
            return new
                .write_bytes(at, bytes)
                .and_then(|()| new.write_bytes(at + bytes.len() as u64, &[0]))
                .map_err(no_memory);
        }
        let mut chunk = [0; CHUNK];
        let mut done = 0;
        while done < string.len {
            let bytes = &mut chunk[..chunk_bytes(string.len - done)];
            self.user()?
                .read_bytes(string.address.wrapping_add(done), bytes)?;
            self.in_new(space)
                .write_bytes(at + done, bytes)
                .map_err(no_memory)?;
            done += bytes.len() as u64;
        }
        Ok(())
    }

    /// The old space; EFAULT if there is none.
    fn user(&mut self) -> Result<UserMemory<'_>, Errno> {
        let space = self.space.as_deref_mut().ok_or(Errno::EFAULT)?;
        Ok(UserMemory {
            space,
            frames: self.frames,
        })
    }

    /// The new space, as its program will see it.
    pub(super) fn in_new<'s>(&'s mut self, space: &'s mut AddressSpace) -> UserMemory<'s> {
        UserMemory {
            space,
            frames: self.frames,
        }
    }
}

/// As many of the bytes that are left as travel at a time.
fn chunk_bytes(left: u64) -> usize {
    usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK))
}

/// The new stack is mapped: a write to it fails only when no frame is left.
pub(super) fn no_memory(_: Errno) -> Errno {
    Errno::ENOMEM
}
