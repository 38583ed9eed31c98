//! The initial stack of a program: strings, auxiliary vector, pointers (Linux: fs/exec.c,
//! copy_strings; fs/binfmt_elf.c, create_elf_tables).
//!
//! ```text
//! USER_END - 8   0
//!                name of the program (AT_EXECFN)
//!                environment strings
//!                argument strings              16-byte boundary below them
//!                "x86_64" (AT_PLATFORM), 16 random bytes (AT_RANDOM)
//!                auxiliary vector
//!                envp, 0
//!                argv, 0
//! rsp ->         argc                          16-byte aligned
//! ```
//!
//! Strings go from the old space to the new through a small buffer, in two passes: the first
//! measures them, so that the second can fill everything upwards.

use super::strings::{CHUNK, OldMemory, Source, no_memory};
use super::{ExecRequest, Loaded};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::memory::map::{MapRequest, Placement};
use crate::memory::space::{Backing, Protection};
use crate::memory::{AddressSpace, UserMemory, address::page_up};
use crate::process::elf::PROGRAM_HEADER_BYTES;
use crate::process::task::TaskId;
use alloc::boxed::Box;
use alloc::vec::Vec;
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::inspect::vma;
use forkvm_abi::layout::USER_END;
use linux_raw_sys::auxvec as aux;
use linux_raw_sys::general as uapi;
use zerocopy::IntoBytes;

/// Bytes of all strings and pointers that are always allowed (ARG_MAX).
const ALWAYS_ALLOWED: u64 = 128 << 10;
/// Bytes of all strings and pointers that are allowed at most: three quarters of _STK_LIM.
const NEVER_ALLOWED: u64 = 6 << 20;
/// Bytes mapped below the tables for the program to start on.
const STACK_ROOM: u64 = 128 << 10;
/// AT_PLATFORM.
const PLATFORM: &[u8] = b"x86_64\0";
/// Entries of the auxiliary vector, AT_NULL included.
const AUXILIARY: usize = 20;

/// argv and envp of an execve.
#[derive(Debug)]
pub struct Arguments<'a> {
    /// What scripts put in front of argv.
    front: Vec<Box<[u8]>>,
    /// Strings at the start of argv that are left out: a script's own argv\[0\].
    skip: usize,
    argv: Source<'a>,
    envp: Source<'a>,
    measured: Measured,
}

/// What the first pass has found out.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    argc: u64,
    envc: u64,
    argument_bytes: u64,
    environment_bytes: u64,
}

impl<'a> Arguments<'a> {
    /// Not yet measured.
    pub fn new(argv: Source<'a>, envp: Source<'a>) -> Self {
        Self {
            front: Vec::new(),
            skip: 0,
            argv,
            envp,
            measured: Measured::default(),
        }
    }

    /// A script `name` runs through `interpreter`: argv becomes interpreter, its argument, name, and the old
    /// argv without its first string.
    pub fn put_interpreter_in_front(
        &mut self,
        interpreter: Box<[u8]>,
        argument: Option<Box<[u8]>>,
        name: Box<[u8]>,
    ) {
        if self.front.is_empty() {
            self.skip = 1;
        } else {
            self.front.remove(0);
        }
        let new = [Some(interpreter), argument, Some(name)];
        self.front.splice(0..0, new.into_iter().flatten());
    }

    /// Bytes from the lowest argument string to the end of the stack.
    fn string_bytes(&self, name: &[u8]) -> u64 {
        8 + name.len() as u64 + 1 + self.measured.environment_bytes + self.measured.argument_bytes
    }

    /// 8-byte words from argc to AT_NULL.
    fn words(&self) -> u64 {
        1 + self.measured.argc + 1 + self.measured.envc + 1 + 2 * AUXILIARY as u64
    }

    /// Everything below the strings, rounding included.
    fn table_bytes(&self) -> u64 {
        16 + PLATFORM.len() as u64 + 16 + self.words() * 8 + 16
    }
}

impl Kernel {
    /// First pass: counts and measures. E2BIG (one string or all together), EFAULT.
    pub(super) fn measure_arguments(
        &mut self,
        task: TaskId,
        request: &mut ExecRequest<'_>,
    ) -> Result<(), Errno> {
        let stack = self.group(task).limits.soft(uapi::RLIMIT_STACK);
        let limit = (stack / 4).clamp(ALWAYS_ALLOWED, NEVER_ALLOWED);
        let mut measured = Measured::default();
        let mut left = limit;
        let arguments = &mut request.arguments;
        let mut add = |count: &mut u64, bytes: &mut u64, len: u64| {
            *count += 1;
            *bytes += len;
            left = left.checked_sub(len + 8).ok_or(Errno::E2BIG)?;
            Ok(())
        };
        add(&mut 0, &mut 0, request.name.len() as u64 + 1)?;
        for string in &arguments.front {
            add(
                &mut measured.argc,
                &mut measured.argument_bytes,
                string.len() as u64 + 1,
            )?;
        }
        let mut old = self.old_memory(task);
        old.each(arguments.argv, arguments.skip, |_, string| {
            add(&mut measured.argc, &mut measured.argument_bytes, string.len)
        })?;
        if measured.argc == 0 {
            // A program may count on argv[0]: Linux gives it an empty one.
            arguments.front.push(Box::default());
            add(&mut measured.argc, &mut measured.argument_bytes, 1)?;
        }
        old.each(arguments.envp, 0, |_, string| {
            add(
                &mut measured.envc,
                &mut measured.environment_bytes,
                string.len,
            )
        })?;
        arguments.measured = measured;
        Ok(())
    }

    /// Maps the stack: room for what execve puts there and for the program's first steps.
    pub(super) fn map_stack(
        &mut self,
        space: &mut AddressSpace,
        protection: Protection,
        request: &ExecRequest<'_>,
    ) -> Result<(), Errno> {
        let used = request.arguments.string_bytes(&request.name) + request.arguments.table_bytes();
        let len = page_up(used + STACK_ROOM).ok_or(Errno::ENOMEM)?;
        let placement = Placement::FixedNoReplace(USER_END - len);
        let flags = vma::GROWS_DOWN | vma::STACK;
        let mapped = space.map(
            &mut self.frames,
            &MapRequest {
                placement,
                len,
                protection,
                flags,
                backing: Backing::Anonymous,
            },
        );
        mapped.map(|_| ()).map_err(|_| Errno::ENOMEM)
    }

    /// Second pass: fills the stack; returns the stack pointer. EFAULT, ENOMEM.
    pub(super) fn fill_stack(
        &mut self,
        task: TaskId,
        space: &mut AddressSpace,
        request: &ExecRequest<'_>,
        loaded: &Loaded,
    ) -> Result<u64, Errno> {
        let arguments = &request.arguments;
        let strings = USER_END - arguments.string_bytes(&request.name);
        let platform = (strings & !15) - PLATFORM.len() as u64;
        let random = platform - 16;
        let stack_pointer = (random - arguments.words() * 8) & !15;
        let environment = strings + arguments.measured.argument_bytes;
        let name = environment + arguments.measured.environment_bytes;
        space.arguments = [strings, environment, environment, name];

        let mut random_bytes = [0; 16];
        self.random.fill(&mut random_bytes);
        let auxiliary = self.auxiliary_vector(task, loaded, [platform, random, name]);
        let mut old = self.old_memory(task);
        let mut words = WordWriter {
            at: stack_pointer,
            len: 0,
            words: [0; CHUNK / 8],
        };
        let mut at = strings;
        words.push(&mut old.in_new(space), arguments.measured.argc)?;
        for string in &arguments.front {
            let mut new = old.in_new(space);
            words.push(&mut new, at)?;
            new.write_bytes(at, string)
                .and_then(|()| new.write_bytes(at + string.len() as u64, &[0]))
                .map_err(no_memory)?;
            at += string.len() as u64 + 1;
        }
        for (list, skip) in [(arguments.argv, arguments.skip), (arguments.envp, 0)] {
            old.each(list, skip, |old, string| {
                words.push(&mut old.in_new(space), at)?;
                old.copy_to(space, string, at)?;
                at += string.len;
                Ok(())
            })?;
            words.push(&mut old.in_new(space), 0)?;
        }
        let mut new = old.in_new(space);
        for entry in auxiliary.as_flattened() {
            words.push(&mut new, *entry)?;
        }
        words.flush(&mut new)?;
        new.write_bytes(random, &random_bytes).map_err(no_memory)?;
        new.write_bytes(platform, PLATFORM).map_err(no_memory)?;
        new.write_bytes(name, &request.name).map_err(no_memory)?;
        Ok(stack_pointer)
    }

    /// getauxval(3), in Linux's order; the vDSO is absent.
    fn auxiliary_vector(
        &self,
        task: TaskId,
        loaded: &Loaded,
        [platform, random, name]: [u64; 3],
    ) -> [[u64; 2]; AUXILIARY] {
        let credentials = &self.tasks[task].credentials;
        let entry = |kind: u32, value: u64| [u64::from(kind), value];
        [
            entry(aux::AT_MINSIGSTKSZ, self.minimum_signal_stack()),
            entry(aux::AT_HWCAP, self.boot.hwcap),
            entry(aux::AT_PAGESZ, PAGE_SIZE),
            entry(aux::AT_CLKTCK, 100),
            entry(aux::AT_PHDR, loaded.headers),
            entry(aux::AT_PHENT, PROGRAM_HEADER_BYTES),
            entry(aux::AT_PHNUM, loaded.header_count),
            entry(aux::AT_BASE, loaded.interpreter_base),
            entry(aux::AT_FLAGS, 0),
            entry(aux::AT_ENTRY, loaded.entry),
            entry(aux::AT_UID, u64::from(credentials.user.real)),
            entry(aux::AT_EUID, u64::from(credentials.user.effective)),
            entry(aux::AT_GID, u64::from(credentials.group.real)),
            entry(aux::AT_EGID, u64::from(credentials.group.effective)),
            entry(aux::AT_SECURE, 0),
            entry(aux::AT_RANDOM, random),
            entry(aux::AT_HWCAP2, self.boot.hwcap2),
            entry(aux::AT_EXECFN, name),
            entry(aux::AT_PLATFORM, platform),
            entry(aux::AT_NULL, 0),
        ]
    }

    fn old_memory(&mut self, task: TaskId) -> OldMemory<'_> {
        let space = self.tasks[task].space;
        OldMemory {
            space: space.map(|space| &mut self.spaces[space]),
            frames: &mut self.frames,
        }
    }
}

/// Words that go to ascending addresses, a chunk at a time.
struct WordWriter {
    at: u64,
    len: usize,
    words: [u64; CHUNK / 8],
}

impl WordWriter {
    fn push(&mut self, new: &mut UserMemory<'_>, word: u64) -> Result<(), Errno> {
        self.words[self.len] = word;
        self.len += 1;
        if self.len == self.words.len() {
            self.flush(new)
        } else {
            Ok(())
        }
    }

    fn flush(&mut self, new: &mut UserMemory<'_>) -> Result<(), Errno> {
        let bytes = self.words[..self.len].as_bytes();
        new.write_bytes(self.at, bytes).map_err(no_memory)?;
        self.at += bytes.len() as u64;
        self.len = 0;
        Ok(())
    }
}
