//! The root image, read in place: an index of inodes, their names, and page-aligned contents.
//!
//! In:  the spans that the VMM wrote into `BootInfo` (layout: `forkvm_abi::image`).
//! Out: entries, names, directory look-ups, contents. Nothing is set up and nothing is copied; a
//!      look-up is a binary search. The VMM is trusted, yet no value of the index is used without
//!      a bound: a bad one reads as an empty file or directory.

use super::path::NAME_MAX;
use crate::memory::PhysAddr;
use crate::memory::phys::PhysWindow;
use core::cmp::Ordering;
use forkvm_abi::boot::{BootInfo, Span};
use forkvm_abi::image::{ImageEntry, mode};
use zerocopy::FromBytes;

/// Number of the root directory's entry.
pub const ROOT: u32 = 0;

/// What stands for an entry that the index does not have: an empty file that nobody may use.
const MISSING: ImageEntry = ImageEntry {
    mode: mode::S_IFREG,
    parent: ROOT,
    name_start: 0,
    name_len: 0,
    data: 0,
    size: 0,
    mtime: 0,
    mtime_nanoseconds: 0,
    nlink: 0,
    uid: 0,
    gid: 0,
    same_as: 0,
    reserved: 0,
};

/// The image and the window to read it through.
#[derive(Clone, Copy, Debug)]
pub struct Image {
    window: PhysWindow,
    contents: Span,
    index: Span,
    names: Span,
}

impl Image {
    /// Over what the VMM laid out.
    pub fn new(boot: &BootInfo, window: PhysWindow) -> Self {
        let whole = boot.image_index.len - boot.image_index.len % size_of::<ImageEntry>() as u64;
        Self {
            window,
            contents: boot.image,
            index: Span {
                len: whole,
                ..boot.image_index
            },
            names: boot.image_names,
        }
    }

    /// Entry by number.
    pub fn entry(&self, number: u32) -> &ImageEntry {
        self.entries().get(number as usize).unwrap_or(&MISSING)
    }

    /// The entry that stands for a file with several hard links.
    pub fn canonical(&self, number: u32) -> u32 {
        match self.entry(number).same_as {
            0 => number,
            other => other,
        }
    }

    /// Name of an entry, at most NAME_MAX bytes; empty for the root.
    pub fn name(&self, entry: &ImageEntry) -> &[u8] {
        let len = u64::from(entry.name_len).min(NAME_MAX as u64);
        self.name_bytes(u64::from(entry.name_start), len)
    }

    /// Target of a symbolic link.
    pub fn link_target(&self, entry: &ImageEntry) -> &[u8] {
        self.name_bytes(entry.data, entry.size)
    }

    /// Where a regular file's bytes are and how many; nothing outside the image.
    pub fn extent(&self, entry: &ImageEntry) -> (PhysAddr, u64) {
        let inside = entry.data >= self.contents.start
            && entry
                .data
                .checked_add(entry.size)
                .is_some_and(|end| end <= self.contents.end());
        if inside {
            (PhysAddr(entry.data), entry.size)
        } else {
            (PhysAddr(self.contents.start), 0)
        }
    }

    /// Child number `position` of a directory, in byte order of the names.
    pub fn child(&self, directory: &ImageEntry, position: u64) -> Option<u32> {
        if directory.mode & mode::S_IFMT != mode::S_IFDIR || position >= directory.size {
            return None;
        }
        let number = u32::try_from(directory.data.checked_add(position)?).ok()?;
        (number as usize)
            .lt(&self.entries().len())
            .then_some(number)
    }

    /// The child of a directory by name.
    pub fn lookup(&self, directory: &ImageEntry, name: &[u8]) -> Option<u32> {
        let (mut low, mut high) = (0, directory.size);
        while low < high {
            let middle = low + (high - low) / 2;
            let number = self.child(directory, middle)?;
            match self.name(self.entry(number)).cmp(name) {
                Ordering::Equal => return Some(number),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        None
    }

    fn entries(&self) -> &[ImageEntry] {
        <[ImageEntry]>::ref_from_bytes(
            self.window
                .bytes(PhysAddr(self.index.start), self.index.len),
        )
        .unwrap_or(&[])
    }

    fn name_bytes(&self, start: u64, len: u64) -> &[u8] {
        let names = self
            .window
            .bytes(PhysAddr(self.names.start), self.names.len);
        let range = usize::try_from(start).ok().zip(
            start
                .checked_add(len)
                .and_then(|end| usize::try_from(end).ok()),
        );
        range
            .and_then(|(start, end)| names.get(start..end))
            .unwrap_or(&[])
    }
}
