//! Regular files of the root image and of memory: read, write, truncate, allocate.
//!
//! A file that nobody has changed is read from the image in place; the first change gives it a node
//! (`node`), and each page that is written a frame. Mappings of a page whose frame changes are
//! noted in [`FileSystem::stale`], for the caller to take out of the address spaces.

use super::FileSystem;
use super::file::some_or_fault;
use super::inode::Inode;
use super::io::{Sink, Source};
use super::node::Content;
use crate::errno::Errno;
use crate::memory::address::PAGE_BYTES;
use crate::memory::phys::Page;
use crate::memory::shared::{NoPage, SharedPages, Unmap, in_page};
use crate::memory::{AddressSpace, Frames, PhysAddr};
use alloc::rc::Rc;
use core::ops::Range;
use forkvm_abi::PAGE_SIZE;
use linux_raw_sys::general::{
    F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SHRINK, F_SEAL_WRITE, FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
};

/// Bytes of a file at most (Linux's MAX_LFS_FILESIZE).
pub const MAX_FILE_BYTES: u64 = i64::MAX.cast_unsigned();

/// Pages that mappings must look for again.
#[derive(Debug)]
pub struct Stale {
    object: Rc<SharedPages>,
    pages: Range<u64>,
    which: Unmap,
}

impl Stale {
    /// Takes them out of an address space.
    pub fn unmap(&self, space: &mut AddressSpace, frames: &mut Frames) {
        space.unmap_object(frames, &self.object, self.pages.clone(), self.which);
    }
}

impl FileSystem {
    /// The end of a [`Stale`]: its file may be gone.
    pub fn put_object_aside(&mut self, stale: Stale) {
        self.objects_aside.push(stale.object);
    }

    /// The contents of a regular file that has a node.
    pub(super) fn pages(&self, inode: Inode) -> Option<&Rc<SharedPages>> {
        match &self.node(inode)?.content {
            Content::File(pages) => Some(pages),
            _ => None,
        }
    }

    /// Bytes of a regular file.
    pub(super) fn file_size(&self, inode: Inode) -> u64 {
        match (self.pages(inode), inode) {
            (Some(pages), _) => pages.size(),
            (None, Inode::Image(number)) => self.image.extent(self.image.entry(number)).1,
            _ => 0,
        }
    }

    /// Reads from a place in a file; 0 at its end. EFAULT.
    pub(super) fn read_regular(
        &self,
        inode: Inode,
        from: u64,
        sink: &mut dyn Sink,
    ) -> Result<usize, Errno> {
        let size = self.file_size(inode);
        let wanted = size.saturating_sub(from).min(sink.room() as u64);
        let moved = match (self.pages(inode), inode) {
            (Some(pages), _) => self.read_pages(pages, from, wanted, sink),
            (None, Inode::Image(number)) => {
                let (data, _) = self.image.extent(self.image.entry(number));
                sink.put(self.window.bytes(PhysAddr(data.0 + from.min(size)), wanted))
            }
            _ => 0,
        };
        some_or_fault(moved, wanted > 0)
    }

    fn read_pages(
        &self,
        pages: &Rc<SharedPages>,
        from: u64,
        wanted: u64,
        sink: &mut dyn Sink,
    ) -> usize {
        // A mapped page may be the buffer itself.
        let is_mapped = Rc::strong_count(pages) > 1;
        let mut bounce: Page = [0; PAGE_BYTES];
        let mut done = 0;
        while done < wanted {
            let at = from + done;
            let len = (PAGE_SIZE - at % PAGE_SIZE).min(wanted - done);
            let range = in_page(at)..in_page(at + len - 1) + 1;
            let bytes = match pages.readable(sink.frames(), at / PAGE_SIZE) {
                Some(frame) => self.window.page(frame),
                None => {
                    pages.read_from_image(&self.window, at / PAGE_SIZE, &mut bounce);
                    &bounce
                }
            };
            let moved = if is_mapped {
                let copy = *bytes;
                sink.put(&copy[range.clone()])
            } else {
                sink.put(&bytes[range.clone()])
            };
            done += moved as u64;
            if moved < range.len() {
                break;
            }
        }
        usize::try_from(done).unwrap_or(usize::MAX)
    }

    /// Writes at a place in a file, which grows as needed. EFAULT, ENOSPC, EFBIG, EPERM by a seal; a short count if some bytes were moved.
    pub(super) fn write_regular(
        &mut self,
        inode: Inode,
        at: u64,
        source: &mut dyn Source,
    ) -> Result<usize, Errno> {
        if source.left() == 0 {
            return Ok(0);
        }
        let now = self.now();
        let seals = self.own(inode)?.seals;
        let Some(pages) = self.pages(inode).cloned() else {
            return Err(Errno::EBADF);
        };
        if at >= MAX_FILE_BYTES {
            return Err(Errno::EFBIG);
        }
        let mut wanted = (source.left() as u64).min(MAX_FILE_BYTES - at);
        if seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) != 0 {
            return Err(Errno::EPERM);
        }
        if seals & F_SEAL_GROW != 0 {
            wanted = wanted.min(pages.size().saturating_sub(at));
            if wanted == 0 {
                return Err(Errno::EPERM);
            }
        }
        let (moved, failure) = self.write_pages(&pages, at, wanted, source);
        let moved_bytes = moved as u64;
        if moved > 0 {
            pages.grow(pages.size().max(at + moved_bytes));
            self.own(inode)?.touch(now);
        }
        match failure {
            Some(error) if moved == 0 => Err(error),
            _ => Ok(moved),
        }
    }

    /// Moves bytes page by page; how many, and what stopped it early.
    fn write_pages(
        &mut self,
        pages: &Rc<SharedPages>,
        at: u64,
        wanted: u64,
        source: &mut dyn Source,
    ) -> (usize, Option<Errno>) {
        // The file and `pages` itself; everything beyond are mappings.
        let is_mapped = Rc::strong_count(pages) > 2;
        let mut done = 0;
        while done < wanted {
            let place = at + done;
            let page = place / PAGE_SIZE;
            let len = (PAGE_SIZE - place % PAGE_SIZE).min(wanted - done);
            let range = in_page(place)..in_page(place + len - 1) + 1;
            let count = range.len();
            if is_mapped && pages.is_hole(&self.window, page) {
                self.note_stale(pages, page..page + 1, Unmap::Holes);
            }
            let frame = match pages.writable(source.frames(), page) {
                Ok(frame) => frame,
                Err(error) => return (count_of(done), Some(error.into())),
            };
            let moved = if is_mapped {
                // A mapped page may be the buffer itself.
                let mut bounce: Page = [0; PAGE_BYTES];
                let moved = source.take(&mut bounce[..count]);
                let target = &mut self.window.page_mut(frame)[range];
                target[..moved].copy_from_slice(&bounce[..moved]);
                moved
            } else {
                source.take(&mut self.window.page_mut(frame)[range])
            };
            done += moved as u64;
            if moved < count {
                return (count_of(done), Some(Errno::EFAULT));
            }
        }
        (count_of(done), None)
    }

    /// Sets the size of a regular file. EPERM by a seal, EFBIG, ENOSPC for want of a node.
    pub fn set_size(&mut self, frames: &mut Frames, inode: Inode, size: u64) -> Result<(), Errno> {
        if size > MAX_FILE_BYTES {
            return Err(Errno::EFBIG);
        }
        let now = self.now();
        let node = self.own(inode)?;
        let Content::File(pages) = &node.content else {
            return Err(Errno::EINVAL);
        };
        let pages = Rc::clone(pages);
        let (seals, old) = (node.seals, pages.size());
        if (size < old && seals & F_SEAL_SHRINK != 0) || (size > old && seals & F_SEAL_GROW != 0) {
            return Err(Errno::EPERM);
        }
        node.touch(now);
        if size < old {
            self.note_stale(&pages, size.div_ceil(PAGE_SIZE)..u64::MAX, Unmap::All);
            pages.truncate(frames, size);
        } else {
            pages.grow(size);
        }
        Ok(())
    }

    /// fallocate(2) of a regular file: without flags, FALLOC_FL_KEEP_SIZE, and with it FALLOC_FL_PUNCH_HOLE, as tmpfs has them.
    /// EOPNOTSUPP, EFBIG, ENOSPC, EPERM.
    pub fn allocate(
        &mut self,
        frames: &mut Frames,
        inode: Inode,
        mode: u32,
        range: Range<u64>,
    ) -> Result<(), Errno> {
        let now = self.now();
        if mode & !(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE) != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let node = self.own(inode)?;
        let seals = node.seals;
        let Content::File(pages) = &node.content else {
            return Err(Errno::ENODEV);
        };
        let pages = Rc::clone(pages);
        if mode & FALLOC_FL_PUNCH_HOLE != 0 {
            if seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) != 0 {
                return Err(Errno::EPERM);
            }
            let whole = range.start / PAGE_SIZE..range.end.div_ceil(PAGE_SIZE);
            self.note_stale(&pages, whole, Unmap::All);
            pages.punch(frames, range)?;
        } else {
            if seals & F_SEAL_GROW != 0 && range.end > pages.size() {
                return Err(Errno::EPERM);
            }
            self.fill(frames, &pages, &range)?;
            if mode & FALLOC_FL_KEEP_SIZE == 0 && range.end > pages.size() {
                pages.grow(range.end);
            }
        }
        self.own(inode)?.touch(now);
        Ok(())
    }

    /// Gives every page of a range a frame, or none.
    fn fill(
        &mut self,
        frames: &mut Frames,
        pages: &Rc<SharedPages>,
        range: &Range<u64>,
    ) -> Result<(), Errno> {
        let numbers = range.start / PAGE_SIZE..range.end.div_ceil(PAGE_SIZE);
        if numbers.end - numbers.start
            > self.quota.limit - self.quota.used.get().min(self.quota.limit)
            && numbers.end * PAGE_SIZE > pages.size()
        {
            return Err(Errno::ENOSPC);
        }
        self.note_stale(pages, numbers.clone(), Unmap::Holes);
        for page in numbers {
            pages.writable(frames, page)?;
        }
        Ok(())
    }

    fn note_stale(&mut self, object: &Rc<SharedPages>, pages: Range<u64>, which: Unmap) {
        // The node has one reference, the caller another; without mappings there is nobody to tell.
        if Rc::strong_count(object) <= 2 {
            return;
        }
        if let Some(last) = self.stale.last_mut()
            && Rc::ptr_eq(&last.object, object)
            && (last.which, last.pages.end) == (which, pages.start)
        {
            last.pages.end = pages.end;
            return;
        }
        self.stale.push(Stale {
            object: Rc::clone(object),
            pages,
            which,
        });
    }
}

impl From<NoPage> for Errno {
    fn from(_: NoPage) -> Self {
        Self::ENOSPC
    }
}

fn count_of(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
