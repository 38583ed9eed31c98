//! The console: the host's standard input, output and error, behind the doorbell.
//!
//! Out: what programs write gathers as records (abi `doorbell::ConsoleRecord`) in a buffer that the VMM
//!      reads, and is sent when that is full, when the kernel has nothing else to do, and before
//!      input is read: one exit for many writes. The order of both streams is kept.
//! In:  a page of bytes at a time; programs read from it in pieces as small as they like.
//!
//! That a stream's reader is gone is learnt when the buffer is sent, so the write after that one fails.

use super::io::{Sink, Source};
use super::terminal::Terminal;
use super::wait::WaitQueue;
use crate::arch;
use crate::errno::Errno;
use crate::memory::phys::PhysWindow;
use crate::memory::{Frame, PhysAddr};
use crate::process::task::TaskId;
use alloc::vec::Vec;
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::boot::{BootInfo, flag};
use forkvm_abi::doorbell::{ConsoleRecord, Operation, Request, WOULD_BLOCK};
use forkvm_abi::layout::{CONSOLE_INPUT_GPA, CONSOLE_OUTPUT_BYTES, CONSOLE_OUTPUT_GPA};

/// Bytes of a record's header.
const HEADER: u64 = size_of::<ConsoleRecord>() as u64;

/// One of the host's streams, as a file is open on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard input.
    Input,
    /// Standard output.
    Output,
    /// Standard error.
    Error,
    /// Whichever of them is a terminal (/dev/tty).
    Terminal,
}

/// Buffers and state of the console.
#[derive(Debug)]
pub struct Console {
    /// Settings of the host's terminal as programs see them.
    pub terminal: Terminal,
    /// Open files that lead to the host's standard output or error.
    pub output_holders: u32,
    window: PhysWindow,
    /// Which streams are terminals: bits of abi `boot::flag`.
    flags: u64,
    /// Bytes of the output buffer in use.
    used: u64,
    /// Stream and offset of the last record, which more bytes for the same stream make longer.
    last_record: Option<(u32, u64)>,
    /// TSC at the first byte that has not been sent.
    pending_since: Option<u64>,
    /// Bit 0: standard output is broken; bit 1: standard error is.
    broken: u64,
    /// Part of the input page that has not been read yet.
    unread: core::ops::Range<usize>,
    input_ended: bool,
    waiting_readers: WaitQueue,
}

impl Console {
    /// With nothing written or read so far.
    pub fn new(boot: &BootInfo, window: PhysWindow) -> Self {
        Self {
            terminal: Terminal::new(boot.window_rows, boot.window_cols),
            output_holders: 0,
            window,
            flags: boot.flags,
            used: 0,
            last_record: None,
            pending_since: None,
            broken: 0,
            unread: 0..0,
            input_ended: false,
            waiting_readers: WaitQueue::new(),
        }
    }

    /// Whether a stream is a terminal.
    pub fn is_terminal(&self, stream: Stream) -> bool {
        let bit = match stream {
            Stream::Input => flag::STDIN_TTY,
            Stream::Output => flag::STDOUT_TTY,
            Stream::Error => flag::STDERR_TTY,
            Stream::Terminal => flag::STDIN_TTY | flag::STDOUT_TTY | flag::STDERR_TTY,
        };
        self.flags & bit != 0
    }

    /// Takes everything from the source. EPIPE if nobody on the host reads the stream any more (EIO on a terminal), EFAULT.
    pub fn write(&mut self, stream: Stream, source: &mut dyn Source) -> Result<usize, Errno> {
        let number = self.host_stream(stream);
        if self.is_broken(stream) {
            return Err(if self.is_terminal(stream) {
                Errno::EIO
            } else {
                Errno::EPIPE
            });
        }
        let mut moved = 0;
        while source.left() > 0 {
            let copied = self.append(number, source);
            if copied == 0 {
                return if moved > 0 {
                    Ok(moved)
                } else {
                    Err(Errno::EFAULT)
                };
            }
            moved += copied;
        }
        Ok(moved)
    }

    /// Appends what fits into the current page of the buffer; how many bytes, 0 if the source faults.
    fn append(&mut self, number: u32, source: &mut dyn Source) -> usize {
        let (mut header, mut start) = self.place(number);
        if start >= CONSOLE_OUTPUT_BYTES {
            self.flush();
            (header, start) = self.place(number);
        }
        let page_room = index(PAGE_SIZE - start % PAGE_SIZE);
        let room = page_room
            .min(index(CONSOLE_OUTPUT_BYTES - start))
            .min(source.left());
        let offset = index(start % PAGE_SIZE);
        let copied = source.take(&mut self.output_page(start)[offset..offset + room]);
        if copied > 0 {
            if self.pending_since.is_none() {
                self.pending_since = Some(arch::tsc());
            }
            self.used = start + copied as u64;
            self.last_record = Some((number, header));
            self.store_word(header, number);
            self.store_word(
                header + 4,
                u32::try_from(self.used - header - HEADER).expect("bounded by the buffer"),
            );
        }
        copied
    }

    /// Where the next bytes for a stream go: offset of their record's header, and their own.
    fn place(&self, number: u32) -> (u64, u64) {
        match self.last_record {
            Some((last, header)) if last == number => (header, self.used),
            _ => {
                let header = self.used.next_multiple_of(4);
                (header, header + HEADER)
            }
        }
    }

    /// Sends what is in the buffer.
    pub fn flush(&mut self) {
        if self.used == 0 {
            return;
        }
        self.broken |= arch::ring(Request {
            operation: Operation::ConsoleWrite as u32,
            args: [CONSOLE_OUTPUT_GPA, self.used.next_multiple_of(4), 0, 0],
            ..Request::default()
        });
        self.used = 0;
        self.last_record = None;
        self.pending_since = None;
    }

    /// Bytes in the buffer, headers included.
    pub fn pending(&self) -> usize {
        index(self.used)
    }

    /// TSC at the first byte that has not been sent; `None` if all is sent.
    pub fn pending_since(&self) -> Option<u64> {
        self.pending_since
    }

    /// Moves bytes of standard input to the sink; how many, 0 at its end. EAGAIN if there are none now, EFAULT.
    pub fn read(&mut self, sink: &mut dyn Sink) -> Result<usize, Errno> {
        if sink.room() == 0 {
            return Ok(0);
        }
        if !self.fill() {
            return Err(Errno::EAGAIN);
        }
        if self.unread.is_empty() {
            // On a terminal ^D ends one read, elsewhere the end is the end.
            self.input_ended = !self.is_terminal(Stream::Input);
            return Ok(0);
        }
        let count = self.unread.len().min(sink.room());
        let range = self.unread.start..self.unread.start + count;
        let page = Frame::containing(PhysAddr(CONSOLE_INPUT_GPA));
        let moved = sink.put(&self.window.page(page)[range]);
        self.unread.start += moved;
        if moved == 0 {
            Err(Errno::EFAULT)
        } else {
            Ok(moved)
        }
    }

    /// Asks the host for input if none is left; whether a read would not block now.
    pub fn fill(&mut self) -> bool {
        if !self.unread.is_empty() || self.input_ended {
            return true;
        }
        self.flush();
        let answer = arch::ring(Request {
            operation: Operation::ConsoleRead as u32,
            args: [CONSOLE_INPUT_GPA, PAGE_SIZE, 0, 0],
            ..Request::default()
        });
        if answer == WOULD_BLOCK {
            return false;
        }
        self.unread = 0..index(answer.min(PAGE_SIZE));
        self.input_ended = answer == 0;
        true
    }

    /// Bytes read from the host that no program has read yet.
    pub fn unread(&self) -> usize {
        self.unread.len()
    }

    /// The task is woken when the host has input.
    pub fn wait_readable(&mut self, task: TaskId) {
        self.waiting_readers.push(task);
    }

    /// The host has input.
    pub fn input_ready(&mut self, woken: &mut Vec<TaskId>) {
        self.waiting_readers.wake(woken);
    }

    /// Whether writes to a stream fail.
    pub fn is_broken(&self, stream: Stream) -> bool {
        self.broken & u64::from(self.host_stream(stream)) != 0
    }

    /// 1 for standard output, 2 for standard error: the record's stream, and its bit among the broken ones.
    fn host_stream(&self, stream: Stream) -> u32 {
        match stream {
            Stream::Error => 2,
            Stream::Terminal | Stream::Input
                if !self.is_terminal(Stream::Output) && self.is_terminal(Stream::Error) =>
            {
                2
            }
            _ => 1,
        }
    }

    fn output_page(&mut self, offset: u64) -> &mut [u8] {
        self.window
            .page_mut(Frame::containing(PhysAddr(CONSOLE_OUTPUT_GPA + offset)))
    }

    /// Stores an aligned word, which never crosses a page.
    fn store_word(&mut self, offset: u64, word: u32) {
        let at = index(offset % PAGE_SIZE);
        self.output_page(offset)[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
}

/// An offset or a count within the console's buffers.
#[allow(
    clippy::cast_possible_truncation,
    reason = "usize is 64 bits wide wherever the kernel runs"
)]
fn index(value: u64) -> usize {
    value as usize
}
