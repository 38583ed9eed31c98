//! Files: descriptors, open files, pipes, the console, the root image.

use crate::arena::{Arena, Id};
use crate::errno::Errno;
use crate::memory::PhysAddr;
use crate::memory::phys::PhysWindow;
use crate::process::task::TaskId;
use alloc::vec::Vec;
use forkvm_abi::boot::BootInfo;

/// A name for a file that does not depend on any path. Replaced by the real thing; stays `Copy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inode {
    /// Entry of the root image; 0 is the root directory.
    Image(u32),
}

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

/// Descriptors of one process (shared by CLONE_FILES). Replaced by the real thing.
#[derive(Debug)]
pub struct FdTable {}

/// Current directory and umask (shared by CLONE_FS).
#[derive(Clone, Debug)]
pub struct FsContext {
    /// Current directory.
    pub cwd: Inode,
    /// umask(2).
    pub umask: u32,
}

/// All of it.
#[derive(Debug)]
pub struct FileSystem {
    /// Tasks to be made runnable; the caller of any operation drains it (`Kernel::deliver_wakeups`).
    pub woken: Vec<TaskId>,
    /// Descriptor tables.
    pub tables: Arena<FdTable>,
    /// Current directories.
    pub contexts: Arena<FsContext>,
}

impl FileSystem {
    /// Over the image that the VMM laid out.
    pub fn new(boot: &BootInfo, window: PhysWindow) -> Self {
        let _ = (boot, window);
        todo!()
    }

    /// Path to inode. `follow`: whether a symbolic link in the last component is followed. ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, EACCES.
    pub fn resolve(&self, cwd: Inode, path: &[u8], follow: bool) -> Result<Inode, Errno> {
        let _ = (cwd, path, follow);
        todo!()
    }

    /// What execve maps; EACCES if it is no regular file.
    pub fn program(&self, inode: Inode) -> Result<ProgramFile, Errno> {
        let _ = inode;
        todo!()
    }

    /// Absolute path of an inode, for getcwd and /proc/PID/exe.
    pub fn path_of(&self, inode: Inode) -> Vec<u8> {
        let _ = inode;
        todo!()
    }

    /// The inode behind a descriptor (fexecve, fchdir, *at calls); EBADF.
    pub fn inode_of(&self, table: Id<FdTable>, fd: i32) -> Result<Inode, Errno> {
        let _ = (table, fd);
        todo!()
    }

    /// A table with 0, 1, 2 open on the console, for the first program.
    pub fn first_table(&mut self) -> Id<FdTable> {
        todo!()
    }

    /// A copy of a table for fork: the same open files, one owner more each.
    pub fn copy_table(&mut self, table: Id<FdTable>) -> Id<FdTable> {
        let _ = table;
        todo!()
    }

    /// One owner of the table less; the last closes everything in it. May fill `woken`.
    pub fn release_table(&mut self, table: Id<FdTable>) {
        let _ = table;
        todo!()
    }

    /// Closes what is marked close-on-exec. May fill `woken`.
    pub fn close_on_exec(&mut self, table: Id<FdTable>) {
        let _ = table;
        todo!()
    }

    /// Whether any open file still leads to the host's standard output or error.
    pub fn output_is_held(&self) -> bool {
        todo!()
    }

    /// The VMM says that standard input has something: wakes its readers.
    pub fn input_ready(&mut self) {
        todo!()
    }

    /// Sends buffered console output to the VMM now.
    pub fn flush_console(&mut self) {
        todo!()
    }

    /// Bytes of console output waiting in the buffer.
    pub fn console_pending(&self) -> usize {
        todo!()
    }

    /// The terminal's foreground process group (tcsetpgrp), whom Ctrl-C interrupts; 0: none set yet.
    pub fn foreground_group(&self) -> u32 {
        todo!()
    }
}
