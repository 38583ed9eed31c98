//! Who speaks next: parent and child pass the turn to each other through two pipes.

use rt::syscall::{Errno, close, pipe, read, write_all};

/// EPIPE: the other side has ended without passing the turn.
const EPIPE: Errno = Errno(32);

/// One side's ends of the two pipes.
pub(crate) struct Turns {
    from_other: i32,
    to_other: i32,
}

impl Turns {
    /// Both sides, to be made before the fork. Afterwards each process closes the other's.
    pub(crate) fn pair() -> Result<(Self, Self), Errno> {
        let (down, up) = (pipe()?, pipe()?);
        Ok((
            Self {
                from_other: up.reader,
                to_other: down.writer,
            },
            Self {
                from_other: down.reader,
                to_other: up.writer,
            },
        ))
    }

    /// The other process goes on.
    pub(crate) fn give(&self) -> Result<(), Errno> {
        write_all(self.to_other, b".")
    }

    /// Waits for the other process to give the turn.
    pub(crate) fn take(&self) -> Result<(), Errno> {
        if read(self.from_other, &mut [0])? == 0 {
            Err(EPIPE)
        } else {
            Ok(())
        }
    }

    /// Waits until the other process has ended: the kernel closes its ends.
    pub(crate) fn wait_for_end(&self) -> Result<(), Errno> {
        while read(self.from_other, &mut [0])? != 0 {}
        Ok(())
    }

    /// Gives up these ends: the other process keeps its own.
    pub(crate) fn close(self) -> Result<(), Errno> {
        close(self.from_other)?;
        close(self.to_other)
    }
}
