//! Text to standard output and standard error: one write(2) for each print, so that lines of
//! several processes never mix.

use crate::syscall::write_all;
use core::fmt::{Arguments, Write};

/// Standard output.
pub const STDOUT: i32 = 1;
/// Standard error.
pub const STDERR: i32 = 2;

/// Bytes on their way to a descriptor.
#[derive(Debug)]
pub struct Output {
    fd: i32,
    used: usize,
    bytes: [u8; 1024],
    failed: bool,
}

impl Output {
    /// Nothing collected yet.
    pub const fn new(fd: i32) -> Self {
        Self {
            fd,
            used: 0,
            bytes: [0; 1024],
            failed: false,
        }
    }

    /// Adds bytes; writes when the buffer is full.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.used == self.bytes.len() {
                self.flush();
            }
            let count = bytes.len().min(self.bytes.len() - self.used);
            self.bytes[self.used..self.used + count].copy_from_slice(&bytes[..count]);
            self.used += count;
            bytes = &bytes[count..];
        }
    }

    /// Writes what was collected. Returns whether everything so far could be written.
    pub fn flush(&mut self) -> bool {
        self.failed |= write_all(self.fd, &self.bytes[..self.used]).is_err();
        self.used = 0;
        !self.failed
    }
}

impl Write for Output {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// What the macros call: formats, then writes once.
pub fn print_to(fd: i32, text: Arguments<'_>) {
    let mut output = Output::new(fd);
    // Output::write_str never fails; that a reader is gone is for `flush`, and then there is no one to tell.
    let _ = output.write_fmt(text);
    output.flush();
}

/// Writes to standard output.
#[macro_export]
macro_rules! print {
    ($($text:tt)*) => { $crate::print::print_to($crate::print::STDOUT, format_args!($($text)*)) };
}

/// Writes a line to standard output.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($text:tt)*) => { $crate::print::print_to($crate::print::STDOUT, format_args!("{}\n", format_args!($($text)*))) };
}

/// Writes a line to standard error.
#[macro_export]
macro_rules! eprintln {
    ($($text:tt)*) => { $crate::print::print_to($crate::print::STDERR, format_args!("{}\n", format_args!($($text)*))) };
}
