//! What poll(2) and select(2) ask of a file, and where a task waits that finds it not ready.

use super::FileSystem;
use super::console::Stream;
use super::file::{FileKind, OpenFile};
use crate::arena::Id;
use crate::process::task::TaskId;
use crate::syscall::WaitChannel;
use linux_raw_sys::general::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM};

/// There is something to read.
const READABLE: u32 = POLLIN | POLLRDNORM;
/// There is room to write.
const WRITABLE: u32 = POLLOUT | POLLWRNORM;

impl FileSystem {
    /// Poll bits that hold now. May ask the host for console input.
    pub fn readiness(&mut self, id: Id<OpenFile>) -> u32 {
        let file = &self.files[id];
        match file.kind {
            FileKind::Console(stream) => {
                let (readable, writable) = (file.readable(), file.writable());
                self.console_readiness(stream, readable, writable)
            }
            FileKind::Pipe(id) => {
                let pipe = &self.pipes[id];
                let mut bits = 0;
                if file.readable() {
                    bits |= if pipe.is_empty() { 0 } else { READABLE };
                    bits |= if pipe.writers == 0 { POLLHUP } else { 0 };
                }
                if file.writable() {
                    bits |= if pipe.is_full() { 0 } else { WRITABLE };
                    bits |= if pipe.readers == 0 { POLLERR } else { 0 };
                }
                bits
            }
            // Everything else never blocks (Linux's DEFAULT_POLLMASK).
            _ => READABLE | WRITABLE,
        }
    }

    fn console_readiness(&mut self, stream: Stream, readable: bool, writable: bool) -> u32 {
        let mut bits = 0;
        if readable && self.console.fill() {
            // The end of input looks like that of a pipe, unless it is a terminal's ^D.
            let ended = self.console.unread() == 0 && !self.console.is_terminal(Stream::Input);
            bits |= if ended { POLLHUP } else { READABLE };
        }
        if writable {
            bits |= WRITABLE;
            bits |= if self.console.is_broken(stream) {
                POLLERR
            } else {
                0
            };
        }
        bits
    }

    /// The task is woken when one of `events` (poll bits) may hold, and for errors always.
    /// Returns where it waits, for WCHAN. Files that never block wake nobody.
    pub fn wait_for(&mut self, id: Id<OpenFile>, events: u32, task: TaskId) -> WaitChannel {
        let file = &self.files[id];
        match file.kind {
            FileKind::Console(_) => {
                self.console.wait_readable(task);
                WaitChannel::NTtyRead
            }
            FileKind::Pipe(pipe) => {
                let (reads, writes) = (file.readable(), file.writable() && events & WRITABLE != 0);
                let pipe = &mut self.pipes[pipe];
                if writes {
                    pipe.wait_writable(task);
                }
                // Both ends closing wakes all, so a writer that polls for errors alone may stand here too.
                if reads || !writes {
                    pipe.wait_readable(task);
                }
                if writes {
                    WaitChannel::PipeWrite
                } else {
                    WaitChannel::PipeRead
                }
            }
            _ => WaitChannel::DoPoll,
        }
    }
}
