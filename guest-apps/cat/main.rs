//! cat [FILE...]: copies files, or standard input where there is none or it is called `-`, to standard output.
#![no_std]
#![no_main]

use core::ffi::CStr;
use rt::print::STDOUT;
use rt::syscall::{Errno, close, open, read, write_all};
use rt::{Program, eprintln};

rt::entry!(main);

fn main(program: &Program) -> u8 {
    let mut files = program.arguments().skip(1).peekable();
    if files.peek().is_none() {
        return report(c"-", copy(0));
    }
    files.fold(0, |status, file| status | report(file, copy_file(file)))
}

fn copy_file(path: &CStr) -> Result<(), Errno> {
    if path == c"-" {
        return copy(0);
    }
    let fd = open(path, 0)?;
    let result = copy(fd);
    close(fd)?;
    result
}

fn copy(fd: i32) -> Result<(), Errno> {
    let mut buffer = [0; 8192];
    loop {
        match read(fd, &mut buffer)? {
            0 => return Ok(()),
            count => write_all(STDOUT, &buffer[..count])?,
        }
    }
}

fn report(path: &CStr, result: Result<(), Errno>) -> u8 {
    if let Err(error) = result {
        eprintln!("cat: {}: {error}", path.to_bytes().escape_ascii());
    }
    u8::from(result.is_err())
}
