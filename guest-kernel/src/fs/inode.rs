//! Inodes: one name for everything that a path can lead to, and the one place that asks each kind
//! of file system for what stat, look-up, readlink and getdents need.
//!
//! In:  an [`Inode`], which says where its data lives.
//! Out: [`Metadata`], children, link targets. `path` walks with these, `directory` lists with them.

use super::FileSystem;
use super::console::Stream;
use super::image;
use super::pipe::Pipe;
use super::proc::{ProcNode, Processes};
use crate::arena::Id;
use crate::errno::Errno;
use alloc::vec::Vec;
use forkvm_abi::image::mode::{S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG};

/// A name for a file that does not depend on any path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inode {
    /// Entry of the root image; 0 is the root directory.
    Image(u32),
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

/// What stat(2) tells. Owner and group are 0 everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// st_dev.
    pub device: u64,
    /// st_ino.
    pub number: u64,
    /// Type and permissions.
    pub mode: u32,
    /// Hard links.
    pub links: u32,
    /// st_rdev of a device node.
    pub rdev: u64,
    /// Bytes.
    pub size: u64,
    /// Modification time, seconds since the epoch; stands for the other times too.
    pub mtime: i64,
}

impl Metadata {
    /// Whether the type is that of `kind` (S_IFDIR, ...).
    pub fn is(&self, kind: u32) -> bool {
        self.mode & S_IFMT == kind
    }

    /// st_blocks: units of 512 bytes, in whole pages.
    pub fn blocks(&self) -> u64 {
        if self.is(S_IFREG) || self.is(S_IFDIR) {
            self.size.div_ceil(4096) * 8
        } else {
            0
        }
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
const IMAGE_DEVICE: u64 = make_device(0, 20);
const PROC_DEVICE: u64 = make_device(0, 21);
const PIPE_DEVICE: u64 = make_device(0, 14);
const TERMINAL_DEVICE: u64 = make_device(0, 23);

/// st_rdev of the first pseudo-terminal (/dev/pts/0).
const FIRST_TERMINAL: u64 = make_device(136, 0);

/// A device number as st_dev and st_rdev hold it, for numbers below 256 (makedev(3)).
pub const fn make_device(major: u64, minor: u64) -> u64 {
    major << 8 | minor
}

impl FileSystem {
    /// What stat(2) tells about an inode.
    pub fn metadata(&self, inode: Inode) -> Metadata {
        match inode {
            Inode::Image(number) => self.image_metadata(number),
            Inode::Proc(node) => Metadata {
                device: PROC_DEVICE,
                number: node.number(),
                mode: node.mode(),
                links: if node.mode() & S_IFMT == S_IFDIR {
                    2
                } else {
                    1
                },
                rdev: 0,
                size: 0,
                mtime: 0,
            },
            Inode::Pipe(id) => Metadata {
                device: PIPE_DEVICE,
                number: self.pipes[id].number,
                mode: S_IFIFO | 0o600,
                links: 1,
                rdev: 0,
                size: 0,
                mtime: 0,
            },
            Inode::Console(stream) => {
                // A terminal, or what programs see when their output goes through a pipe.
                let (device, mode, rdev) = match self.console.is_terminal(stream) {
                    true => (TERMINAL_DEVICE, S_IFCHR | 0o620, FIRST_TERMINAL),
                    false => (PIPE_DEVICE, S_IFIFO | 0o600, 0),
                };
                Metadata {
                    device,
                    number: 3,
                    mode,
                    links: 1,
                    rdev,
                    size: 0,
                    mtime: 0,
                }
            }
        }
    }

    fn image_metadata(&self, number: u32) -> Metadata {
        let entry = self.image.entry(number);
        let kind = entry.mode & S_IFMT;
        // Hard links are entries with the same contents: the first frame names the file then.
        let shared = kind == S_IFREG && entry.nlink > 1 && entry.size > 0;
        Metadata {
            device: IMAGE_DEVICE,
            number: if shared {
                1 << 40 | entry.data >> 12
            } else {
                u64::from(number) + 1
            },
            mode: entry.mode,
            links: entry.nlink,
            rdev: if kind == S_IFCHR { entry.data } else { 0 },
            size: match kind {
                S_IFDIR => 4096,
                S_IFCHR => 0,
                _ => entry.size,
            },
            mtime: entry.mtime,
        }
    }

    /// Whether an inode is a directory.
    pub fn is_directory(&self, inode: Inode) -> bool {
        match inode {
            Inode::Image(number) => self.image.entry(number).mode & S_IFMT == S_IFDIR,
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
        match directory {
            Inode::ROOT if name == b"proc" => Some(Inode::Proc(ProcNode::Root)),
            Inode::Image(number) => self
                .image
                .lookup(self.image.entry(number), name)
                .map(Inode::Image),
            Inode::Proc(node) => node.lookup(name, processes).map(Inode::Proc),
            Inode::Pipe(_) | Inode::Console(_) => None,
        }
    }

    /// The directory that contains a directory; the root contains itself.
    pub(super) fn parent(&self, directory: Inode) -> Inode {
        match directory {
            Inode::Image(number) => Inode::Image(self.image.entry(number).parent),
            Inode::Proc(node) => node.parent().map_or(Inode::ROOT, Inode::Proc),
            Inode::Pipe(_) | Inode::Console(_) => Inode::ROOT,
        }
    }

    /// Where a symbolic link leads; `None` if the inode is none.
    pub(super) fn target(
        &self,
        inode: Inode,
        processes: &dyn Processes,
    ) -> Option<Result<Target<'_>, Errno>> {
        match inode {
            Inode::Image(number) => {
                let entry = self.image.entry(number);
                (entry.mode & S_IFMT == S_IFLNK)
                    .then(|| Ok(Target::Path(self.image.link_target(entry))))
            }
            Inode::Proc(node) => node
                .target(processes)
                .map(|target| target.map(Target::Inode)),
            Inode::Pipe(_) | Inode::Console(_) => None,
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

    /// Absolute path of an inode, for getcwd and /proc/PID/exe; of a pipe what /proc/PID/fd shows.
    pub fn path_of(&self, inode: Inode) -> Vec<u8> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut at = inode;
        // A sound image is far less deep than this; a bad one may hold a loop.
        while at != Inode::ROOT && names.len() < 2048 {
            names.push(match at {
                Inode::Image(number) => self.image.name(self.image.entry(number)).to_vec(),
                Inode::Proc(node) => node.name(),
                Inode::Pipe(id) => {
                    return alloc::format!("pipe:[{}]", self.pipes[id].number).into_bytes();
                }
                Inode::Console(_) => return b"/dev/console".to_vec(),
            });
            at = self.parent(at);
        }
        if names.is_empty() {
            return b"/".to_vec();
        }
        names.iter().rev().fold(Vec::new(), |mut path, name| {
            path.push(b'/');
            path.extend_from_slice(name);
            path
        })
    }
}
