//! Making, removing and moving names: what mkdir(2), link(2), unlink(2), rename(2) and their kin do to the tree.
//!
//! In:  directories and names that `path` has found, whose syntax the system calls have checked.
//! Out: the tree changed, or an error and nothing changed. The order of checks is Linux's (fs/namei.c:
//!      may_create, may_delete, vfs_rename); times and link counts as tmpfs keeps them (mm/shmem.c).

use super::FileSystem;
use super::inode::{Inode, Timestamp};
use super::node::{Content, Entries, Node, Times};
use super::path::{Last, Walk};
use super::proc::ProcNode;
use crate::errno::Errno;
use crate::memory::shared::{ImagePart, SharedPages};
use alloc::rc::Rc;
use alloc::vec::Vec;
use forkvm_abi::image::mode::{S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG};
use linux_raw_sys::general::{RENAME_EXCHANGE, RENAME_NOREPLACE, S_ISGID};

/// Whom a new file belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group, unless the directory hands on its own (S_ISGID).
    pub gid: u32,
}

/// A file to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewFile<'a> {
    /// Type and permissions, the umask taken off.
    pub mode: u32,
    /// Whom it belongs to.
    pub owner: Owner,
    /// st_rdev of a device.
    pub rdev: u64,
    /// Target of a symbolic link.
    pub target: &'a [u8],
}

/// A name in a directory, and what it leads to.
#[derive(Clone, Debug)]
pub struct Place {
    /// The directory.
    pub directory: Inode,
    /// The name.
    pub name: Vec<u8>,
    /// What it leads to now.
    pub inode: Option<Inode>,
    /// Slashes stand behind the name.
    pub trailing_slash: bool,
}

impl Place {
    /// Of a walk; `None` if its last component is no name.
    pub fn of(walk: &Walk<'_>) -> Option<Self> {
        let Last::Name(name) = walk.last else {
            return None;
        };
        Some(Self {
            directory: walk.directory,
            name: name.to_vec(),
            inode: walk.inode,
            trailing_slash: walk.trailing_slash,
        })
    }
}

impl FileSystem {
    /// Makes a file under a free name. ENOENT in a directory that is gone or where nothing can be made, ENOSPC.
    pub fn make(
        &mut self,
        directory: Inode,
        name: &[u8],
        new: &NewFile<'_>,
    ) -> Result<Inode, Errno> {
        self.may_create(directory)?;
        let inode = self.make_nameless(directory, new)?;
        self.enter(directory, name, inode)
            .inspect_err(|_| self.discard(inode))?;
        if new.mode & S_IFMT == S_IFDIR {
            self.own(directory)?.links += 1;
        }
        Ok(inode)
    }

    /// Makes a file as `directory` would have it, but under no name yet (O_TMPFILE). ENOSPC.
    pub fn make_nameless(&mut self, directory: Inode, new: &NewFile<'_>) -> Result<Inode, Errno> {
        let (now, parent) = (self.now(), self.metadata(directory));
        let kind = new.mode & S_IFMT;
        let hands_on = parent.mode & S_ISGID != 0;
        let content = match kind {
            S_IFDIR => Content::Directory(Entries::default()),
            S_IFREG => Content::File(Rc::new(SharedPages::for_file(
                ImagePart::default(),
                &self.quota,
            ))),
            S_IFLNK => Content::Link(new.target.into()),
            S_IFIFO => Content::Fifo(None),
            S_IFCHR | S_IFBLK => Content::Device(new.rdev),
            _ => Content::Socket,
        };
        self.add_node(Node {
            mode: new.mode
                | if hands_on && kind == S_IFDIR {
                    S_ISGID
                } else {
                    0
                },
            uid: new.owner.uid,
            gid: if hands_on { parent.gid } else { new.owner.gid },
            links: if kind == S_IFDIR { 2 } else { 1 },
            times: Times::all(now),
            place: None,
            holders: 0,
            writers: 0,
            linkable: false,
            seals: linux_raw_sys::general::F_SEAL_SEAL,
            content,
        })
    }

    /// Takes back what [`make_nameless`](Self::make_nameless) made.
    pub(super) fn discard(&mut self, inode: Inode) {
        if let Some(node) = self.node_mut(inode) {
            node.links = 0;
        }
        self.bury(inode);
    }

    /// link(2): one more name. EPERM for a directory, ENOENT for a file without names, EXDEV, EMLINK, ENOSPC.
    pub fn link(&mut self, inode: Inode, directory: Inode, name: &[u8]) -> Result<(), Errno> {
        self.may_create(directory)?;
        if !is_in_tree(inode) {
            return Err(Errno::EXDEV);
        }
        let now = self.now();
        if self.is_directory(inode) {
            return Err(Errno::EPERM);
        }
        let node = self.own(inode)?;
        if node.links == 0 && !node.linkable {
            return Err(Errno::ENOENT);
        }
        node.links = node.links.checked_add(1).ok_or(Errno::EMLINK)?;
        let entered = self.enter(directory, name, inode);
        let node = self.own(inode)?;
        match entered {
            Ok(()) => {
                node.times.changed = now;
                node.linkable = false;
            }
            Err(_) => node.links -= 1,
        }
        entered
    }

    /// unlink(2). ENOENT, EISDIR, ENOTDIR, EBUSY, EPERM.
    pub fn unlink(&mut self, place: &Place) -> Result<(), Errno> {
        let inode = place.inode.ok_or(Errno::ENOENT)?;
        if place.trailing_slash {
            let directory = self.is_directory(inode);
            return Err(if directory {
                Errno::EISDIR
            } else {
                Errno::ENOTDIR
            });
        }
        self.may_delete(place.directory, inode, false)?;
        self.own(inode)?;
        self.leave(place.directory, &place.name)?;
        self.drop_link(inode)
    }

    /// rmdir(2). ENOENT, ENOTDIR, EBUSY, ENOTEMPTY, EPERM.
    pub fn remove_directory(&mut self, place: &Place) -> Result<(), Errno> {
        let inode = place.inode.ok_or(Errno::ENOENT)?;
        self.may_delete(place.directory, inode, true)?;
        if !self.is_empty(inode) {
            return Err(Errno::ENOTEMPTY);
        }
        self.own(inode)?;
        self.leave(place.directory, &place.name)?;
        self.own(place.directory)?.links -= 1;
        self.drop_directory(inode)
    }

    /// rename(2) with RENAME_NOREPLACE and RENAME_EXCHANGE. All of its errors that are not about syntax.
    pub fn rename(&mut self, old: &Place, new: &Place, flags: u32) -> Result<(), Errno> {
        let exchange = flags & RENAME_EXCHANGE != 0;
        let inode = old.inode.ok_or(Errno::ENOENT)?;
        if flags & RENAME_NOREPLACE != 0 && new.inode.is_some() {
            return Err(Errno::EEXIST);
        }
        let is_directory = self.is_directory(inode);
        if exchange {
            let other = new.inode.ok_or(Errno::ENOENT)?;
            if new.trailing_slash && !self.is_directory(other) {
                return Err(Errno::ENOTDIR);
            }
        }
        if !is_directory && (old.trailing_slash || (new.trailing_slash && !exchange)) {
            return Err(Errno::ENOTDIR);
        }
        if self.is_below(new.directory, inode) {
            return Err(Errno::EINVAL);
        }
        if let Some(target) = new.inode
            && self.is_below(old.directory, target)
        {
            return Err(if exchange {
                Errno::EINVAL
            } else {
                Errno::ENOTEMPTY
            });
        }
        if new.inode == Some(inode) {
            return Ok(());
        }
        self.may_delete(old.directory, inode, is_directory)?;
        match new.inode {
            None => self.may_create(new.directory)?,
            Some(target) if exchange => {
                self.may_delete(new.directory, target, self.is_directory(target))?;
            }
            Some(target) => {
                self.may_delete(new.directory, target, is_directory)?;
                if is_directory && !self.is_empty(target) {
                    return Err(Errno::ENOTEMPTY);
                }
            }
        }
        match new.inode.filter(|_| exchange) {
            Some(other) => self.exchange(old, inode, new, other),
            None => self.move_over(old, inode, new),
        }
    }

    fn move_over(&mut self, old: &Place, inode: Inode, new: &Place) -> Result<(), Errno> {
        // Everything that can fail for want of room comes first.
        for involved in [inode, old.directory, new.directory] {
            self.own(involved)?;
        }
        if let Some(target) = new.inode {
            self.own(target)?;
        }
        let is_directory = self.is_directory(inode);
        if let Some(target) = new.inode {
            if is_directory {
                self.own(new.directory)?.links -= 1;
                self.drop_directory(target)?;
            } else {
                self.drop_link(target)?;
            }
        }
        self.leave(old.directory, &old.name)?;
        self.enter(new.directory, &new.name, inode)?;
        if is_directory && old.directory != new.directory {
            self.own(old.directory)?.links -= 1;
            self.own(new.directory)?.links += 1;
        }
        let now = self.now();
        self.own(inode)?.times.changed = now;
        Ok(())
    }

    fn exchange(
        &mut self,
        old: &Place,
        inode: Inode,
        new: &Place,
        other: Inode,
    ) -> Result<(), Errno> {
        for involved in [inode, other, old.directory, new.directory] {
            self.own(involved)?;
        }
        self.replace(old.directory, &old.name, other)?;
        self.replace(new.directory, &new.name, inode)?;
        let (one, two) = (self.is_directory(inode), self.is_directory(other));
        if one != two && old.directory != new.directory {
            let (loses, gains) = if one {
                (old.directory, new.directory)
            } else {
                (new.directory, old.directory)
            };
            self.own(loses)?.links -= 1;
            self.own(gains)?.links += 1;
        }
        let now = self.now();
        for moved in [inode, other] {
            self.own(moved)?.times.changed = now;
        }
        Ok(())
    }

    /// Linux's may_create: the directory still exists, and belongs to the tree that can be written.
    fn may_create(&self, directory: Inode) -> Result<(), Errno> {
        match directory {
            Inode::Proc(_) => Err(Errno::ENOENT),
            _ if self.is_removed(directory) => Err(Errno::ENOENT),
            _ => Ok(()),
        }
    }

    /// Linux's may_delete. EPERM in /proc, ENOTDIR, EISDIR, EBUSY where something is mounted.
    fn may_delete(
        &self,
        directory: Inode,
        inode: Inode,
        want_directory: bool,
    ) -> Result<(), Errno> {
        if matches!(directory, Inode::Proc(_)) {
            return Err(Errno::EPERM);
        }
        match (self.is_directory(inode), want_directory) {
            (false, true) => Err(Errno::ENOTDIR),
            (true, false) => Err(Errno::EISDIR),
            _ if inode == Inode::ROOT || inode == Inode::Proc(ProcNode::Root) => Err(Errno::EBUSY),
            _ => Ok(()),
        }
    }

    /// Whether a directory has been removed and lives on only because somebody is in it.
    pub(super) fn is_removed(&self, directory: Inode) -> bool {
        match (directory, self.node(directory)) {
            (_, Some(node)) => node.links == 0,
            (Inode::Node(_), None) => true,
            _ => false,
        }
    }

    /// Whether a directory has no entries.
    fn is_empty(&self, directory: Inode) -> bool {
        let image = match directory {
            Inode::Image(number) => self.image.entry(number).size,
            _ => 0,
        };
        let own = self.node(directory).and_then(Node::entries);
        own.map_or(image == 0, |own| own.len() == 0 && own.hidden() == image)
    }

    /// Whether `directory` is `ancestor` or somewhere below it.
    fn is_below(&self, directory: Inode, ancestor: Inode) -> bool {
        let mut at = directory;
        while at != ancestor {
            let parent = self.parent(at);
            if parent == at {
                return false;
            }
            at = parent;
        }
        true
    }

    /// Puts a name into a directory.
    fn enter(&mut self, directory: Inode, name: &[u8], inode: Inode) -> Result<(), Errno> {
        self.own(inode)?;
        let (now, covers) = (self.now(), self.image_has(directory, name));
        let name: Rc<[u8]> = Rc::from(name);
        let node = self.own(directory)?;
        if let Content::Directory(entries) = &mut node.content {
            entries.insert(Rc::clone(&name), inode, covers);
        }
        node.touch(now);
        self.own(inode)?.place = Some((directory, name));
        Ok(())
    }

    /// Takes a name out of a directory.
    fn leave(&mut self, directory: Inode, name: &[u8]) -> Result<(), Errno> {
        let (now, covers) = (self.now(), self.image_has(directory, name));
        let node = self.own(directory)?;
        if let Content::Directory(entries) = &mut node.content {
            entries.remove(name, covers);
        }
        node.touch(now);
        Ok(())
    }

    /// Lets a name lead to another inode.
    fn replace(&mut self, directory: Inode, name: &[u8], inode: Inode) -> Result<(), Errno> {
        let (now, covers) = (self.now(), self.image_has(directory, name));
        let name: Rc<[u8]> = Rc::from(name);
        let node = self.own(directory)?;
        if let Content::Directory(entries) = &mut node.content {
            match entries.get(&name) {
                Some(Some(_)) => entries.replace(&name, inode),
                _ => entries.insert(Rc::clone(&name), inode, covers),
            }
        }
        node.touch(now);
        self.own(inode)?.place = Some((directory, name));
        Ok(())
    }

    fn image_has(&self, directory: Inode, name: &[u8]) -> bool {
        match directory {
            Inode::Image(number) => self.image.lookup(self.image.entry(number), name).is_some(),
            _ => false,
        }
    }

    /// One name less leads to a file.
    fn drop_link(&mut self, inode: Inode) -> Result<(), Errno> {
        let now = self.now();
        let node = self.own(inode)?;
        node.links -= 1;
        node.times.changed = now;
        self.bury(inode);
        Ok(())
    }

    /// No name leads to a directory any more.
    fn drop_directory(&mut self, inode: Inode) -> Result<(), Errno> {
        let now = self.now();
        let node = self.own(inode)?;
        node.links = 0;
        node.times.changed = now;
        self.bury(inode);
        Ok(())
    }

    /// The time that files get.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_nanoseconds(self.clock.realtime())
    }
}

/// Whether an inode is in the tree that can be written.
fn is_in_tree(inode: Inode) -> bool {
    matches!(inode, Inode::Image(_) | Inode::Node(_))
}
