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
use super::pipe::Pipe;
use crate::arena::Id;
use crate::errno::Errno;
use crate::kernel::Random;
use crate::memory::PhysAddr;
use linux_raw_sys::general::{O_ACCMODE, O_DIRECT, O_NONBLOCK, O_PATH, O_RDONLY, O_RDWR, O_WRONLY};
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
    /// A file of the root image: its extent.
    Image {
        /// First byte.
        data: PhysAddr,
        /// Bytes.
        size: u64,
    },
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
    /// Takes an open file in. ENFILE. A pipe end must have been counted already.
    pub(super) fn add_file(&mut self, file: OpenFile) -> Result<Id<OpenFile>, Errno> {
        if self.files.len() >= MAX_OPEN_FILES {
            return Err(Errno::ENFILE);
        }
        if let FileKind::Console(Stream::Output | Stream::Error | Stream::Terminal) = file.kind {
            self.console.output_holders += 1;
        }
        Ok(self.files.insert(file))
    }

    /// One descriptor of an open file less; the last one closes it. May fill `woken`.
    pub fn close_file(&mut self, id: Id<OpenFile>) {
        let Some(file) = self.files.release(id) else {
            return;
        };
        match file.kind {
            FileKind::Pipe(pipe) => {
                let object = &mut self.pipes[pipe];
                object.readers -= u32::from(file.readable());
                object.writers -= u32::from(file.writable());
                object.wake_all(&mut self.woken);
                if let Some(pipe) = self.pipes.release(pipe) {
                    pipe.into_frames().for_each(|frame| self.put_aside(frame));
                }
            }
            FileKind::Console(Stream::Output | Stream::Error | Stream::Terminal) => {
                self.console.output_holders -= 1
            }
            _ => {}
        }
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
            FileKind::Image { data, size } => {
                let from = at.unwrap_or(file.offset).min(size);
                let wanted = (size - from).min(sink.room() as u64);
                let moved = sink.put(self.window.bytes(PhysAddr(data.0 + from), wanted));
                if at.is_none() {
                    file.offset += moved as u64;
                }
                some_or_fault(moved, wanted > 0)
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
            FileKind::Path | FileKind::Directory | FileKind::Image { .. } => Err(Errno::EBADF),
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

    /// lseek(2): the new position. ESPIPE, EINVAL, ENXIO.
    pub fn seek(&mut self, id: Id<OpenFile>, offset: i64, whence: u32) -> Result<u64, Errno> {
        let file = &mut self.files[id];
        if whence > SEEK_MAX {
            return Err(Errno::EINVAL);
        }
        if !file.seekable() {
            return Err(Errno::ESPIPE);
        }
        let size = match file.kind {
            FileKind::Image { size, .. } => size,
            // Linux's null_lseek: the position of these is always 0. Random numbers have none to move.
            FileKind::Null | FileKind::Zero | FileKind::Full => return Ok(0),
            FileKind::Random => return Ok(file.offset),
            _ => 0,
        };
        let position = match whence {
            SEEK_SET => Some(offset),
            SEEK_CUR => file.offset.cast_signed().checked_add(offset),
            SEEK_END if file.kind != FileKind::Directory => size.cast_signed().checked_add(offset),
            // Image files have no holes but the one at their end.
            SEEK_DATA | SEEK_HOLE if file.kind != FileKind::Directory => {
                if offset < 0 || offset.cast_unsigned() >= size {
                    return Err(Errno::ENXIO);
                }
                Some(if whence == SEEK_DATA {
                    offset
                } else {
                    size.cast_signed()
                })
            }
            _ => None,
        };
        file.offset = position
            .and_then(|position| u64::try_from(position).ok())
            .ok_or(Errno::EINVAL)?;
        Ok(file.offset)
    }
}

/// Moving nothing where something could have been moved is a fault.
fn some_or_fault(moved: usize, wanted: bool) -> Result<usize, Errno> {
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
