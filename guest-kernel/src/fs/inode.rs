//! Inodes: one name for everything that a path can lead to, and the one place that asks each kind
//! of file system for what stat, look-up, readlink and getdents need.
//!
//! In:  an [`Inode`], which says where its data lives.
//! Out: [`Metadata`], children, link targets. `path` walks with these, `directory` lists with them.

use super::FileSystem;
use super::console::Stream;
use super::image;
use super::node::{Content, Node, Times, node_number};
use super::pipe::Pipe;
use super::proc::{ProcNode, Processes};
use crate::arena::Id;
use crate::errno::Errno;
use crate::time::NANOS;
use alloc::vec::Vec;
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::image::mode::{S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG};

/// A name for a file that does not depend on any path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inode {
    /// Entry of the root image, changed or not; 0 is the root directory.
    Image(u32),
    /// Made in the guest: by its st_ino, which is never used twice.
    Node(u64),
    /// Something below /proc.
    Proc(ProcNode),
    /// A pipe; lives as long as a descriptor of it is open.
    Pipe(Id<Pipe>),
    /// A host stream: what descriptors 0, 1 and 2 of the first program are open on.
    Console(Stream),
}

impl Inode {
    /// `/`.
    pub const ROOT: Self = Self::Image(image::ROOT);
}

/// A time of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Since the epoch.
    pub seconds: i64,
    /// Below 10^9.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// From nanoseconds since the epoch.
    pub fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self {
            seconds: i64::try_from(nanoseconds / NANOS).unwrap_or(i64::MAX),
            nanoseconds: u32::try_from(nanoseconds % NANOS).expect("below 10^9"),
        }
    }
}

/// What stat(2) tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// st_dev.
    pub device: u64,
    /// st_ino.
    pub number: u64,
    /// Type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Hard links.
    pub links: u32,
    /// st_rdev of a device node.
    pub rdev: u64,
    /// Bytes.
    pub size: u64,
    /// st_blocks: units of 512 bytes, in whole pages.
    pub blocks: u64,
    /// Times.
    pub times: Times,
}

impl Default for Metadata {
    fn default() -> Self {
        Self {
            device: PIPE_DEVICE,
            number: 0,
            mode: S_IFIFO | 0o600,
            uid: 0,
            gid: 0,
            links: 1,
            rdev: 0,
            size: 0,
            blocks: 0,
            times: Times::default(),
        }
    }
}

impl Metadata {
    /// Whether the type is that of `kind` (S_IFDIR, ...).
    pub fn is(&self, kind: u32) -> bool {
        self.mode & S_IFMT == kind
    }

    /// f_type of the file system it is in (statfs(2)).
    pub fn file_system_magic(&self) -> u32 {
        match self.device {
            PROC_DEVICE => linux_raw_sys::general::PROC_SUPER_MAGIC,
            PIPE_DEVICE => linux_raw_sys::general::PIPEFS_MAGIC,
            TERMINAL_DEVICE => linux_raw_sys::general::DEVPTS_SUPER_MAGIC,
            _ => linux_raw_sys::general::OVERLAYFS_SUPER_MAGIC,
        }
    }
}

/// Where following a symbolic link leads.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// To this path.
    Path(&'a [u8]),
    /// Straight to an inode, as the links of /proc do (proc_pid_exe(5)).
    Inode(Inode),
}

/// The three file systems' st_dev, as Linux gives out anonymous device numbers (major 0).
const ROOT_DEVICE: u64 = make_device(0, 20);
const PROC_DEVICE: u64 = make_device(0, 21);
const PIPE_DEVICE: u64 = make_device(0, 14);
const TERMINAL_DEVICE: u64 = make_device(0, 23);

/// st_size of every directory, as most file systems have it for small ones.
const DIRECTORY_BYTES: u64 = 4096;
/// Units of st_blocks in a page.
const BLOCKS_PER_PAGE: u64 = PAGE_SIZE / 512;

/// st_rdev of the first pseudo-terminal (/dev/pts/0).
const FIRST_TERMINAL: u64 = make_device(136, 0);

/// A device number as st_dev and st_rdev hold it (makedev(3)).
pub const fn make_device(major: u64, minor: u64) -> u64 {
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12 | (major & !0xfff) << 32
}

impl FileSystem {
    /// What stat(2) tells about an inode.
    pub fn metadata(&self, inode: Inode) -> Metadata {
        match (inode, self.node(inode)) {
            (_, Some(node)) => self.node_metadata(inode, node),
            (Inode::Image(number), None) => self.image_metadata(number),
            // Removed, and forgotten by everybody but the one who asks.
            (Inode::Node(number), None) => Metadata {
                device: ROOT_DEVICE,
                number,
                mode: 0,
                links: 0,
                ..Metadata::default()
            },
            (Inode::Proc(node), _) => Metadata {
                device: PROC_DEVICE,
                number: node.number(),
                mode: node.mode(),
                links: if node.mode() & S_IFMT == S_IFDIR {
                    2
                } else {
                    1
                },
                ..Metadata::default()
            },
            (Inode::Pipe(id), _) => Metadata {
                number: self.pipes[id].number,
                ..Metadata::default()
            },
            (Inode::Console(stream), _) => self.console_metadata(stream),
        }
    }

    /// A terminal, or what programs see when their output goes through a pipe.
    fn console_metadata(&self, stream: Stream) -> Metadata {
        let (device, mode, rdev) = match self.console.is_terminal(stream) {
            true => (TERMINAL_DEVICE, S_IFCHR | 0o620, FIRST_TERMINAL),
            false => (PIPE_DEVICE, S_IFIFO | 0o600, 0),
        };
        Metadata {
            device,
            number: 3,
            mode,
            rdev,
            ..Metadata::default()
        }
    }

    fn node_metadata(&self, inode: Inode, node: &Node) -> Metadata {
        let (size, blocks, rdev) = match &node.content {
            Content::File(pages) => (pages.size(), pages.pages_used() * BLOCKS_PER_PAGE, 0),
            Content::Directory(_) => (DIRECTORY_BYTES, BLOCKS_PER_PAGE, 0),
            Content::Link(target) => (target.len() as u64, 0, 0),
            Content::Device(rdev) => (0, 0, *rdev),
            Content::Fifo(_) | Content::Socket => (0, 0, 0),
        };
        Metadata {
            device: ROOT_DEVICE,
            number: node_number(inode).unwrap_or(0),
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            links: node.links,
            rdev,
            size,
            blocks,
            times: node.times,
        }
    }

    fn image_metadata(&self, number: u32) -> Metadata {
        let entry = self.image.entry(number);
        let (size, blocks, rdev) = match entry.mode & S_IFMT {
            S_IFREG => {
                let (_, size) = self.image.extent(entry);
                (size, size.div_ceil(PAGE_SIZE) * BLOCKS_PER_PAGE, 0)
            }
            S_IFDIR => (DIRECTORY_BYTES, BLOCKS_PER_PAGE, 0),
            S_IFLNK => (entry.size, 0, 0),
            S_IFCHR | S_IFBLK => (0, 0, entry.data),
            _ => (0, 0, 0),
        };
        Metadata {
            device: ROOT_DEVICE,
            number: u64::from(number) + 1,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            links: entry.nlink,
            rdev,
            size,
            blocks,
            times: Times::all(Timestamp {
                seconds: entry.mtime,
                nanoseconds: entry.mtime_nanoseconds,
            }),
        }
    }

    /// Whether an inode is a directory.
    pub fn is_directory(&self, inode: Inode) -> bool {
        match inode {
            Inode::Image(number) => self.image.entry(number).mode & S_IFMT == S_IFDIR,
            Inode::Node(_) => self.node(inode).is_some_and(|node| node.is(S_IFDIR)),
            Inode::Proc(node) => node.mode() & S_IFMT == S_IFDIR,
            Inode::Pipe(_) | Inode::Console(_) => false,
        }
    }

    /// The entry `name` of a directory; `.` and `..` are the walker's business.
    pub(super) fn lookup(
        &self,
        directory: Inode,
        name: &[u8],
        processes: &dyn Processes,
    ) -> Option<Inode> {
        if directory == Inode::ROOT && name == b"proc" {
            return Some(Inode::Proc(ProcNode::Root));
        }
        let own = self.node(directory).and_then(Node::entries);
        if let Some(found) = own.and_then(|own| own.get(name)) {
            return found;
        }
        match directory {
            Inode::Image(number) => self
                .image
                .lookup(self.image.entry(number), name)
                .map(|child| Inode::Image(self.image.canonical(child))),
            Inode::Proc(node) => node.lookup(name, processes).map(Inode::Proc),
            Inode::Node(_) | Inode::Pipe(_) | Inode::Console(_) => None,
        }
    }

    /// The directory that contains a directory (or a file, by the latest of its names); the root contains itself.
    pub(super) fn parent(&self, inode: Inode) -> Inode {
        if let Some((directory, _)) = self.node(inode).and_then(|node| node.place.as_ref()) {
            return *directory;
        }
        match inode {
            Inode::Image(number) => Inode::Image(self.image.entry(number).parent),
            Inode::Proc(node) => node.parent().map_or(Inode::ROOT, Inode::Proc),
            Inode::Node(_) | Inode::Pipe(_) | Inode::Console(_) => Inode::ROOT,
        }
    }

    /// Where a symbolic link leads; `None` if the inode is none.
    pub(super) fn target(
        &self,
        inode: Inode,
        processes: &dyn Processes,
    ) -> Option<Result<Target<'_>, Errno>> {
        match (inode, self.node(inode).map(|node| &node.content)) {
            (_, Some(Content::Link(target))) => Some(Ok(Target::Path(target))),
            (Inode::Image(number), None) => {
                let entry = self.image.entry(number);
                (entry.mode & S_IFMT == S_IFLNK)
                    .then(|| Ok(Target::Path(self.image.link_target(entry))))
            }
            (Inode::Proc(node), _) => node
                .target(processes)
                .map(|target| target.map(Target::Inode)),
            _ => None,
        }
    }

    /// What readlink(2) returns. EINVAL if the inode is no symbolic link.
    pub fn read_link(&self, inode: Inode, processes: &dyn Processes) -> Result<Vec<u8>, Errno> {
        match (inode, self.target(inode, processes).ok_or(Errno::EINVAL)??) {
            (_, Target::Path(path)) => Ok(path.to_vec()),
            (Inode::Proc(node), Target::Inode(target)) => Ok(node
                .link_text(processes)
                .unwrap_or_else(|| self.path_of(target))),
            (_, Target::Inode(target)) => Ok(self.path_of(target)),
        }
    }

    /// Path of a directory below a root, for getcwd(2). ENOENT if it has been removed.
    pub fn path_below(&self, root: Inode, directory: Inode) -> Result<Vec<u8>, Errno> {
        if self.is_removed(directory) {
            return Err(Errno::ENOENT);
        }
        let path = self.path_of(directory);
        if root == Inode::ROOT {
            return Ok(path);
        }
        let prefix = self.path_of(root);
        Ok(match path.strip_prefix(prefix.as_slice()) {
            Some([]) => b"/".to_vec(),
            Some(rest) if rest[0] == b'/' => rest.to_vec(),
            // The directory was entered before chroot(2) (Linux's prepend_unreachable).
            _ => [b"(unreachable)", path.as_slice()].concat(),
        })
    }

    /// Absolute path of an inode, for getcwd and /proc/PID/exe; of a pipe what /proc/PID/fd shows. What has been removed
    /// is marked as Linux's d_path marks it.
    pub fn path_of(&self, inode: Inode) -> Vec<u8> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut at = inode;
        // A sound tree is far less deep than this; a bad image may hold a loop.
        while at != Inode::ROOT && names.len() < 2048 {
            names.push(match (at, self.node(at)) {
                (_, Some(node)) => match &node.place {
                    Some((_, name)) => name.to_vec(),
                    None => alloc::format!("#{}", self.metadata(at).number).into_bytes(),
                },
                (Inode::Image(number), None) => self.image.name(self.image.entry(number)).to_vec(),
                (Inode::Node(_), None) => Vec::new(),
                (Inode::Proc(node), _) => node.name(),
                (Inode::Pipe(id), _) => {
                    return alloc::format!("pipe:[{}]", self.pipes[id].number).into_bytes();
                }
                (Inode::Console(_), _) => return b"/dev/console".to_vec(),
            });
            at = self.parent(at);
        }
        if names.is_empty() {
            return b"/".to_vec();
        }
        let mut path = names.iter().rev().fold(Vec::new(), |mut path, name| {
            path.push(b'/');
            path.extend_from_slice(name);
            path
        });
        if self.is_removed(inode) {
            path.extend_from_slice(b" (deleted)");
        }
        path
    }
}
