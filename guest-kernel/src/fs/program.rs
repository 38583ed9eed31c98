//! What execve and mmap need of a file: where its bytes are.

use super::file::FileKind;
use super::{FdTable, FileSystem, Inode};
use crate::arena::Id;
use crate::errno::Errno;
use crate::memory::PhysAddr;
use crate::memory::space::Backing;
use forkvm_abi::image::mode::S_IFREG;

/// A regular file that execve can map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramFile {
    /// st_ino.
    pub inode: u64,
    /// st_mode.
    pub mode: u32,
    /// GPA of the first page.
    pub data: PhysAddr,
    /// Bytes.
    pub size: u64,
}

impl FileSystem {
    /// What execve maps; EACCES if it is no regular file.
    pub fn program(&self, inode: Inode) -> Result<ProgramFile, Errno> {
        let Inode::Image(number) = inode else {
            return Err(Errno::EACCES);
        };
        let metadata = self.metadata(inode);
        if !metadata.is(S_IFREG) {
            return Err(Errno::EACCES);
        }
        let (data, size) = self.image.extent(self.image.entry(number));
        Ok(ProgramFile {
            inode: metadata.number,
            mode: metadata.mode,
            data,
            size,
        })
    }

    /// What mmap maps of an open file, from its first byte on, and the file's flags for the checks of access.
    /// EBADF; ENODEV for what cannot be mapped. /dev/zero is anonymous memory.
    pub fn mapping(&self, table: Id<FdTable>, fd: i32) -> Result<(Backing, u32), Errno> {
        let file = &self.files[self.file(table, fd)?];
        match file.kind {
            FileKind::Image { data, size } => {
                let inode = self.metadata(file.inode).number;
                Ok((
                    Backing::Image {
                        inode,
                        data: data.0,
                        size,
                        offset: 0,
                    },
                    file.flags,
                ))
            }
            FileKind::Zero => Ok((Backing::Anonymous, file.flags)),
            _ => Err(Errno::ENODEV),
        }
    }
}
