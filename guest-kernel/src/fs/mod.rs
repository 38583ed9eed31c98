//! Files: from descriptors to bytes.
//!
//! In the order a call passes through: `table` has a process's descriptors, `path` walks names,
//! `open` makes open files and `file` is what they do. `inode` names what can be opened: the root
//! image (`image`), /proc (`proc`), pipes (`pipe`), the console (`console`, `terminal`).
//! `directory` lists, `io` moves bytes between files and programs, `readiness` and `wait`
//! know who waits for what, `descriptor` is what fork, exec and dup do to
//! tables, `program` what execve and mmap need of a file.
//!
//! Nothing here blocks and nothing knows about tasks: a call that would have to wait returns
//! EAGAIN, and those who can go on now gather in [`FileSystem::woken`].

pub mod console;
pub mod descriptor;
pub mod directory;
pub mod file;
pub mod image;
pub mod inode;
pub mod io;
pub mod open;
pub mod path;
pub mod pipe;
pub mod proc;
pub mod program;
pub mod readiness;
pub mod table;
pub mod terminal;
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
use crate::memory::{Frame, Frames};
use crate::process::task::TaskId;
use alloc::vec::Vec;
use console::Console;
use forkvm_abi::boot::BootInfo;
use image::Image;
use pipe::Pipe;

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
    /// The root file system.
    pub image: Image,
    pipes: Arena<Pipe>,
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
        Self {
            woken: Vec::new(),
            tables: Arena::new(),
            contexts: Arena::new(),
            files: Arena::new(),
            console: Console::new(boot, window),
            image: Image::new(boot, window),
            pipes: Arena::new(),
            next_pipe: 1,
            frame_aside: None,
            window,
        }
    }

    /// Returns the frames of pipes that were closed; to be called after any operation that closes.
    pub fn give_back_frames(&mut self, frames: &mut Frames) {
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
