//! ls [-a] [-l] [--show-exec] [PATH...]: lists directories, sorted by name, and files.
//!
//! `-a` names that start with a dot too; `-l` type, permissions, links, owner, group, size, time of change.
//! `--show-exec`, or SHOW_EXEC=1 in the environment, first shows the arguments and the environment that
//! execve gave this process: forkdemo uses it to show that they arrived.
#![no_std]
#![no_main]

mod directory;
mod long;

use core::ffi::CStr;
use directory::Directory;
use rt::print::{Output, STDOUT};
use rt::syscall::{Errno, O_DIRECTORY, S_IFDIR, S_IFMT, close, getpid, lstat, open};
use rt::{Program, eprintln, println};

rt::entry!(main);

/// What the options ask for.
#[derive(Clone, Copy, Default)]
struct Options {
    all: bool,
    long: bool,
    show_exec: bool,
}

fn main(program: &Program) -> u8 {
    let mut options = Options::default();
    for argument in program
        .arguments()
        .skip(1)
        .filter(|argument| is_option(argument))
    {
        if !options.set(argument.to_bytes()) {
            eprintln!(
                "ls: unknown option {}; there are -a, -l and --show-exec",
                argument.to_bytes().escape_ascii()
            );
            return 2;
        }
    }
    if options.show_exec || program.variable("SHOW_EXEC") == Some(b"1") {
        show_exec(program);
    }

    let mut paths = program
        .arguments()
        .skip(1)
        .filter(|argument| !is_option(argument))
        .peekable();
    if paths.peek().is_none() {
        return report(c".", list(c".", options));
    }
    paths.fold(0, |status, path| status | report(path, list(path, options)))
}

fn is_option(argument: &CStr) -> bool {
    argument.to_bytes().len() > 1 && argument.to_bytes()[0] == b'-'
}

impl Options {
    /// Takes in one option word; false if there is none of that name.
    fn set(&mut self, word: &[u8]) -> bool {
        if word == b"--show-exec" {
            self.show_exec = true;
            return true;
        }
        for letter in &word[1..] {
            match letter {
                b'a' => self.all = true,
                b'l' => self.long = true,
                b'1' => {} // one name a line: always so
                _ => return false,
            }
        }
        true
    }
}

fn show_exec(program: &Program) {
    let pid = getpid();
    for (index, argument) in program.arguments().enumerate() {
        println!(
            "   [pid {pid}] ls: argv[{index}] = \"{}\"",
            argument.to_bytes().escape_ascii()
        );
    }
    for (index, entry) in program.environment().enumerate() {
        println!(
            "   [pid {pid}] ls: envp[{index}] = \"{}\"",
            entry.to_bytes().escape_ascii()
        );
    }
}

fn report(path: &CStr, result: Result<(), Errno>) -> u8 {
    if let Err(error) = result {
        eprintln!("ls: {}: {error}", path.to_bytes().escape_ascii());
    }
    u8::from(result.is_err())
}

fn list(path: &CStr, options: Options) -> Result<(), Errno> {
    let mut output = Output::new(STDOUT);
    if lstat(None, path)?.mode & S_IFMT != S_IFDIR {
        show(&mut output, None, path, options)?;
        output.flush();
        return Ok(());
    }
    let fd = open(path, O_DIRECTORY)?;
    let mut directory = Directory::new();
    directory.read(fd)?;
    for name in directory
        .names()
        .filter(|name| options.all || !name.to_bytes().starts_with(b"."))
    {
        show(&mut output, Some(fd), name, options)?;
    }
    output.flush();
    close(fd)
}

fn show(
    output: &mut Output,
    directory: Option<i32>,
    name: &CStr,
    options: Options,
) -> Result<(), Errno> {
    if options.long {
        long::show_columns(output, &lstat(directory, name)?);
    }
    output.push(name.to_bytes());
    if options.long {
        long::show_link(output, directory, name);
    }
    output.push(b"\n");
    Ok(())
}
