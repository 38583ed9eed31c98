//! What execve and mmap need of a file: where its bytes are.

use super::file::FileKind;
use super::{FdTable, FileSystem, Inode};
use crate::arena::Id;
use crate::errno::Errno;
use crate::memory::phys::PhysWindow;
use crate::memory::shared::SharedPages;
use crate::memory::space::Backing;
use crate::memory::{Frames, PhysAddr};
use alloc::borrow::Cow;
use alloc::rc::Rc;
use alloc::vec::Vec;
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::image::mode::{S_IFLNK, S_IFREG};
use linux_raw_sys::general::O_ACCMODE;

/// Bytes at the start of a program in memory that execve looks at: its headers and its interpreter's name have to be there.
const HEAD_BYTES: u64 = 16 << 10;

/// A regular file that execve can map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramFile {
    /// st_ino.
    pub inode: u64,
    /// st_mode.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// Where they are.
    pub contents: Contents,
}

/// Where a file's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// In the root image, from this page on.
    Image(PhysAddr),
    /// In memory.
    Pages(Rc<SharedPages>),
}

impl ProgramFile {
    /// What mmap maps from a page-aligned offset on.
    pub fn backing(&self, offset: u64) -> Backing {
        match &self.contents {
            Contents::Image(data) => Backing::Image {
                inode: self.inode,
                data: data.0,
                size: self.size,
                offset,
            },
            Contents::Pages(pages) => Backing::File {
                inode: self.inode,
                pages: Rc::clone(pages),
                offset,
            },
        }
    }

    /// The file's bytes: all of one in the image, the first 16 KiB of one in memory.
    pub fn head<'a>(&self, frames: &'a Frames) -> Cow<'a, [u8]> {
        match &self.contents {
            Contents::Image(data) => Cow::Borrowed(frames.window.bytes(*data, self.size)),
            Contents::Pages(pages) => {
                let mut head = Vec::new();
                let len = self.size.min(HEAD_BYTES);
                for page in 0..len.div_ceil(PAGE_SIZE) {
                    head.extend_from_slice(&page_bytes(pages, frames, page));
                }
                head.truncate(usize::try_from(len).expect("at most HEAD_BYTES"));
                Cow::Owned(head)
            }
        }
    }
}

/// A copy of a page of a file.
fn page_bytes(pages: &SharedPages, frames: &Frames, page: u64) -> crate::memory::phys::Page {
    let window: &PhysWindow = &frames.window;
    match pages.readable(frames, page) {
        Some(frame) => *window.page(frame),
        None => {
            let mut mixed = [0; crate::memory::address::PAGE_BYTES];
            pages.read_from_image(window, page, &mut mixed);
            mixed
        }
    }
}

impl FileSystem {
    /// What execve maps. EACCES if it is no regular file, ELOOP for a symbolic link, ETXTBSY if somebody may write it.
    pub fn program(&mut self, inode: Inode) -> Result<ProgramFile, Errno> {
        let metadata = self.metadata(inode);
        if !metadata.is(S_IFREG) || matches!(inode, Inode::Proc(_)) {
            return Err(if metadata.is(S_IFLNK) {
                Errno::ELOOP
            } else {
                Errno::EACCES
            });
        }
        if self.node(inode).is_some_and(|node| node.writers > 0) {
            return Err(Errno::ETXTBSY);
        }
        self.contents(inode)
    }

    /// Where a regular file's bytes are. One that does not begin at a page of the image moves into the writable layer: pages of it
    /// that are mapped need frames. EACCES for what has no contents, ENOSPC.
    fn contents(&mut self, inode: Inode) -> Result<ProgramFile, Errno> {
        let metadata = self.metadata(inode);
        let in_place = match inode {
            Inode::Image(number) => Some(self.image.extent(self.image.entry(number)).0)
                .filter(|data| data.0.is_multiple_of(PAGE_SIZE) || metadata.size == 0),
            _ => None,
        };
        if self.pages(inode).is_none() && in_place.is_none() {
            self.own(inode)?;
        }
        let contents = match (self.pages(inode), in_place) {
            (Some(pages), _) => Contents::Pages(Rc::clone(pages)),
            (None, Some(data)) => Contents::Image(data),
            (None, None) => return Err(Errno::EACCES),
        };
        Ok(ProgramFile {
            inode: metadata.number,
            mode: metadata.mode,
            size: metadata.size,
            contents,
        })
    }

    /// What mmap maps of an open file from a page-aligned offset on, and the file's access mode for the checks.
    /// EBADF; ENODEV for what cannot be mapped. /dev/zero is anonymous memory. A file that is to be mapped `shared` moves
    /// into the writable layer, so that every mapping of it has the same pages.
    pub fn mapping(
        &mut self,
        table: Id<FdTable>,
        fd: i32,
        offset: u64,
        shared: bool,
    ) -> Result<(Backing, u32), Errno> {
        let file = self.files[self.file(table, fd)?].clone();
        let access = file.flags & O_ACCMODE;
        match file.kind {
            FileKind::Regular => {
                if shared {
                    self.own(file.inode)?;
                }
                let program = self.contents(file.inode)?;
                Ok((program.backing(offset), access))
            }
            FileKind::Zero => Ok((Backing::Anonymous, access)),
            _ => Err(Errno::ENODEV),
        }
    }
}
