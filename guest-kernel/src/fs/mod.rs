//! Files: from descriptors to bytes.
//!
//! In the order a call passes through: `table` has a process's descriptors, `path` walks names,
//! `open` makes open files and `file` is what they do. `inode` names what can be opened: the root
//! image (`image`) and the writable layer above it (`node`; `tree` makes, removes and moves names,
//! `regular` reads and writes,
//! `attributes` are permissions, owners, times), /proc (`proc`), pipes (`pipe`, `fifo`), the console (`console`, `terminal`).
//! `directory` lists, `io` moves bytes between files and programs, `readiness` and `wait`
//! know who waits for what, `descriptor` is what fork, exec and dup do to
//! tables, `program` what execve and mmap need of a file.
//!
//! Nothing here blocks and nothing knows about tasks: a call that would have to wait returns
//! EAGAIN, and those who can go on now gather in [`FileSystem::woken`].

pub mod attributes;
pub mod console;
pub mod descriptor;
pub mod directory;
pub mod fifo;
pub mod file;
pub mod image;
pub mod inode;
pub mod io;
pub mod node;
pub mod open;
pub mod path;
pub mod pipe;
pub mod proc;
pub mod program;
pub mod readiness;
pub mod regular;
pub mod table;
pub mod terminal;
pub mod tree;
pub mod wait;

#[cfg(test)]
pub(crate) mod tests;

pub use descriptor::FsContext;
pub use file::OpenFile;
pub use inode::Inode;
pub use program::ProgramFile;
pub use table::FdTable;

use crate::arena::Arena;
use crate::memory::phys::PhysWindow;
use crate::memory::shared::{Quota, SharedPages};
use crate::memory::{Frame, Frames};
use crate::process::task::TaskId;
use crate::time::Clock;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use console::Console;
use core::cell::Cell;
use fifo::Opening;
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::boot::BootInfo;
use image::Image;
use node::Node;
use pipe::Pipe;
use regular::Stale;

/// All of it.
#[derive(Debug)]
pub struct FileSystem {
    /// Tasks to be made runnable; the caller of any operation drains it (`Kernel::deliver_wakeups`).
    pub woken: Vec<TaskId>,
    /// Descriptor tables.
    pub tables: Arena<FdTable>,
    /// Current directories.
    pub contexts: Arena<FsContext>,
    /// Open files.
    pub files: Arena<OpenFile>,
    /// Standard input, output and error of the host.
    pub console: Console,
    /// What the root file system was at the start.
    pub image: Image,
    pipes: Arena<Pipe>,
    /// Calls that wait for the other end of a FIFO.
    opening: BTreeMap<TaskId, Opening>,
    /// The writable layer, by st_ino.
    nodes: BTreeMap<u64, Box<Node>>,
    /// st_ino of the next file.
    next_node: u64,
    /// Inodes of the writable layer at most (nr_inodes= in tmpfs(5)).
    max_nodes: usize,
    /// Memory for the contents of files.
    quota: Rc<Quota>,
    /// Pages that mappings must look for again; `Kernel::settle_files` sees to it.
    pub stale: Vec<Stale>,
    /// Contents of removed files, for [`give_back_frames`](Self::give_back_frames).
    objects_aside: Vec<Rc<SharedPages>>,
    clock: Clock,
    /// st_ino of the next pipe.
    next_pipe: u64,
    /// First of the frames of closed pipes, each of which holds the number of the next (0: the last);
    /// [`give_back_frames`](Self::give_back_frames) takes them.
    frame_aside: Option<Frame>,
    window: PhysWindow,
}

impl FileSystem {
    /// Over the image that the VMM laid out.
    pub fn new(boot: &BootInfo, window: PhysWindow) -> Self {
        let ram_pages = (boot.low_ram.len + boot.high_ram.len) / PAGE_SIZE;
        Self {
            woken: Vec::new(),
            tables: Arena::new(),
            contexts: Arena::new(),
            files: Arena::new(),
            console: Console::new(boot, window),
            image: Image::new(boot, window),
            pipes: Arena::new(),
            opening: BTreeMap::new(),
            nodes: BTreeMap::new(),
            next_node: node::FIRST_NUMBER,
            max_nodes: usize::try_from(ram_pages / 2).unwrap_or(usize::MAX),
            quota: Rc::new(Quota {
                used: Cell::new(0),
                limit: ram_pages / 2,
            }),
            stale: Vec::new(),
            objects_aside: Vec::new(),
            clock: Clock::new(boot),
            next_pipe: 1,
            frame_aside: None,
            window,
        }
    }

    /// Returns the frames of closed pipes and removed files; to be called after any operation that closes or removes.
    pub fn give_back_frames(&mut self, frames: &mut Frames) {
        while let Some(object) = self.objects_aside.pop() {
            // Mappings may still have it; then the last of them destroys it.
            if let Some(pages) = Rc::into_inner(object) {
                pages.destroy(frames);
            }
        }
        while let Some(frame) = self.frame_aside {
            let next = self.window.table(frame)[0];
            self.frame_aside = (next != 0).then(|| Frame::from_number(next));
            frames.release(frame);
        }
    }

    fn put_aside(&mut self, frame: Frame) {
        self.window.table_mut(frame)[0] = self.frame_aside.map_or(0, Frame::number);
        self.frame_aside = Some(frame);
    }

    /// Whether any open file still leads to the host's standard output or error.
    pub fn output_is_held(&self) -> bool {
        self.console.output_holders > 0
    }

    /// The VMM says that standard input has something: wakes its readers.
    pub fn input_ready(&mut self) {
        self.console.input_ready(&mut self.woken);
    }

    /// Sends buffered console output to the VMM now.
    pub fn flush_console(&mut self) {
        self.console.flush();
    }

    /// Bytes of console output waiting in the buffer.
    pub fn console_pending(&self) -> usize {
        self.console.pending()
    }

    /// TSC at the first byte of console output that has not been sent; `None` if all is sent.
    pub fn console_pending_since(&self) -> Option<u64> {
        self.console.pending_since()
    }

    /// The terminal's foreground process group (tcsetpgrp), whom Ctrl-C interrupts; 0: none set yet.
    pub fn foreground_group(&self) -> u32 {
        self.console.terminal.foreground
    }

    /// The host's terminal has changed size. The caller sends SIGWINCH to the foreground group.
    pub fn set_window(&mut self, rows: u16, cols: u16) {
        self.console.terminal.window.rows = rows;
        self.console.terminal.window.cols = cols;
    }
}
