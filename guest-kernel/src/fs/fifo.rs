//! FIFOs (fifo(7)): a pipe behind a name, there while somebody has it open.
//!
//! Who opens one end waits until the other is opened too. The end counts as open meanwhile, as on Linux (fs/pipe.c,
//! fifo_open), so the waiting call keeps its open file in `FileSystem::opening` until it goes on.

use super::FileSystem;
use super::file::{FileKind, OpenFile};
use super::inode::Inode;
use super::node::Content;
use super::pipe::Pipe;
use crate::arena::Id;
use crate::errno::Errno;
use crate::process::task::TaskId;
use linux_raw_sys::general::{O_ACCMODE, O_NONBLOCK, O_RDWR};

/// An open(2) that waits for a partner.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// The end that is open already.
    file: Id<OpenFile>,
    /// How often the other end had been opened then.
    seen: u32,
}

impl FileSystem {
    /// Opens an end, and wakes who waits for it. ENXIO for a writer that would not wait for readers; ENFILE, ENOSPC.
    pub(super) fn open_fifo(&mut self, inode: Inode, flags: u32) -> Result<Id<OpenFile>, Errno> {
        self.room_for_file()?;
        self.own(inode)?;
        let number = self.metadata(inode).number;
        let Content::Fifo(pipe) = &mut self.own(inode)?.content else {
            return Err(Errno::ENXIO);
        };
        let existing = *pipe;
        let (reads, writes) = directions(flags);
        let readers = existing.map_or(0, |pipe| self.pipes[pipe].readers);
        if writes && !reads && flags & O_NONBLOCK != 0 && readers == 0 {
            return Err(Errno::ENXIO);
        }
        let pipe = match existing {
            Some(pipe) => self.pipes.share(pipe),
            None => {
                let pipe = self.pipes.insert(Pipe::of_fifo(number));
                self.own(inode)?.content = Content::Fifo(Some(pipe));
                pipe
            }
        };
        let object = &mut self.pipes[pipe];
        object.readers += u32::from(reads);
        object.writers += u32::from(writes);
        object.opened[0] = object.opened[0].wrapping_add(u32::from(reads));
        object.opened[1] = object.opened[1].wrapping_add(u32::from(writes));
        object.wake_all(&mut self.woken);
        self.add_opened(inode, FileKind::Pipe(pipe), flags)
    }

    /// Whether an end that was just opened has to wait for the other: then the task waits, and `file` is kept for it.
    pub fn waits_for_partner(&mut self, task: TaskId, file: Id<OpenFile>) -> bool {
        let open = &self.files[file];
        let (FileKind::Pipe(pipe), Inode::Node(_) | Inode::Image(_)) = (open.kind, open.inode)
        else {
            return false;
        };
        let (reads, writes) = directions(open.flags);
        let object = &mut self.pipes[pipe];
        let others = if reads {
            object.writers
        } else {
            object.readers
        };
        if reads == writes || open.flags & O_NONBLOCK != 0 || others > 0 {
            return false;
        }
        let seen = object.opened[usize::from(reads)];
        object.wait_readable(task);
        self.opening.insert(task, Opening { file, seen });
        true
    }

    /// The open file of a call that has waited: `Ok` if it may go on, `Err` if it must wait on; `None` if it never waited.
    pub fn opened_meanwhile(&mut self, task: TaskId) -> Option<Result<Id<OpenFile>, ()>> {
        let opening = *self.opening.get(&task)?;
        let open = &self.files[opening.file];
        let FileKind::Pipe(pipe) = open.kind else {
            return None;
        };
        let (reads, _) = directions(open.flags);
        let object = &mut self.pipes[pipe];
        if object.opened[usize::from(reads)] == opening.seen {
            object.wait_readable(task);
            return Some(Err(()));
        }
        self.opening.remove(&task);
        Some(Ok(opening.file))
    }

    /// A waiting open was interrupted, or its task has ended. May fill `woken`.
    pub fn abandon_opening(&mut self, task: TaskId) {
        if let Some(opening) = self.opening.remove(&task) {
            self.close_file(opening.file);
        }
    }
}

/// Whether flags open for reading, and for writing.
fn directions(flags: u32) -> (bool, bool) {
    match flags & O_ACCMODE {
        O_RDWR => (true, true),
        mode => (mode == 0, mode != 0),
    }
}
