//! open(2): from a path and flags to an open file, with Linux's checks in Linux's order
//! (fs/open.c build_open_flags, fs/namei.c do_open and may_open).

use super::FileSystem;
use super::console::Stream;
use super::file::{FileKind, OpenFile};
use super::inode::{Inode, make_device};
use super::path::{Last, LastLink, Viewpoint};
use super::proc::Processes;
use super::tree::{NewFile, Owner, Place};
use crate::arena::Id;
use crate::errno::Errno;
use alloc::rc::Rc;
use forkvm_abi::image::mode::{S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG};
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
    /// Opens a path, or makes a file there that has `mode` (without the umask's bits) and `owner`. `view.last_link` is set from the flags. All of
    /// open(2)'s errors but EMFILE.
    pub fn open(
        &mut self,
        view: &Viewpoint<'_>,
        path: &[u8],
        flags: u32,
        mode: u32,
        owner: Owner,
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
        let (place, found) = {
            let walk = self.walk(&view, path)?;
            if creates && walk.trailing_slash && matches!(walk.last, Last::Name(_)) {
                return Err(Errno::EISDIR);
            }
            match walk.inode {
                None if creates => (Place::of(&walk), None),
                _ => (None, Some(walk.existing(self)?)),
            }
        };
        let new = NewFile {
            mode: S_IFREG | mode & 0o7777,
            owner,
            rdev: 0,
            target: &[],
        };
        match (place, found) {
            (Some(place), _) => {
                self.room_for_file()?;
                let inode = self.make(place.directory, &place.name, &new)?;
                self.add_opened(inode, FileKind::Regular, flags)
            }
            (None, Some(directory)) if flags & O_TMPFILE == O_TMPFILE => {
                self.open_nameless(directory, &new, flags)
            }
            (None, Some(inode)) => self.open_existing(inode, flags, exclusive, view.processes),
            (None, None) => Err(Errno::ENOENT),
        }
    }

    /// O_TMPFILE: a file without a name. ENOTDIR, EOPNOTSUPP in /proc, ENOSPC.
    fn open_nameless(
        &mut self,
        directory: Inode,
        new: &NewFile<'_>,
        flags: u32,
    ) -> Result<Id<OpenFile>, Errno> {
        if !self.is_directory(directory) {
            return Err(Errno::ENOTDIR);
        }
        if matches!(directory, Inode::Proc(_)) {
            return Err(Errno::EOPNOTSUPP);
        }
        self.room_for_file()?;
        let inode = self.make_nameless(directory, new)?;
        let node = self.own(inode)?;
        node.links = 0;
        node.linkable = flags & O_EXCL == 0;
        node.place = Some((directory, Rc::from(&b"#"[..])));
        self.add_opened(inode, FileKind::Regular, flags)
    }

    fn open_existing(
        &mut self,
        inode: Inode,
        flags: u32,
        exclusive: bool,
        processes: &dyn Processes,
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
        if flags & O_PATH != 0 {
            return self.add_file(OpenFile {
                inode,
                kind: FileKind::Path,
                flags: flags & !O_CLOEXEC,
                offset: 0,
            });
        }
        let writes = flags & O_ACCMODE != O_RDONLY || flags & O_TRUNC != 0;
        match metadata.mode & S_IFMT {
            S_IFLNK => return Err(Errno::ELOOP),
            S_IFDIR if writes => return Err(Errno::EISDIR),
            S_IFREG if writes => self.may_write(inode, processes)?,
            _ => {}
        }
        if metadata.is(S_IFIFO) && matches!(inode, Inode::Image(_) | Inode::Node(_)) {
            return self.open_fifo(inode, flags);
        }
        self.room_for_file()?;
        let kind = self.kind_of(inode, metadata.mode, metadata.rdev)?;
        self.add_opened(inode, kind, flags)
    }

    /// A regular file may be opened for writing. ETXTBSY if it is being executed, ENOSPC, EPERM in /proc.
    pub fn may_write(&mut self, inode: Inode, processes: &dyn Processes) -> Result<(), Errno> {
        if processes.is_running(inode) {
            return Err(Errno::ETXTBSY);
        }
        match inode {
            Inode::Image(_) | Inode::Node(_) => self.own(inode).map(|_| ()),
            _ => Ok(()),
        }
    }

    pub(super) fn add_opened(
        &mut self,
        inode: Inode,
        kind: FileKind,
        flags: u32,
    ) -> Result<Id<OpenFile>, Errno> {
        self.add_file(OpenFile {
            inode,
            kind,
            flags: flags & !CREATION_FLAGS | O_LARGEFILE,
            offset: 0,
        })
    }

    /// How a file of this type behaves. ENXIO for a device that nobody drives.
    fn kind_of(&self, inode: Inode, mode: u32, rdev: u64) -> Result<FileKind, Errno> {
        match (inode, mode & S_IFMT) {
            (_, S_IFDIR) => Ok(FileKind::Directory),
            (Inode::Image(_) | Inode::Node(_), S_IFREG) => Ok(FileKind::Regular),
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
