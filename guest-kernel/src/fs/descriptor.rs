//! What fork, exec, exit, dup and pipe do to descriptor tables.
//!
//! An open file has one owner per descriptor. fork copies the table and counts every file once more;
//! the last close takes the file apart (`file`).

use super::console::Stream;
use super::file::{FileKind, OpenFile};
use super::pipe::Pipe;
use super::table::{Descriptor, FdTable};
use super::{FileSystem, Inode};
use crate::arena::Id;
use crate::errno::Errno;
use linux_raw_sys::general::{O_CLOEXEC, O_DIRECT, O_NONBLOCK, O_PATH, O_RDONLY, O_RDWR, O_WRONLY};

/// Current directory and umask (shared by CLONE_FS).
#[derive(Clone, Debug)]
pub struct FsContext {
    /// Current directory.
    pub cwd: Inode,
    /// What it sees as `/` (chroot(2)).
    pub root: Inode,
    /// umask(2).
    pub umask: u32,
}

impl Default for FsContext {
    /// What the first program starts with.
    fn default() -> Self {
        Self {
            cwd: Inode::ROOT,
            root: Inode::ROOT,
            umask: 0o022,
        }
    }
}

impl FileSystem {
    /// A table with 0, 1, 2 open on the console, for the first program.
    pub fn first_table(&mut self) -> Id<FdTable> {
        let mut table = FdTable::new();
        for stream in [Stream::Input, Stream::Output, Stream::Error] {
            let flags = match stream {
                _ if self.console.is_terminal(stream) => O_RDWR,
                Stream::Input => O_RDONLY,
                _ => O_WRONLY,
            };
            let open = OpenFile {
                inode: Inode::Console(stream),
                kind: FileKind::Console(stream),
                flags,
                offset: 0,
            };
            let file = self
                .add_file(open)
                .expect("the first files are within every limit");
            table
                .add(
                    Descriptor {
                        file,
                        close_on_exec: false,
                    },
                    0,
                    3,
                )
                .expect("the table was empty");
        }
        self.tables.insert(table)
    }

    /// A copy of current directory, root and umask for fork.
    pub fn copy_context(&mut self, context: Id<FsContext>) -> Id<FsContext> {
        let copy = self.contexts[context].clone();
        self.hold(copy.cwd);
        self.hold(copy.root);
        self.contexts.insert(copy)
    }

    /// One owner of a context less. A directory may be given up with it: see [`give_back_frames`](Self::give_back_frames).
    pub fn release_context(&mut self, context: Id<FsContext>) {
        if let Some(context) = self.contexts.release(context) {
            self.let_go(context.cwd);
            self.let_go(context.root);
        }
    }

    /// chdir(2) to a directory.
    pub fn change_directory(&mut self, context: Id<FsContext>, directory: Inode) {
        self.hold(directory);
        let old = core::mem::replace(&mut self.contexts[context].cwd, directory);
        self.let_go(old);
    }

    /// chroot(2) to a directory.
    pub fn change_root(&mut self, context: Id<FsContext>, directory: Inode) {
        self.hold(directory);
        let old = core::mem::replace(&mut self.contexts[context].root, directory);
        self.let_go(old);
    }

    /// A copy of a table for fork: the same open files, one owner more each.
    pub fn copy_table(&mut self, table: Id<FdTable>) -> Id<FdTable> {
        let copy = self.tables[table].clone();
        for descriptor in copy.descriptors() {
            self.files.share(descriptor.file);
        }
        self.tables.insert(copy)
    }

    /// One owner of the table less; the last closes everything in it. May fill `woken`.
    pub fn release_table(&mut self, table: Id<FdTable>) {
        if let Some(table) = self.tables.release(table) {
            for descriptor in table.descriptors() {
                self.close_file(descriptor.file);
            }
        }
    }

    /// Closes what is marked close-on-exec. May fill `woken`.
    pub fn close_on_exec(&mut self, table: Id<FdTable>) {
        let mut from = 0;
        while let Some((slot, descriptor)) = self.tables[table].remove_marked(from) {
            self.close_file(descriptor.file);
            from = slot + 1;
        }
    }

    /// close(2). EBADF.
    pub fn close(&mut self, table: Id<FdTable>, fd: i32) -> Result<(), Errno> {
        let descriptor = self.tables[table].remove(fd)?;
        self.close_file(descriptor.file);
        Ok(())
    }

    /// The open file behind a descriptor; EBADF also for one opened with O_PATH.
    pub fn file(&self, table: Id<FdTable>, fd: i32) -> Result<Id<OpenFile>, Errno> {
        let id = self.tables[table].get(fd)?.file;
        if self.files[id].flags & O_PATH != 0 {
            Err(Errno::EBADF)
        } else {
            Ok(id)
        }
    }

    /// The inode behind a descriptor, O_PATH or not (fexecve, fchdir, *at calls); EBADF.
    pub fn inode_of(&self, table: Id<FdTable>, fd: i32) -> Result<Inode, Errno> {
        Ok(self.files[self.tables[table].get(fd)?.file].inode)
    }

    /// Enters an open file, whose only owner the caller is, under the lowest free number; if there is none, the file is closed.
    /// EMFILE.
    pub fn install(
        &mut self,
        table: Id<FdTable>,
        file: Id<OpenFile>,
        close_on_exec: bool,
        limit: u32,
    ) -> Result<i32, Errno> {
        let added = self.tables[table].add(
            Descriptor {
                file,
                close_on_exec,
            },
            0,
            limit,
        );
        if added.is_err() {
            self.close_file(file);
        }
        added
    }

    /// dup(2) and F_DUPFD: the lowest free number from `from` up. EBADF, EMFILE.
    pub fn duplicate(
        &mut self,
        table: Id<FdTable>,
        fd: i32,
        from: u32,
        close_on_exec: bool,
        limit: u32,
    ) -> Result<i32, Errno> {
        let file = self.tables[table].get(fd)?.file;
        let number = self.tables[table].add(
            Descriptor {
                file,
                close_on_exec,
            },
            from,
            limit,
        )?;
        self.files.share(file);
        Ok(number)
    }

    /// dup3(2) with two different numbers: what was open under `to` is closed. EBADF.
    pub fn duplicate_to(
        &mut self,
        table: Id<FdTable>,
        fd: i32,
        to: i32,
        close_on_exec: bool,
        limit: u32,
    ) -> Result<i32, Errno> {
        let file = self.tables[table].get(fd)?.file;
        let old = self.tables[table].set(
            to,
            Descriptor {
                file,
                close_on_exec,
            },
            limit,
        )?;
        self.files.share(file);
        if let Some(old) = old {
            self.close_file(old.file);
        }
        Ok(to)
    }

    /// pipe2(2): read end and write end. `flags` are O_CLOEXEC, O_NONBLOCK, O_DIRECT. EMFILE, ENFILE; nothing is left behind then.
    pub fn make_pipe(
        &mut self,
        table: Id<FdTable>,
        flags: u32,
        limit: u32,
    ) -> Result<(i32, i32), Errno> {
        let pipe = self.pipes.insert(Pipe::new(self.next_pipe));
        self.pipes.share(pipe);
        self.next_pipe += 1;
        let (inode, kind) = (Inode::Pipe(pipe), FileKind::Pipe(pipe));
        let status = flags & (O_NONBLOCK | O_DIRECT);
        let ends = [O_RDONLY, O_WRONLY].map(|mode| OpenFile {
            inode,
            kind,
            flags: mode | status,
            offset: 0,
        });
        if self.files.len() + ends.len() > super::file::MAX_OPEN_FILES {
            for _ in ends {
                drop(self.pipes.release(pipe));
            }
            return Err(Errno::ENFILE);
        }
        let [reader, writer] = ends.map(|end| self.files.insert(end));
        let close_on_exec = flags & O_CLOEXEC != 0;
        let read_fd = match self.install(table, reader, close_on_exec, limit) {
            Ok(fd) => fd,
            Err(error) => {
                self.close_file(writer);
                return Err(error);
            }
        };
        match self.install(table, writer, close_on_exec, limit) {
            Ok(write_fd) => Ok((read_fd, write_fd)),
            Err(error) => {
                self.close(table, read_fd)?;
                Err(error)
            }
        }
    }

    /// The pipe behind an open file.
    pub fn pipe_of(&self, file: Id<OpenFile>) -> Option<&Pipe> {
        match self.files[file].kind {
            FileKind::Pipe(pipe) => Some(&self.pipes[pipe]),
            _ => None,
        }
    }

    /// F_SETPIPE_SZ: the capacity it has then. EBADF for what is no pipe, EINVAL, EPERM, EBUSY. May fill `woken`.
    pub fn resize_pipe(&mut self, file: Id<OpenFile>, bytes: u64) -> Result<usize, Errno> {
        match self.files[file].kind {
            FileKind::Pipe(pipe) => self.pipes[pipe].set_capacity(bytes, &mut self.woken),
            _ => Err(Errno::EBADF),
        }
    }

    /// FIONREAD: bytes that can be read without waiting. ENOTTY where that is not known.
    pub fn bytes_to_read(&mut self, id: Id<OpenFile>) -> Result<u32, Errno> {
        let file = &self.files[id];
        let bytes = match file.kind {
            FileKind::Regular => self.file_size(file.inode).saturating_sub(file.offset),
            FileKind::Pipe(pipe) => self.pipes[pipe].len() as u64,
            FileKind::Console(_) => {
                self.console.fill();
                self.console.unread() as u64
            }
            _ => return Err(Errno::ENOTTY),
        };
        Ok(u32::try_from(bytes).unwrap_or(i32::MAX.cast_unsigned()))
    }
}
