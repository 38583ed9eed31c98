//! The tree of names: directories, files, links, devices, with what stat(2) tells about them.
//!
//! Paths are resolved as the guest will resolve them: symbolic links on the way are followed, so
//! that a file for /bin goes where a root's /bin leads.

use super::RootError;
use forkvm_abi::image::mode::{S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

/// Inodes at most: the index stays within its 32-bit numbers, and within a small guest's RAM.
pub(super) const MAX_FILES: u32 = 4_000_000;
/// Symbolic links followed in one path at most (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Everything below `/`.
#[derive(Debug, Default)]
pub struct Tree {
    /// `/`.
    pub root: Directory,
    /// Numbers given to files so far.
    files: u32,
}

/// Permissions, owner and time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits with S_ISUID, S_ISGID, S_ISVTX.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since the epoch.
    pub mtime: i64,
    /// The rest of it.
    pub nanoseconds: u32,
}

impl Attributes {
    /// Of root, at the epoch.
    pub const fn of_mode(mode: u32) -> Self {
        Self {
            mode,
            uid: 0,
            gid: 0,
            mtime: 0,
            nanoseconds: 0,
        }
    }
}

/// A directory.
#[derive(Debug)]
pub struct Directory {
    /// In byte order of their names.
    pub children: BTreeMap<Vec<u8>, Node>,
    /// What stat tells.
    pub attributes: Attributes,
}

impl Default for Directory {
    fn default() -> Self {
        Self::new(Attributes::of_mode(0o755))
    }
}

/// Something with a name.
#[derive(Debug)]
pub enum Node {
    /// A directory.
    Directory(Directory),
    /// A regular file.
    File(FileNode),
    /// A symbolic link.
    Link(Vec<u8>, Attributes),
    /// A device or FIFO: its type, and st_rdev.
    Special(u32, u64, Attributes),
}

/// A regular file. Hard links have the same number.
#[derive(Clone, Debug)]
pub struct FileNode {
    /// Which file it is.
    pub number: u32,
    /// Its bytes.
    pub content: Content,
    /// What stat tells.
    pub attributes: Attributes,
}

/// Where a file's bytes are.
#[derive(Clone, Debug)]
pub enum Content {
    /// Inside forkvm.
    Embedded(&'static [u8]),
    /// In forkvm's memory.
    Bytes(Arc<[u8]>),
    /// In a file of the host that is open: the program, of which the guest will need all.
    Open(Arc<File>, u64),
    /// In a file of the host that is opened when it is mapped.
    Path(PathBuf, u64),
    /// In the middle of a file of the host (an archive): offset, length.
    Part(Arc<File>, u64, u64),
}

impl Content {
    /// Bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Embedded(bytes) => bytes.len() as u64,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Open(_, len) | Self::Path(_, len) | Self::Part(_, _, len) => *len,
        }
    }
}

impl Node {
    /// st_mode.
    pub fn mode(&self) -> u32 {
        match self {
            Self::Directory(directory) => S_IFDIR | directory.attributes.mode,
            Self::File(file) => S_IFREG | file.attributes.mode,
            Self::Link(_, attributes) => S_IFLNK | attributes.mode,
            Self::Special(kind, _, attributes) => kind | attributes.mode,
        }
    }

    /// What stat tells besides.
    pub fn attributes(&self) -> Attributes {
        match self {
            Self::Directory(directory) => directory.attributes,
            Self::File(file) => file.attributes,
            Self::Link(_, attributes) | Self::Special(_, _, attributes) => *attributes,
        }
    }
}

impl Directory {
    /// An empty one.
    pub const fn new(attributes: Attributes) -> Self {
        Self {
            children: BTreeMap::new(),
            attributes,
        }
    }

    /// Directories among the children.
    pub fn subdirectories(&self) -> usize {
        self.children
            .values()
            .filter(|child| matches!(child, Node::Directory(_)))
            .count()
    }
}

impl Tree {
    /// A regular file that is not in the tree yet.
    pub fn new_file(&mut self, content: Content, attributes: Attributes) -> Node {
        let number = self.files;
        self.files += 1;
        Node::File(FileNode {
            number,
            content,
            attributes,
        })
    }

    /// Whether more files than `MAX_FILES` were made.
    pub fn is_full(&self) -> bool {
        self.files > MAX_FILES
    }

    /// Directories and devices that programs expect (null(4), random(4), tty(4)), and the way to a process's
    /// open files. A root's own /dev gives way.
    pub fn add_standard_entries(&mut self) -> Result<(), RootError> {
        const DEVICES: [(&str, u64, u64); 7] = [
            ("null", 1, 3),
            ("zero", 1, 5),
            ("full", 1, 7),
            ("random", 1, 8),
            ("urandom", 1, 9),
            ("tty", 5, 0),
            ("console", 5, 1),
        ];
        const LINKS: [(&str, &str); 4] = [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
        ];
        let mut dev = Directory::default();
        for (name, major, minor) in DEVICES {
            let device = Node::Special(S_IFCHR, major << 8 | minor, Attributes::of_mode(0o666));
            dev.children.insert(name.into(), device);
        }
        for (name, target) in LINKS {
            let link = Node::Link(target.into(), Attributes::of_mode(0o777));
            dev.children.insert(name.into(), link);
        }
        let shm = Directory::new(Attributes::of_mode(0o1777));
        dev.children.insert("shm".into(), Node::Directory(shm));
        let root = &mut self.root.children;
        root.insert("dev".into(), Node::Directory(dev));
        // Something is mounted here, so it must be a directory.
        if !matches!(root.get(&b"proc"[..]), Some(Node::Directory(_))) {
            let proc = Directory::new(Attributes::of_mode(0o555));
            root.insert("proc".into(), Node::Directory(proc));
        }
        for (name, mode) in [("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777)] {
            root.entry(name.into())
                .or_insert_with(|| Node::Directory(Directory::new(Attributes::of_mode(mode))));
        }
        Ok(())
    }

    /// Puts something at an absolute path. Directories on the way are made; a directory that is there already keeps its
    /// children and takes the new one's attributes, anything but a directory or device is replaced.
    pub fn insert(&mut self, path: &[u8], node: Node) -> Result<(), RootError> {
        let shown = || String::from_utf8_lossy(path).into_owned();
        let mut parts = self
            .resolve(path, false)
            .ok_or_else(|| RootError::PathTaken(shown()))?;
        if parts.iter().any(|part| part.len() > 255) {
            return Err(RootError::NameTooLong(shown()));
        }
        let Some(name) = parts.pop() else {
            let Node::Directory(new) = node else {
                return Err(RootError::PathTaken(shown()));
            };
            self.root.attributes = new.attributes;
            return Ok(());
        };
        let mut directory = &mut self.root;
        for part in parts {
            let child = directory
                .children
                .entry(part)
                .or_insert_with(|| Node::Directory(Directory::default()));
            let Node::Directory(below) = child else {
                return Err(RootError::PathTaken(shown()));
            };
            directory = below;
        }
        match (directory.children.get_mut(&name), node) {
            (Some(Node::Directory(old)), Node::Directory(new)) => {
                old.attributes = new.attributes;
            }
            (Some(Node::Directory(old)), node) if old.children.is_empty() => {
                directory.children.insert(name, node);
            }
            (Some(Node::Directory(_) | Node::Special(S_IFCHR, ..)), _) => {
                return Err(RootError::PathTaken(shown()));
            }
            (_, node) => {
                directory.children.insert(name, node);
            }
        }
        Ok(())
    }

    /// What an absolute path leads to in the guest, symbolic links followed.
    pub fn get(&self, path: &[u8]) -> Option<&Node> {
        self.find(&self.resolve(path, true)?)
    }

    /// What an absolute path names, itself not followed; the root has no name.
    pub fn entry(&self, path: &[u8]) -> Option<&Node> {
        self.find(&self.resolve(path, false)?)
    }

    fn find(&self, parts: &[Vec<u8>]) -> Option<&Node> {
        let (name, parents) = parts.split_last()?;
        let mut directory = &self.root;
        for part in parents {
            let Some(Node::Directory(below)) = directory.children.get(part) else {
                return None;
            };
            directory = below;
        }
        directory.children.get(name)
    }

    /// The names of a path when all links on it have been followed, and its last one if `last` says so. Names that do not exist
    /// are kept. `None` if there are too many links.
    fn resolve(&self, path: &[u8], last: bool) -> Option<Vec<Vec<u8>>> {
        let split = |path: &[u8]| -> Vec<Vec<u8>> {
            let parts = path
                .split(|byte| *byte == b'/')
                .filter(|part| !part.is_empty());
            parts.rev().map(<[u8]>::to_vec).collect()
        };
        let mut rest = split(path);
        let mut done: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(part) = rest.pop() {
            match part.as_slice() {
                b"." => continue,
                b".." => {
                    done.pop();
                    continue;
                }
                _ => done.push(part),
            }
            if rest.is_empty() && !last {
                break;
            }
            if let Some(Node::Link(target, _)) = self.find(&done) {
                links += 1;
                if links > MAX_LINKS {
                    return None;
                }
                if target.starts_with(b"/") {
                    done.clear();
                } else {
                    done.pop();
                }
                rest.extend(split(target));
            }
        }
        Some(done)
    }
}

/// Whether a type of file can be in a guest's root: sockets and block devices have nothing behind them there.
pub(super) fn is_kept(mode: u32) -> bool {
    matches!(mode & S_IFMT, S_IFREG | S_IFDIR | S_IFLNK | S_IFIFO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(target: &str) -> Node {
        Node::Link(target.into(), Attributes::of_mode(0o777))
    }

    fn tree() -> Tree {
        let mut tree = Tree::default();
        tree.insert(b"/usr/bin", Node::Directory(Directory::default()))
            .unwrap();
        tree.insert(b"/bin", link("usr/bin")).unwrap();
        tree.insert(b"/loop", link("/loop")).unwrap();
        tree
    }

    #[test]
    fn files_go_where_links_lead() {
        let mut tree = tree();
        let file = tree.new_file(Content::Embedded(b"x"), Attributes::of_mode(0o755));
        tree.insert(b"/bin/../bin/./tool", file).unwrap();
        assert!(matches!(tree.entry(b"/usr/bin/tool"), Some(Node::File(_))));
        assert!(matches!(tree.get(b"/bin/tool"), Some(Node::File(_))));
        assert!(matches!(tree.entry(b"/bin"), Some(Node::Link(..))));
        assert!(matches!(tree.get(b"/bin"), Some(Node::Directory(_))));
        assert!(tree.get(b"/loop").is_none() && tree.get(b"/bin/none").is_none());
    }

    #[test]
    fn directories_are_merged_and_not_replaced() {
        let mut tree = tree();
        let attributes = Attributes::of_mode(0o700);
        tree.insert(b"/usr", Node::Directory(Directory::new(attributes)))
            .unwrap();
        assert_eq!(tree.entry(b"/usr").unwrap().mode(), S_IFDIR | 0o700);
        assert!(tree.entry(b"/usr/bin").is_some());
        let taken = |result| matches!(result, Err(RootError::PathTaken(_)));
        assert!(taken(tree.insert(b"/usr", link("x"))));
        assert!(taken(tree.insert(b"/", link("x"))));
        assert!(taken(tree.insert(b"/loop/x", link("x"))));
        let long = [b"/", &[b'n'; 256][..]].concat();
        assert!(matches!(
            tree.insert(&long, link("x")),
            Err(RootError::NameTooLong(_))
        ));
    }

    #[test]
    fn every_guest_has_its_devices() {
        let mut tree = tree();
        tree.insert(b"/proc", link("elsewhere")).unwrap();
        tree.insert(b"/dev/sda", link("x")).unwrap();
        tree.add_standard_entries().unwrap();
        assert!(matches!(tree.entry(b"/proc"), Some(Node::Directory(_))));
        assert!(tree.entry(b"/dev/sda").is_none());
        assert_eq!(tree.entry(b"/dev/null").unwrap().mode(), S_IFCHR | 0o666);
        assert_eq!(tree.entry(b"/tmp").unwrap().mode(), S_IFDIR | 0o1777);
        assert!(
            matches!(tree.entry(b"/bin"), Some(Node::Link(..))),
            "the root's own"
        );
    }
}
