//! open(2): from a path and flags to an open file, with Linux's checks in Linux's order
//! (fs/open.c build_open_flags, fs/namei.c do_open and may_open).

use super::FileSystem;
use super::console::Stream;
use super::file::{FileKind, OpenFile};
use super::inode::{Inode, make_device};
use super::path::{Last, LastLink, Viewpoint};
use crate::arena::Id;
use crate::errno::Errno;
use forkvm_abi::image::mode::{S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG};
use linux_raw_sys::general::{
    O_ACCMODE, O_APPEND, O_CLOEXEC, O_CREAT, O_DIRECT, O_DIRECTORY, O_DSYNC, O_EXCL, O_LARGEFILE,
    O_NOATIME, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_PATH, O_RDONLY, O_SYNC, O_TMPFILE, O_TRUNC,
};

/// Flags that open(2) knows; others are ignored (openat2 refuses them).
pub const KNOWN_FLAGS: u32 = O_ACCMODE
    | O_CREAT
    | O_EXCL
    | O_NOCTTY
    | O_TRUNC
    | O_APPEND
    | O_NONBLOCK
    | O_SYNC
    | O_DSYNC
    | FASYNC
    | O_DIRECT
    | O_LARGEFILE
    | O_DIRECTORY
    | O_NOFOLLOW
    | O_NOATIME
    | O_CLOEXEC
    | O_PATH
    | O_TMPFILE;

/// Flags that count besides O_PATH.
const PATH_FLAGS: u32 = O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC;

/// Flags that act at open and are not kept.
const CREATION_FLAGS: u32 = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC;

/// O_ASYNC, which linux-raw-sys calls by its old name.
const FASYNC: u32 = linux_raw_sys::general::FASYNC;

impl FileSystem {
    /// Opens a path. `view.last_link` is set from the flags. All of open(2)'s errors but EMFILE.
    pub fn open(
        &mut self,
        view: &Viewpoint<'_>,
        path: &[u8],
        flags: u32,
    ) -> Result<Id<OpenFile>, Errno> {
        let flags = effective_flags(flags)?;
        let creates = flags & O_CREAT != 0;
        let exclusive = creates && flags & O_EXCL != 0;
        let last_link = match flags & O_NOFOLLOW != 0 {
            _ if exclusive => LastLink::Keep,
            true => LastLink::FollowBeforeSlash,
            false => LastLink::Follow,
        };
        let view = Viewpoint { last_link, ..*view };
        let walk = self.walk(&view, path)?;
        if creates && walk.trailing_slash && matches!(walk.last, Last::Name(_)) {
            return Err(Errno::EISDIR);
        }
        if walk.inode.is_none() && creates {
            // A new file would be made here, in a read-only file system.
            return Err(Errno::EROFS);
        }
        let inode = walk.existing(self)?;
        self.open_existing(inode, flags, exclusive)
    }

    fn open_existing(
        &mut self,
        inode: Inode,
        flags: u32,
        exclusive: bool,
    ) -> Result<Id<OpenFile>, Errno> {
        let metadata = self.metadata(inode);
        let directory = metadata.is(S_IFDIR);
        if exclusive {
            return Err(Errno::EEXIST);
        }
        if directory && flags & O_CREAT != 0 {
            return Err(Errno::EISDIR);
        }
        if flags & O_DIRECTORY != 0 && !directory {
            return Err(Errno::ENOTDIR);
        }
        if flags & O_TMPFILE == O_TMPFILE {
            return Err(Errno::EROFS);
        }
        if flags & O_PATH != 0 {
            return self.add_file(OpenFile {
                inode,
                kind: FileKind::Path,
                flags: flags & !O_CLOEXEC,
                offset: 0,
            });
        }
        let writes = flags & O_ACCMODE != O_RDONLY || flags & O_TRUNC != 0;
        match metadata.mode & forkvm_abi::image::mode::S_IFMT {
            S_IFLNK => return Err(Errno::ELOOP),
            S_IFDIR if writes => return Err(Errno::EISDIR),
            S_IFREG if writes => return Err(Errno::EROFS),
            _ => {}
        }
        let kind = self.kind_of(inode, metadata.mode, metadata.rdev)?;
        self.add_file(OpenFile {
            inode,
            kind,
            flags: flags & !CREATION_FLAGS | O_LARGEFILE,
            offset: 0,
        })
    }

    /// How a file of this type behaves. ENXIO for a device that nobody drives.
    fn kind_of(&self, inode: Inode, mode: u32, rdev: u64) -> Result<FileKind, Errno> {
        match (inode, mode & forkvm_abi::image::mode::S_IFMT) {
            (_, S_IFDIR) => Ok(FileKind::Directory),
            (Inode::Image(number), S_IFREG) => {
                let (data, size) = self.image.extent(self.image.entry(number));
                Ok(FileKind::Image { data, size })
            }
            (_, S_IFCHR) => self.device(rdev),
            _ => Err(Errno::ENXIO),
        }
    }

    /// The driver of a character device (Documentation/admin-guide/devices.txt).
    fn device(&self, rdev: u64) -> Result<FileKind, Errno> {
        const NULL: u64 = make_device(1, 3);
        const ZERO: u64 = make_device(1, 5);
        const FULL: u64 = make_device(1, 7);
        const RANDOM: u64 = make_device(1, 8);
        const URANDOM: u64 = make_device(1, 9);
        const TTY: u64 = make_device(5, 0);
        const CONSOLE: u64 = make_device(5, 1);
        match rdev {
            NULL => Ok(FileKind::Null),
            ZERO => Ok(FileKind::Zero),
            FULL => Ok(FileKind::Full),
            RANDOM | URANDOM => Ok(FileKind::Random),
            // Without a terminal nobody has a controlling one.
            TTY if !self.console.is_terminal(Stream::Terminal) => Err(Errno::ENXIO),
            TTY | CONSOLE => Ok(FileKind::Console(Stream::Terminal)),
            _ => Err(Errno::ENXIO),
        }
    }
}

/// Flags as the checks behind see them. EINVAL for combinations that open(2) forbids.
fn effective_flags(flags: u32) -> Result<u32, Errno> {
    let mut flags = flags & KNOWN_FLAGS;
    // O_SYNC holds O_DSYNC's bit; O_TMPFILE holds O_DIRECTORY's, and __O_TMPFILE alone is an error.
    let tmpfile = flags & (O_TMPFILE & !O_DIRECTORY) != 0;
    if flags & O_PATH != 0 {
        flags &= PATH_FLAGS;
    } else if tmpfile
        && (flags & O_DIRECTORY == 0 || flags & O_ACCMODE == O_RDONLY || flags & O_CREAT != 0)
    {
        return Err(Errno::EINVAL);
    }
    if flags & O_CREAT != 0 && flags & O_DIRECTORY != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(flags)
}
