//! Changing what an inode says: permissions, owner, times, seals.

use super::FileSystem;
use super::file::{FileKind, OpenFile};
use super::inode::{Inode, Timestamp};
use super::tree::{NewFile, Owner};
use crate::arena::Id;
use crate::errno::Errno;
use alloc::rc::Rc;
use forkvm_abi::image::mode::{S_IFDIR, S_IFREG};
use linux_raw_sys::general::{
    F_SEAL_EXEC, F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE,
    MFD_ALLOW_SEALING, MFD_NOEXEC_SEAL, O_LARGEFILE, O_RDWR, S_ISGID, S_ISUID, S_IXGRP,
};

/// Permission bits, S_ISUID, S_ISGID and S_ISVTX.
const PERMISSIONS: u32 = 0o7777;
/// All seals there are (fcntl(2)).
const SEALS: u32 =
    F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE | F_SEAL_EXEC;

impl FileSystem {
    /// chmod(2). EPERM in /proc; pipes and the console take it and forget it.
    pub fn set_mode(&mut self, inode: Inode, mode: u32) -> Result<(), Errno> {
        let now = self.now();
        if matches!(inode, Inode::Pipe(_) | Inode::Console(_)) {
            return Ok(());
        }
        let node = self.own(inode)?;
        if node.seals & F_SEAL_EXEC != 0 && (node.mode ^ mode) & 0o111 != 0 {
            return Err(Errno::EPERM);
        }
        node.mode = node.mode & !PERMISSIONS | mode & PERMISSIONS;
        node.times.changed = now;
        Ok(())
    }

    /// chown(2); `None` leaves an id as it is. A file that is not a directory loses S_ISUID, and S_ISGID if its group may execute it.
    pub fn set_owner(
        &mut self,
        inode: Inode,
        uid: Option<u32>,
        gid: Option<u32>,
    ) -> Result<(), Errno> {
        let now = self.now();
        if matches!(inode, Inode::Pipe(_) | Inode::Console(_)) {
            return Ok(());
        }
        let node = self.own(inode)?;
        node.uid = uid.unwrap_or(node.uid);
        node.gid = gid.unwrap_or(node.gid);
        if !node.is(S_IFDIR) {
            node.mode &= !S_ISUID;
            if node.mode & S_IXGRP != 0 {
                node.mode &= !S_ISGID;
            }
        }
        node.times.changed = now;
        Ok(())
    }

    /// utimensat(2); `None` leaves a time as it is.
    pub fn set_times(
        &mut self,
        inode: Inode,
        accessed: Option<Timestamp>,
        modified: Option<Timestamp>,
    ) -> Result<(), Errno> {
        let now = self.now();
        if matches!(inode, Inode::Pipe(_) | Inode::Console(_)) {
            return Ok(());
        }
        let times = &mut self.own(inode)?.times;
        times.accessed = accessed.unwrap_or(times.accessed);
        times.modified = modified.unwrap_or(times.modified);
        times.changed = now;
        Ok(())
    }

    /// A file without a name anywhere (memfd_create(2)), open for reading and writing. ENFILE, ENOSPC.
    pub fn make_memory_file(
        &mut self,
        name: &[u8],
        flags: u32,
        owner: Owner,
    ) -> Result<Id<OpenFile>, Errno> {
        self.room_for_file()?;
        let permissions = if flags & MFD_NOEXEC_SEAL != 0 {
            0o666
        } else {
            0o777
        };
        let new = NewFile {
            mode: S_IFREG | permissions,
            owner,
            rdev: 0,
            target: &[],
        };
        let inode = self.make_nameless(Inode::ROOT, &new)?;
        let node = self.own(inode)?;
        node.links = 0;
        node.place = Some((Inode::ROOT, Rc::from([b"memfd:", name].concat())));
        if flags & MFD_NOEXEC_SEAL != 0 {
            node.seals = F_SEAL_EXEC;
        } else if flags & MFD_ALLOW_SEALING != 0 {
            node.seals = 0;
        }
        self.add_file(OpenFile {
            inode,
            kind: FileKind::Regular,
            flags: O_RDWR | O_LARGEFILE,
            offset: 0,
        })
    }

    /// F_GET_SEALS. EINVAL for what has none.
    pub fn seals(&self, inode: Inode) -> Result<u32, Errno> {
        self.pages(inode).ok_or(Errno::EINVAL)?;
        Ok(self.node(inode).ok_or(Errno::EINVAL)?.seals)
    }

    /// F_ADD_SEALS. EINVAL, EPERM where sealing is sealed or the file is not open for writing, EBUSY while it is mapped writable.
    pub fn add_seals(&mut self, id: Id<OpenFile>, seals: u32) -> Result<(), Errno> {
        let file = &self.files[id];
        let (inode, writable) = (file.inode, file.writable());
        if !writable {
            return Err(Errno::EPERM);
        }
        if seals & !SEALS != 0 {
            return Err(Errno::EINVAL);
        }
        let pages = self.pages(inode).ok_or(Errno::EINVAL)?;
        let is_mapped = Rc::strong_count(pages) > 1;
        let node = self.own(inode)?;
        if node.seals & F_SEAL_SEAL != 0 {
            return Err(Errno::EPERM);
        }
        if seals & F_SEAL_WRITE != 0 && node.seals & F_SEAL_WRITE == 0 && is_mapped {
            return Err(Errno::EBUSY);
        }
        node.seals |= seals;
        Ok(())
    }
}
