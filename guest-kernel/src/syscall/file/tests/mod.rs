//! System calls on files as a program makes them: arguments in registers, data in its memory.
//!
//! The first program is a small ELF whose memory the tests use; it never runs. The errors are
//! those that Linux 6.18 gives for the same calls on the same tree, mounted read-only.

mod descriptor;
mod errors;
mod path;
mod pipe;
mod poll;
mod terminal;
mod transfer;

use super::*;
use crate::arch;
use crate::errno::Errno;
use crate::fs::tests::{Node, TREE, boot, store};
use crate::syscall::{Args, Handler, WaitChannel};
use alloc::vec::Vec;
use forkvm_abi::boot::flag;
use forkvm_abi::doorbell::WOULD_BLOCK;
use linux_raw_sys::general as uapi;
use linux_raw_sys::general::{AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_NONBLOCK, O_PATH};
use linux_raw_sys::ioctl;

/// Where the program's memory starts and ends: 16 pages, readable and writable.
const BASE: u64 = 0x40_0000;
const END: u64 = BASE + 0x1_0000;
/// Where strings go that the tests pass.
const TEXT: u64 = BASE + 0x1000;
/// Where results go.
const DATA: u64 = BASE + 0x2000;

struct Machine {
    kernel: Kernel,
    task: TaskId,
}

impl Machine {
    fn new() -> Self {
        Self::with_flags(0)
    }

    fn with_flags(flags: u64) -> Self {
        arch::take_rung();
        arch::set_answer(0);
        let program: &'static [u8] = program().leak();
        let mut tree = TREE.to_vec();
        tree.push(("/bin/program", Node::File(program)));
        let (mut boot, mut window) = boot(&tree);
        let strings = b"/bin/program\0program\0";
        store(&mut window, 0x16_0000, strings);
        boot.strings.start = 0x16_0000;
        boot.strings.len = strings.len() as u64;
        boot.argc = 1;
        boot.max_processes = 64;
        boot.flags = flags;
        boot.random_seed = [1; 4];
        (boot.window_rows, boot.window_cols) = (24, 80);
        let kernel = crate::boot::build(window, &boot);
        let task = kernel.tasks.by_pid(2).expect("the first program has pid 2");
        Self { kernel, task }
    }

    fn call(&mut self, handler: Handler, args: &[u64]) -> SyscallResult {
        let mut registers = [0; 6];
        registers[..args.len()].copy_from_slice(args);
        handler(&mut self.kernel, self.task, &Args(registers))
    }

    fn value(&mut self, handler: Handler, args: &[u64]) -> Result<u64, Errno> {
        match self.call(handler, args)? {
            Completion::Value(value) => Ok(value),
            other => panic!("the call did not come back: {other:?}"),
        }
    }

    fn text(&mut self, text: &str) -> u64 {
        self.poke(TEXT, text.as_bytes());
        self.poke(TEXT + text.len() as u64, &[0]);
        TEXT
    }

    fn open(&mut self, path: &str, flags: u32) -> Result<u64, Errno> {
        let path = self.text(path);
        self.value(sys_openat, &[fd_cwd(), path, u64::from(flags)])
    }

    fn poke(&mut self, address: u64, bytes: &[u8]) {
        self.kernel
            .user(self.task)
            .write_bytes(address, bytes)
            .expect("the tests know their memory");
    }

    fn peek(&mut self, address: u64, len: usize) -> Vec<u8> {
        let mut bytes = alloc::vec![0; len];
        self.kernel
            .user(self.task)
            .read_bytes(address, &mut bytes)
            .expect("the tests know their memory");
        bytes
    }

    fn word(&mut self, address: u64) -> u64 {
        self.kernel
            .user(self.task)
            .read(address)
            .expect("the tests know their memory")
    }

    fn pipe(&mut self, flags: u32) -> (u64, u64) {
        assert_eq!(self.value(sys_pipe2, &[DATA, u64::from(flags)]), Ok(0));
        let ends = self.word(DATA);
        (ends & 0xffff_ffff, ends >> 32)
    }
}

fn fd_cwd() -> u64 {
    i64::from(AT_FDCWD).cast_unsigned()
}

/// An ELF file with one segment: [`BASE`] to [`END`], entry at its start.
fn program() -> Vec<u8> {
    let mut elf = Vec::from(*b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0");
    for word in [BASE + 0x78, 64, 0] {
        elf.extend(word.to_le_bytes());
    }
    for half in [0u16, 0, 64, 56, 1, 64, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend([1u32, 7].into_iter().flat_map(u32::to_le_bytes));
    for word in [0, BASE, BASE, 0x80, END - BASE, 0x1000] {
        elf.extend(word.to_le_bytes());
    }
    elf.resize(0x80, 0x90);
    elf
}
