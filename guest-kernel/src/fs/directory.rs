//! Listing directories: getdents64(2) and getdents(2).
//!
//! A directory's position is a cookie: 0 is `.`, 1 is `..`, and what follows is the directory's own.
//! Every entry carries the cookie of the next one, so a listing can be resumed there.

use super::FileSystem;
use super::file::{FileKind, OpenFile};
use super::inode::Inode;
use super::io::Sink;
use super::node::Node;
use super::proc::{NoProcesses, Processes};
use crate::arena::Id;
use crate::errno::Errno;
use alloc::borrow::Cow;
use forkvm_abi::image::mode::S_IFMT;

/// Layout of the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirentFormat {
    /// struct linux_dirent64: the type stands before the name.
    Dirent64,
    /// struct linux_dirent: the type is the record's last byte.
    Old,
}

/// Bytes before the name: d_ino, d_off, d_reclen, and d_type in the newer format.
const OLD_HEADER: usize = 18;
const NEW_HEADER: usize = 19;
/// Bytes of a record at most: header, longest name, NUL, type, padding.
const RECORD_MAX: usize = 280;

/// A directory entry as it is listed.
struct Entry<'a> {
    name: Cow<'a, [u8]>,
    inode: Inode,
    /// Cookie of the entry behind it.
    next: u64,
}

impl FileSystem {
    /// Writes as many records as fit; how many bytes, 0 at the end. ENOTDIR, EINVAL if not even one fits, EFAULT.
    pub fn list(
        &mut self,
        id: Id<OpenFile>,
        format: DirentFormat,
        processes: &dyn Processes,
        sink: &mut dyn Sink,
    ) -> Result<usize, Errno> {
        let file = &self.files[id];
        if file.kind != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        let (directory, mut position) = (file.inode, file.offset);
        let mut written = 0;
        let result = loop {
            let Some(entry) = self.entry_at(directory, position, processes) else {
                break Ok(written);
            };
            let metadata = self.metadata(entry.inode);
            let mut record = [0; RECORD_MAX];
            let len = format.encode(
                &mut record,
                metadata.number,
                entry.next,
                metadata.mode,
                &entry.name,
            );
            if len > sink.room() {
                break if written > 0 {
                    Ok(written)
                } else {
                    Err(Errno::EINVAL)
                };
            }
            if sink.put(&record[..len]) < len {
                break if written > 0 {
                    Ok(written)
                } else {
                    Err(Errno::EFAULT)
                };
            }
            written += len;
            position = entry.next;
        };
        self.files[id].offset = position;
        result
    }

    fn entry_at(
        &self,
        directory: Inode,
        position: u64,
        processes: &dyn Processes,
    ) -> Option<Entry<'_>> {
        if self.is_removed(directory) {
            return None;
        }
        let own = match position {
            0 => {
                return Some(Entry {
                    name: Cow::Borrowed(b"."),
                    inode: directory,
                    next: 1,
                });
            }
            1 => {
                return Some(Entry {
                    name: Cow::Borrowed(b".."),
                    inode: self.parent(directory),
                    next: 2,
                });
            }
            _ => position - 2,
        };
        match directory {
            Inode::Image(_) | Inode::Node(_) => self.tree_entry(directory, own),
            Inode::Proc(node) => {
                let (found, child) = node.child(own, processes)?;
                Some(Entry {
                    name: Cow::Owned(child.name()),
                    inode: Inode::Proc(child),
                    next: found + 3,
                })
            }
            Inode::Pipe(_) | Inode::Console(_) => None,
        }
    }

    /// The entry at a place or the next one behind it: first what the image has and nobody has hidden, then the directory's own
    /// entries in the order they were made.
    fn tree_entry(&self, directory: Inode, place: u64) -> Option<Entry<'_>> {
        let own = self.node(directory).and_then(Node::entries);
        let image_len = match directory {
            Inode::Image(number) => {
                let parent = self.image.entry(number);
                for at in place..parent.size {
                    let child = self.image.child(parent, at)?;
                    let name = self.image.name(self.image.entry(child));
                    if own.is_none_or(|own| own.get(name).is_none()) {
                        return Some(Entry {
                            name: Cow::Borrowed(name),
                            inode: self.lookup(directory, name, &NoProcesses)?,
                            next: at + 3,
                        });
                    }
                }
                parent.size
            }
            _ => 0,
        };
        let (order, name, inode) = own?.from(place.saturating_sub(image_len))?;
        Some(Entry {
            name: Cow::Borrowed(name),
            inode,
            next: image_len + order + 3,
        })
    }
}

impl DirentFormat {
    /// Fills in a record; its length, a multiple of 8.
    fn encode(
        self,
        record: &mut [u8; RECORD_MAX],
        number: u64,
        next: u64,
        mode: u32,
        name: &[u8],
    ) -> usize {
        // DT_DIR and its like are st_mode's type bits shifted down (IFTODT).
        let kind = ((mode & S_IFMT) >> 12).to_le_bytes()[0];
        let (header, behind) = match self {
            Self::Dirent64 => (NEW_HEADER, 1),
            Self::Old => (OLD_HEADER, 2),
        };
        let len = (header + name.len() + behind).next_multiple_of(8);
        record[0..8].copy_from_slice(&number.to_le_bytes());
        record[8..16].copy_from_slice(&next.to_le_bytes());
        record[16..18].copy_from_slice(
            &u16::try_from(len)
                .expect("at most RECORD_MAX")
                .to_le_bytes(),
        );
        match self {
            Self::Dirent64 => record[18] = kind,
            Self::Old => record[len - 1] = kind,
        }
        record[header..header + name.len()].copy_from_slice(name);
        len
    }
}
