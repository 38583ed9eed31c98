//! What the writable layer holds: inodes that were made in the guest, and those of the root image about which
//! something has changed.
//!
//! A node is named by its st_ino, which is never used twice. An image entry that nobody has changed needs no
//! node; `FileSystem::own` makes one the first time. The contents stay in the image even then:
//! only pages that are written get frames.

use super::FileSystem;
use super::inode::{Inode, Timestamp};
use super::pipe::Pipe;
use crate::arena::Id;
use crate::errno::Errno;
use crate::memory::shared::{ImagePart, SharedPages};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::image::mode::{S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG};

/// st_ino of the first file made in the guest; those of image entries are below.
pub(super) const FIRST_NUMBER: u64 = 1 << 33;

/// An inode of the writable layer.
#[derive(Debug)]
pub struct Node {
    /// Type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Hard links; 0 once nothing leads here any more.
    pub links: u32,
    /// Times.
    pub times: Times,
    /// Directory and name where it stands, of several links the latest.
    pub(super) place: Option<(Inode, Rc<[u8]>)>,
    /// Open files and current directories that keep it alive.
    pub(super) holders: u32,
    /// Open files that may write it.
    pub(super) writers: u32,
    /// Made by O_TMPFILE without O_EXCL: linkat(2) may give it a name.
    pub(super) linkable: bool,
    /// F_ADD_SEALS (fcntl(2)).
    pub(super) seals: u32,
    pub(super) content: Content,
}

/// st_atime and its like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Last read.
    pub accessed: Timestamp,
    /// Last change of the contents.
    pub modified: Timestamp,
    /// Last change of the inode.
    pub changed: Timestamp,
    /// Creation.
    pub born: Timestamp,
}

impl Times {
    /// All the same.
    pub const fn all(time: Timestamp) -> Self {
        Self {
            accessed: time,
            modified: time,
            changed: time,
            born: time,
        }
    }
}

/// Memory for files and inodes, all of it and what is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Room {
    pub pages: u64,
    pub pages_free: u64,
    pub inodes: u64,
    pub inodes_free: u64,
}

/// What a node holds.
#[derive(Debug)]
pub(super) enum Content {
    /// A directory's own entries, on top of the image's.
    Directory(Entries),
    /// A regular file.
    File(Rc<SharedPages>),
    /// A symbolic link's target.
    Link(Box<[u8]>),
    /// A FIFO; its pipe exists while it is open.
    Fifo(Option<Id<Pipe>>),
    /// A device's st_rdev.
    Device(u64),
    /// A socket's name: nobody can connect to it.
    Socket,
}

/// The entries of a directory that differ from the image's.
#[derive(Debug, Default)]
pub(super) struct Entries {
    by_name: BTreeMap<Rc<[u8]>, Entry>,
    /// Entries in the order they were made, which is the order of listing: a cookie stays valid
    /// whatever is made or removed.
    by_order: BTreeMap<u64, Rc<[u8]>>,
    next_order: u64,
    /// Names of the image that are hidden or replaced.
    hidden: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// What the name leads to; `None` hides a name of the image (a whiteout).
    target: Option<(Inode, u64)>,
    /// The image has this name too.
    covers: bool,
}

impl Entries {
    /// What a name leads to: `None` if only the image can tell, `Some(None)` if it is hidden.
    pub(super) fn get(&self, name: &[u8]) -> Option<Option<Inode>> {
        self.by_name
            .get(name)
            .map(|entry| entry.target.map(|(inode, _)| inode))
    }

    /// Enters a name; `covers`: the image has it too.
    pub(super) fn insert(&mut self, name: Rc<[u8]>, inode: Inode, covers: bool) {
        self.remove(&name, covers);
        let order = self.next_order;
        self.next_order += 1;
        self.by_order.insert(order, Rc::clone(&name));
        self.hidden += u64::from(covers && !self.by_name.contains_key(&name));
        let target = Some((inode, order));
        self.by_name.insert(name, Entry { target, covers });
    }

    /// Takes a name away; `covers`: the image has it, so that it must be hidden.
    pub(super) fn remove(&mut self, name: &[u8], covers: bool) {
        if let Some(entry) = self.by_name.get_mut(name) {
            if let Some((_, order)) = entry.target.take() {
                self.by_order.remove(&order);
            }
            if !entry.covers {
                self.by_name.remove(name);
            }
        } else if covers {
            self.hidden += 1;
            let whiteout = Entry {
                target: None,
                covers,
            };
            self.by_name.insert(Rc::from(name), whiteout);
        }
    }

    /// Lets a name lead somewhere else without changing its place in the listing. It is an entry of its own already.
    pub(super) fn replace(&mut self, name: &[u8], inode: Inode) {
        if let Some((target, _)) = self
            .by_name
            .get_mut(name)
            .and_then(|entry| entry.target.as_mut())
        {
            *target = inode;
        }
    }

    /// Own entries.
    pub(super) fn len(&self) -> u64 {
        self.by_order.len() as u64
    }

    /// Names of the image that are not to be seen.
    pub(super) fn hidden(&self) -> u64 {
        self.hidden
    }

    /// The first own entry from a place in the listing on: its place, name, target.
    pub(super) fn from(&self, order: u64) -> Option<(u64, &Rc<[u8]>, Inode)> {
        let (order, name) = self.by_order.range(order..).next()?;
        let (inode, _) = self.by_name.get(name)?.target?;
        Some((*order, name, inode))
    }
}

impl Node {
    /// Whether the type is that of `kind` (S_IFDIR, ...).
    pub(super) fn is(&self, kind: u32) -> bool {
        self.mode & S_IFMT == kind
    }

    /// The entries of a directory.
    pub(super) fn entries(&self) -> Option<&Entries> {
        match &self.content {
            Content::Directory(entries) => Some(entries),
            _ => None,
        }
    }

    /// The contents have changed at `now`.
    pub(super) fn touch(&mut self, now: Timestamp) {
        self.times.modified = now;
        self.times.changed = now;
    }
}

impl FileSystem {
    /// The node of an inode, if it has one.
    pub(super) fn node(&self, inode: Inode) -> Option<&Node> {
        self.nodes.get(&node_number(inode)?).map(|node| &**node)
    }

    /// The node of an inode, if it has one.
    pub(super) fn node_mut(&mut self, inode: Inode) -> Option<&mut Node> {
        self.nodes
            .get_mut(&node_number(inode)?)
            .map(|node| &mut **node)
    }

    /// The node of an inode, made from the image's entry if there is none yet. ENOSPC if there are too many,
    /// EPERM for what is in no file system that can be changed, ENOENT for a file that is gone.
    pub(super) fn own(&mut self, inode: Inode) -> Result<&mut Node, Errno> {
        let number = node_number(inode).ok_or(Errno::EPERM)?;
        if !self.nodes.contains_key(&number) {
            let Inode::Image(entry) = inode else {
                return Err(Errno::ENOENT);
            };
            self.room_for_node()?;
            let node = self.node_of_entry(entry);
            self.nodes.insert(number, Box::new(node));
        }
        self.nodes
            .get_mut(&number)
            .map(|node| &mut **node)
            .ok_or(Errno::ENOENT)
    }

    /// How much more the file system takes, for statfs(2).
    pub fn room(&self) -> Room {
        let inodes = self.max_nodes as u64;
        Room {
            pages: self.quota.limit,
            pages_free: self.quota.limit.saturating_sub(self.quota.used.get()),
            inodes,
            inodes_free: inodes.saturating_sub(self.nodes.len() as u64),
        }
    }

    /// ENOSPC if no further inode may be made.
    pub(super) fn room_for_node(&self) -> Result<(), Errno> {
        if self.nodes.len() < self.max_nodes {
            Ok(())
        } else {
            Err(Errno::ENOSPC)
        }
    }

    /// Takes a new node in.
    pub(super) fn add_node(&mut self, node: Node) -> Result<Inode, Errno> {
        self.room_for_node()?;
        let number = self.next_node;
        self.next_node += 1;
        self.nodes.insert(number, Box::new(node));
        Ok(Inode::Node(number))
    }

    /// What the image says, as a node. Whoever has it open already is counted.
    fn node_of_entry(&self, number: u32) -> Node {
        let inode = Inode::Image(number);
        let entry = self.image.entry(number);
        let metadata = self.metadata(inode);
        let content = match entry.mode & S_IFMT {
            S_IFDIR => Content::Directory(Entries::default()),
            S_IFREG => {
                let (data, len) = self.image.extent(entry);
                let part = ImagePart {
                    data: data.0,
                    len,
                    padded: data.0.is_multiple_of(PAGE_SIZE),
                };
                Content::File(Rc::new(SharedPages::for_file(part, &self.quota)))
            }
            S_IFLNK => Content::Link(self.image.link_target(entry).into()),
            S_IFIFO => Content::Fifo(None),
            S_IFCHR | forkvm_abi::image::mode::S_IFBLK => Content::Device(entry.data),
            _ => Content::Socket,
        };
        let open = self.files.iter().filter(|(_, file)| file.inode == inode);
        let directories = self.contexts.iter();
        let current = directories
            .map(|(_, context)| u32::from(context.cwd == inode) + u32::from(context.root == inode));
        Node {
            mode: metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
            links: metadata.links,
            times: metadata.times,
            place: Some((Inode::Image(entry.parent), Rc::from(self.image.name(entry)))),
            holders: open.fold(0, |count, _| count + 1) + current.sum::<u32>(),
            writers: 0,
            linkable: false,
            seals: linux_raw_sys::general::F_SEAL_SEAL,
            content,
        }
    }

    /// Somebody keeps an inode alive without a name for it: an open file, a current directory.
    pub(super) fn hold(&mut self, inode: Inode) {
        if let Some(node) = self.node_mut(inode) {
            node.holders += 1;
        }
    }

    /// The end of a [`hold`](Self::hold).
    pub(super) fn let_go(&mut self, inode: Inode) {
        if let Some(node) = self.node_mut(inode) {
            node.holders -= 1;
            self.bury(inode);
        }
    }

    /// Frees a node to which nothing leads any more. Its frames go with [`give_back_frames`](Self::give_back_frames).
    pub(super) fn bury(&mut self, inode: Inode) {
        let is_dead = self
            .node(inode)
            .is_some_and(|node| node.links == 0 && node.holders == 0);
        if !is_dead {
            return;
        }
        let node = node_number(inode).and_then(|number| self.nodes.remove(&number));
        if let Some(Content::File(pages)) = node.map(|node| node.content) {
            self.objects_aside.push(pages);
        }
    }
}

/// st_ino of an inode that may have a node.
pub(super) fn node_number(inode: Inode) -> Option<u64> {
    match inode {
        Inode::Image(entry) => Some(u64::from(entry) + 1),
        Inode::Node(number) => Some(number),
        Inode::Proc(_) | Inode::Pipe(_) | Inode::Console(_) => None,
    }
}
