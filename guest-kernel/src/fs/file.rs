//! Open file descriptions: what a descriptor refers to, and what reading, writing and seeking do to it.
//!
//! In:  an id from a descriptor table, a [`Sink`] or [`Source`].
//! Out: bytes moved. EAGAIN means that the caller may park (`poll` has the queues) or return it.
//!
//! What kind of file it is was decided when it was opened; every operation is one `match` on that.

use super::FileSystem;
use super::console::Stream;
use super::inode::Inode;
use super::io::{Sink, Source, put_zeros};
use super::node::Content;
use super::pipe::Pipe;
use crate::arena::Id;
use crate::errno::Errno;
use crate::kernel::Random;
use linux_raw_sys::general::{
    O_ACCMODE, O_APPEND, O_DIRECT, O_NOATIME, O_NONBLOCK, O_PATH, O_RDONLY, O_RDWR, O_WRONLY,
};
use linux_raw_sys::general::{SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_MAX, SEEK_SET};

/// Open file descriptions at most (Linux's fs.file-max): bounds the kernel's heap.
pub const MAX_OPEN_FILES: usize = 8192;

/// How a file behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Opened with O_PATH: a name, not a file.
    Path,
    /// A directory.
    Directory,
    /// A regular file.
    Regular,
    /// /dev/null.
    Null,
    /// /dev/zero.
    Zero,
    /// /dev/full.
    Full,
    /// /dev/random and /dev/urandom.
    Random,
    /// A host stream.
    Console(Stream),
    /// An end of a pipe, or both: the access mode tells.
    Pipe(Id<Pipe>),
}

/// An open file description (open(2)).
#[derive(Clone, Debug)]
pub struct OpenFile {
    /// What is open.
    pub inode: Inode,
    /// How it behaves.
    pub kind: FileKind,
    /// Access mode and status flags, as F_GETFL tells them.
    pub flags: u32,
    /// Position: bytes, or a directory's cookie.
    pub offset: u64,
}

impl OpenFile {
    /// Opened for reading.
    pub fn readable(&self) -> bool {
        self.flags & O_PATH == 0 && matches!(self.flags & O_ACCMODE, O_RDONLY | O_RDWR)
    }

    /// Opened for writing.
    pub fn writable(&self) -> bool {
        self.flags & O_PATH == 0 && matches!(self.flags & O_ACCMODE, O_WRONLY | O_RDWR)
    }

    /// O_NONBLOCK is set.
    pub fn nonblocking(&self) -> bool {
        self.flags & O_NONBLOCK != 0
    }

    /// It has a position (pread, lseek); others fail with ESPIPE.
    pub fn seekable(&self) -> bool {
        !matches!(self.kind, FileKind::Console(_) | FileKind::Pipe(_))
    }
}

impl FileSystem {
    /// ENFILE if no further file may be open.
    pub(super) fn room_for_file(&self) -> Result<(), Errno> {
        if self.files.len() < MAX_OPEN_FILES {
            Ok(())
        } else {
            Err(Errno::ENFILE)
        }
    }

    /// Takes an open file in. ENFILE. A pipe end must have been counted already.
    pub(super) fn add_file(&mut self, file: OpenFile) -> Result<Id<OpenFile>, Errno> {
        self.room_for_file()?;
        if let FileKind::Console(Stream::Output | Stream::Error | Stream::Terminal) = file.kind {
            self.console.output_holders += 1;
        }
        if let Some(node) = self.node_mut(file.inode) {
            node.holders += 1;
            node.writers += u32::from(file.kind == FileKind::Regular && file.writable());
        }
        Ok(self.files.insert(file))
    }

    /// One descriptor of an open file less; the last one closes it. May fill `woken`.
    pub fn close_file(&mut self, id: Id<OpenFile>) {
        let Some(file) = self.files.release(id) else {
            return;
        };
        match file.kind {
            FileKind::Regular if file.writable() => {
                if let Some(node) = self.node_mut(file.inode) {
                    node.writers -= 1;
                }
            }
            FileKind::Pipe(pipe) => {
                let object = &mut self.pipes[pipe];
                object.readers -= u32::from(file.readable());
                object.writers -= u32::from(file.writable());
                object.wake_all(&mut self.woken);
                if let Some(pipe) = self.pipes.release(pipe) {
                    pipe.into_frames().for_each(|frame| self.put_aside(frame));
                    if let Some(node) = self.node_mut(file.inode) {
                        node.content = Content::Fifo(None);
                    }
                }
            }
            FileKind::Console(Stream::Output | Stream::Error | Stream::Terminal) => {
                self.console.output_holders -= 1
            }
            _ => {}
        }
        self.let_go(file.inode);
    }

    /// Reads at `at`, or at the file's position and moves it; how many bytes, 0 at the end.
    /// EAGAIN if it would have to wait; EISDIR, EFAULT; ESPIPE for `at` where there is no position.
    pub fn read(
        &mut self,
        id: Id<OpenFile>,
        at: Option<u64>,
        sink: &mut dyn Sink,
        random: &mut Random,
    ) -> Result<usize, Errno> {
        let file = &mut self.files[id];
        if at.is_some() && !file.seekable() {
            return Err(Errno::ESPIPE);
        }
        match file.kind {
            FileKind::Path => Err(Errno::EBADF),
            FileKind::Directory => Err(Errno::EISDIR),
            FileKind::Regular => {
                let (inode, from) = (file.inode, at.unwrap_or(file.offset));
                let moved = self.read_regular(inode, from, sink)?;
                if at.is_none() {
                    self.files[id].offset = from.saturating_add(moved as u64);
                }
                self.note_access(id);
                Ok(moved)
            }
            FileKind::Null => Ok(0),
            FileKind::Zero | FileKind::Full => {
                let wanted = sink.room() > 0;
                some_or_fault(put_zeros(sink), wanted)
            }
            FileKind::Random => {
                let wanted = sink.room() > 0;
                some_or_fault(put_random(sink, random), wanted)
            }
            FileKind::Console(_) => self.console.read(sink),
            FileKind::Pipe(pipe) => self.pipes[pipe].read(self.window, sink, &mut self.woken),
        }
    }

    /// Where in a regular file a write goes: `None` for all others.
    pub fn place_of_write(&self, id: Id<OpenFile>, at: Option<u64>) -> Option<u64> {
        let file = &self.files[id];
        match file.kind {
            FileKind::Regular if file.flags & O_APPEND != 0 => Some(self.file_size(file.inode)),
            FileKind::Regular => Some(at.unwrap_or(file.offset)),
            _ => None,
        }
    }

    /// Writes at `at`, or at the file's position and moves it; how many bytes.
    /// EAGAIN if it would have to wait; EPIPE, ENOSPC, EFAULT; ESPIPE for `at` where there is no position.
    pub fn write(
        &mut self,
        id: Id<OpenFile>,
        at: Option<u64>,
        source: &mut dyn Source,
    ) -> Result<usize, Errno> {
        let file = &self.files[id];
        if at.is_some() && !file.seekable() {
            return Err(Errno::ESPIPE);
        }
        match file.kind {
            // None of these can be opened for writing.
            FileKind::Path | FileKind::Directory => Err(Errno::EBADF),
            FileKind::Regular => {
                let inode = file.inode;
                let place = self.place_of_write(id, at).unwrap_or(0);
                let moved = self.write_regular(inode, place, source)?;
                if at.is_none() {
                    self.files[id].offset = place + moved as u64;
                }
                Ok(moved)
            }
            FileKind::Null | FileKind::Zero | FileKind::Random => {
                let all = source.left();
                source.skip(all);
                Ok(all)
            }
            FileKind::Full => Err(Errno::ENOSPC),
            FileKind::Console(stream) => self.console.write(stream, source),
            FileKind::Pipe(pipe) => {
                let packets = file.flags & O_DIRECT != 0;
                self.pipes[pipe].write(self.window, source, packets, &mut self.woken)
            }
        }
    }

    /// st_atime moves as with the mount option relatime: if it is not behind the other times, or a day old.
    fn note_access(&mut self, id: Id<OpenFile>) {
        const DAY: i64 = 24 * 60 * 60;
        let (inode, flags) = (self.files[id].inode, self.files[id].flags);
        let now = self.now();
        if flags & O_NOATIME == 0
            && let Some(node) = self.node_mut(inode)
        {
            let times = &mut node.times;
            let is_old = times.accessed <= times.modified.max(times.changed)
                || now.seconds - times.accessed.seconds >= DAY;
            if is_old {
                times.accessed = now;
            }
        }
    }

    /// lseek(2): the new position. ESPIPE, EINVAL, ENXIO.
    pub fn seek(&mut self, id: Id<OpenFile>, offset: i64, whence: u32) -> Result<u64, Errno> {
        if whence > SEEK_MAX {
            return Err(Errno::EINVAL);
        }
        let file = &self.files[id];
        if !file.seekable() {
            return Err(Errno::ESPIPE);
        }
        let size = match file.kind {
            FileKind::Regular => self.file_size(file.inode),
            // Linux's null_lseek: the position of these is always 0. Random numbers have none to move.
            FileKind::Null | FileKind::Zero | FileKind::Full => return Ok(0),
            FileKind::Random => return Ok(file.offset),
            _ => 0,
        };
        let position = match whence {
            SEEK_SET => Some(offset),
            SEEK_CUR => file.offset.cast_signed().checked_add(offset),
            SEEK_END if file.kind != FileKind::Directory => size.cast_signed().checked_add(offset),
            SEEK_DATA | SEEK_HOLE if file.kind == FileKind::Regular => {
                Some(self.seek_data(file.inode, size, offset, whence == SEEK_DATA)?)
            }
            _ => None,
        };
        let position = position
            .and_then(|position| u64::try_from(position).ok())
            .ok_or(Errno::EINVAL)?;
        self.files[id].offset = position;
        Ok(position)
    }

    /// SEEK_DATA and SEEK_HOLE. ENXIO behind the last data, and behind the end.
    fn seek_data(&self, inode: Inode, size: u64, offset: i64, data: bool) -> Result<i64, Errno> {
        let from = u64::try_from(offset)
            .ok()
            .filter(|from| *from < size)
            .ok_or(Errno::ENXIO)?;
        let found = match self.pages(inode) {
            Some(pages) if data => pages.next_data(&self.window, from).ok_or(Errno::ENXIO)?,
            Some(pages) => pages.next_hole(&self.window, from),
            None if data => from,
            None => size,
        };
        Ok(found.cast_signed())
    }
}

/// Moving nothing where something could have been moved is a fault.
pub(super) fn some_or_fault(moved: usize, wanted: bool) -> Result<usize, Errno> {
    if moved == 0 && wanted {
        Err(Errno::EFAULT)
    } else {
        Ok(moved)
    }
}

/// Fills a sink with random bytes; how many it took.
pub fn put_random(sink: &mut dyn Sink, random: &mut Random) -> usize {
    let mut chunk = [0; 256];
    let mut moved = 0;
    while sink.room() > 0 {
        let count = sink.room().min(chunk.len());
        random.fill(&mut chunk[..count]);
        let taken = sink.put(&chunk[..count]);
        moved += taken;
        if taken < count {
            break;
        }
    }
    moved
}
