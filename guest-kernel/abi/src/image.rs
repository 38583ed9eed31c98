//! The root image: an index of inodes that the VMM lays out and the kernel reads in place.
//!
//! Entry 0 is the root directory. The children of a directory stand side by side
//! and are sorted by name (byte order), so a look-up is a binary search and needs no
//! set-up in the guest. File contents lie in the image's GPA range. Most begin at a page, and the rest of
//! their last page is zeros, so that they can be mapped as they are; the files of an archive lie where they lie.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One inode of the root image.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct ImageEntry {
    /// Type and permissions, as `st_mode`.
    pub mode: u32,
    /// Index of the directory this entry is in; the root's is 0.
    pub parent: u32,
    /// First byte of the name in the name bytes.
    pub name_start: u32,
    /// Bytes of the name, 1 to 255; 0 for the root.
    pub name_len: u32,
    /// Regular file: GPA of its first byte. Symbolic link: first byte of the target in the
    /// name bytes. Directory: index of its first child. Device: `st_rdev`.
    pub data: u64,
    /// Regular file and symbolic link: bytes. Directory: number of children.
    pub size: u64,
    /// Modification time, seconds since the epoch.
    pub mtime: i64,
    /// The rest of the modification time, below 10^9.
    pub mtime_nanoseconds: u32,
    /// Number of hard links (directories: 2 + subdirectories).
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Another hard link's entry: the one that stands for the file. 0: this is the one.
    pub same_as: u32,
    /// 0.
    pub reserved: u32,
}

const _: () = assert!(size_of::<ImageEntry>() == 64);

/// `st_mode` type bits (inode(7)).
pub mod mode {
    /// Mask of the type bits.
    pub const S_IFMT: u32 = 0o170000;
    /// Directory.
    pub const S_IFDIR: u32 = 0o040000;
    /// Character device.
    pub const S_IFCHR: u32 = 0o020000;
    /// Block device.
    pub const S_IFBLK: u32 = 0o060000;
    /// Regular file.
    pub const S_IFREG: u32 = 0o100000;
    /// Symbolic link.
    pub const S_IFLNK: u32 = 0o120000;
    /// FIFO.
    pub const S_IFIFO: u32 = 0o010000;
    /// Socket.
    pub const S_IFSOCK: u32 = 0o140000;
}
