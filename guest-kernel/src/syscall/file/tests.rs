//! System calls on files as a program makes them: arguments in registers, data in its memory.
//!
//! The first program is a small ELF whose memory the tests use; it never runs. The errors are
//! those that Linux 6.18 gives for the same calls on the same tree, mounted read-only.

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

#[test]
fn a_file_is_opened_read_and_closed() {
    let mut machine = Machine::new();
    assert_eq!(machine.open("/bin/hello", 0), Ok(3));
    assert_eq!(machine.value(sys_read, &[3, DATA, 5]), Ok(5));
    assert_eq!(machine.peek(DATA, 5), b"hello");
    assert_eq!(machine.value(sys_pread64, &[3, DATA, 100, 7]), Ok(6));
    assert_eq!(machine.value(sys_lseek, &[3, 0, 1]), Ok(5));
    assert_eq!(machine.value(sys_write, &[3, DATA, 5]), Err(Errno::EBADF));
    assert_eq!(
        machine.value(sys_pread64, &[3, DATA, 1, u64::MAX]),
        Err(Errno::EINVAL)
    );
    assert_eq!(machine.value(sys_close, &[3]), Ok(0));
    assert_eq!(machine.value(sys_read, &[3, DATA, 5]), Err(Errno::EBADF));
    assert_eq!(machine.value(sys_close, &[3]), Err(Errno::EBADF));
}

#[test]
fn bad_buffers_are_faults_and_good_parts_of_them_count() {
    let mut machine = Machine::new();
    let zero = machine.open("/dev/zero", 0).expect("it exists");
    assert_eq!(
        machine.value(sys_read, &[zero, 0x10, 5]),
        Err(Errno::EFAULT)
    );
    assert_eq!(
        machine.value(sys_read, &[zero, u64::MAX, 5]),
        Err(Errno::EFAULT)
    );
    assert_eq!(
        machine.value(sys_read, &[zero, 1 << 63, 5]),
        Err(Errno::EFAULT)
    );
    assert_eq!(machine.value(sys_read, &[zero, END - 10, 20]), Ok(10));
    assert_eq!(machine.value(sys_read, &[zero, END, 0]), Ok(0));
    let file = machine.open("/bin/hello", 0).expect("it exists");
    assert_eq!(machine.value(sys_read, &[file, END - 3, 13]), Ok(3));
    assert_eq!(machine.value(sys_lseek, &[file, 0, 1]), Ok(3));
    assert_eq!(
        machine.value(sys_openat, &[fd_cwd(), 0x10, 0]),
        Err(Errno::EFAULT)
    );
}

#[test]
fn vectors_are_read_and_written_in_order() {
    let mut machine = Machine::new();
    let file = machine.open("/bin/hello", 0).expect("it exists");
    let vector = |parts: &[(u64, u64)]| -> Vec<u8> {
        parts
            .iter()
            .flat_map(|(base, len)| [*base, *len])
            .flat_map(u64::to_le_bytes)
            .collect()
    };
    machine.poke(TEXT, &vector(&[(DATA, 3), (0, 0), (DATA + 100, 4)]));
    assert_eq!(machine.value(sys_readv, &[file, TEXT, 3]), Ok(7));
    assert_eq!(
        (machine.peek(DATA, 3), machine.peek(DATA + 100, 4)),
        (b"hel".to_vec(), b"lo, ".to_vec())
    );
    assert_eq!(machine.value(sys_preadv, &[file, TEXT, 3, 7]), Ok(6));
    assert_eq!(
        machine.value(sys_readv, &[file, TEXT, 1025]),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        machine.value(sys_readv, &[file, 0x10, 1]),
        Err(Errno::EFAULT)
    );
    assert_eq!(machine.value(sys_readv, &[file, TEXT, 0]), Ok(0));
    machine.poke(TEXT, &vector(&[(DATA, u64::MAX)]));
    assert_eq!(
        machine.value(sys_readv, &[file, TEXT, 1]),
        Err(Errno::EINVAL)
    );

    machine.poke(DATA, b"one two");
    machine.poke(TEXT, &vector(&[(DATA, 4), (DATA + 4, 3)]));
    assert_eq!(machine.value(sys_writev, &[1, TEXT, 2]), Ok(7));
    assert!(machine.kernel.fs.console_pending() > 0);
}

#[test]
fn a_full_pipe_parks_the_writer_and_it_goes_on_where_it_stopped() {
    let mut machine = Machine::new();
    let (reader, writer) = machine.pipe(0);
    machine
        .call(sys_fcntl, &[writer, u64::from(uapi::F_SETPIPE_SZ), 4096])
        .expect("it is a pipe");
    let text: Vec<u8> = (0..10_000u32).map(|byte| byte.to_le_bytes()[0]).collect();
    machine.poke(DATA, &text);
    let park = |channel| {
        Ok(Completion::Park {
            channel,
            deadline: None,
        })
    };
    let mut received = Vec::new();
    assert_eq!(
        machine.call(sys_write, &[writer, DATA, 10_000]),
        park(WaitChannel::PipeWrite)
    );
    assert_eq!(
        machine.value(sys_read, &[reader, DATA + 0x4000, 9000]),
        Ok(4096)
    );
    received.extend(machine.peek(DATA + 0x4000, 4096));
    assert_eq!(
        machine.call(sys_write, &[writer, DATA, 10_000]),
        park(WaitChannel::PipeWrite)
    );
    assert_eq!(
        machine.value(sys_read, &[reader, DATA + 0x4000, 9000]),
        Ok(4096)
    );
    received.extend(machine.peek(DATA + 0x4000, 4096));
    assert_eq!(
        machine.value(sys_write, &[writer, DATA, 10_000]),
        Ok(10_000)
    );
    assert_eq!(
        machine.value(sys_read, &[reader, DATA + 0x4000, 9000]),
        Ok(1808)
    );
    received.extend(machine.peek(DATA + 0x4000, 1808));
    assert_eq!(received, text);
    assert_eq!(
        machine.call(sys_read, &[reader, DATA, 1]),
        park(WaitChannel::PipeRead)
    );
    assert_eq!(machine.value(sys_close, &[writer]), Ok(0));
    assert_eq!(machine.value(sys_read, &[reader, DATA, 1]), Ok(0));
}

#[test]
fn nonblocking_ends_say_so_and_a_lost_reader_is_a_signal() {
    let mut machine = Machine::new();
    let (reader, writer) = machine.pipe(O_NONBLOCK);
    assert_eq!(
        machine.value(sys_read, &[reader, DATA, 1]),
        Err(Errno::EAGAIN)
    );
    assert_eq!(
        machine.value(sys_write, &[writer, DATA, 0xe000]),
        Ok(0xe000)
    );
    assert_eq!(
        machine.value(sys_write, &[writer, DATA, 0xe000]),
        Ok(0x2000)
    );
    assert_eq!(
        machine.value(sys_write, &[writer, DATA, 1]),
        Err(Errno::EAGAIN)
    );
    assert_eq!(machine.value(sys_close, &[reader]), Ok(0));
    assert!(!machine.kernel.signal_pending(machine.task));
    assert_eq!(
        machine.value(sys_write, &[writer, DATA, 1]),
        Err(Errno::EPIPE)
    );
    assert!(machine.kernel.signal_pending(machine.task));
    let (_, _) = (machine.value(sys_close, &[writer]), machine.pipe(0));
    assert_eq!(machine.value(sys_pipe2, &[DATA, 1]), Err(Errno::EINVAL));
    let open = machine.kernel.fs.files.len();
    assert_eq!(machine.value(sys_pipe, &[0x10]), Err(Errno::EFAULT));
    assert_eq!(machine.kernel.fs.files.len(), open);
}

#[test]
fn descriptors_are_duplicated_as_dup_says() {
    let mut machine = Machine::new();
    assert_eq!(machine.value(sys_dup, &[0]), Ok(3));
    assert_eq!(machine.value(sys_dup, &[77]), Err(Errno::EBADF));
    assert_eq!(machine.value(sys_dup2, &[1, 9]), Ok(9));
    assert_eq!(machine.value(sys_dup2, &[9, 9]), Ok(9));
    assert_eq!(machine.value(sys_dup2, &[8, 8]), Err(Errno::EBADF));
    assert_eq!(machine.value(sys_dup2, &[1, 1024]), Err(Errno::EBADF));
    assert_eq!(machine.value(sys_dup3, &[1, 1, 0]), Err(Errno::EINVAL));
    assert_eq!(machine.value(sys_dup3, &[1, 5, 1]), Err(Errno::EINVAL));
    assert_eq!(
        machine.value(sys_dup3, &[1, 5, u64::from(O_CLOEXEC)]),
        Ok(5)
    );
    let mut fcntl =
        |fd, command: u32, argument| machine.value(sys_fcntl, &[fd, u64::from(command), argument]);
    assert_eq!(fcntl(5, uapi::F_GETFD, 0), Ok(1));
    assert_eq!(fcntl(5, uapi::F_SETFD, 0), Ok(0));
    assert_eq!(fcntl(5, uapi::F_GETFD, 0), Ok(0));
    assert_eq!(fcntl(5, uapi::F_DUPFD, 20), Ok(20));
    assert_eq!(fcntl(5, uapi::F_DUPFD_CLOEXEC, 20), Ok(21));
    assert_eq!(fcntl(21, uapi::F_GETFD, 0), Ok(1));
    assert_eq!(fcntl(5, uapi::F_DUPFD, 1024), Err(Errno::EINVAL));
    assert_eq!(
        fcntl(5, uapi::F_DUPFD, u64::from(u32::MAX)),
        Err(Errno::EINVAL)
    );
    assert_eq!(fcntl(5, 999, 0), Err(Errno::EINVAL));
    assert_eq!(fcntl(99, uapi::F_GETFD, 0), Err(Errno::EBADF));
    assert_eq!(fcntl(1, uapi::F_GETFL, 0), Ok(1));
    assert_eq!(
        fcntl(1, uapi::F_SETFL, u64::from(O_NONBLOCK | O_DIRECTORY)),
        Ok(0)
    );
    assert_eq!(fcntl(9, uapi::F_GETFL, 0), Ok(u64::from(1 | O_NONBLOCK)));
    assert_eq!(fcntl(1, uapi::F_GETPIPE_SZ, 0), Err(Errno::EBADF));
}

#[test]
fn close_range_closes_or_marks() {
    let mut machine = Machine::new();
    for fd in 3..8 {
        assert_eq!(machine.value(sys_dup, &[0]), Ok(fd));
    }
    assert_eq!(machine.value(sys_close_range, &[4, 5, 0]), Ok(0));
    assert_eq!(
        machine.value(sys_close_range, &[6, u64::from(u32::MAX), 4]),
        Ok(0)
    );
    let mut fcntl = |fd| machine.value(sys_fcntl, &[fd, u64::from(uapi::F_GETFD), 0]);
    assert_eq!(
        [fcntl(3), fcntl(4), fcntl(5), fcntl(6), fcntl(7)],
        [Ok(0), Err(Errno::EBADF), Err(Errno::EBADF), Ok(1), Ok(1)]
    );
    assert_eq!(
        machine.value(sys_close_range, &[5, 4, 0]),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        machine.value(sys_close_range, &[0, 1, 1]),
        Err(Errno::EINVAL)
    );
}

#[test]
fn paths_start_at_a_descriptor_or_the_current_directory() {
    let mut machine = Machine::new();
    let etc = machine
        .open("/etc", O_PATH | O_DIRECTORY)
        .expect("it exists");
    let file = machine.open("/bin/hello", 0).expect("it exists");
    let path = machine.text("deep/file");
    assert_eq!(machine.value(sys_openat, &[etc, path, 0]), Ok(5));
    assert_eq!(
        machine.value(sys_openat, &[fd_cwd(), path, 0]),
        Err(Errno::ENOENT)
    );
    assert_eq!(
        machine.value(sys_openat, &[file, path, 0]),
        Err(Errno::ENOTDIR)
    );
    assert_eq!(machine.value(sys_openat, &[99, path, 0]), Err(Errno::EBADF));
    assert_eq!(machine.value(sys_fchdir, &[etc]), Ok(0));
    assert_eq!(machine.value(sys_openat, &[fd_cwd(), path, 0]), Ok(6));
    assert_eq!(machine.value(sys_getcwd, &[DATA, 100]), Ok(5));
    assert_eq!(machine.peek(DATA, 5), b"/etc\0");
    assert_eq!(machine.value(sys_getcwd, &[DATA, 4]), Err(Errno::ERANGE));
    assert_eq!(machine.value(sys_fchdir, &[file]), Err(Errno::ENOTDIR));
    let absolute = machine.text("/bin/hello");
    assert_eq!(machine.value(sys_openat, &[99, absolute, 0]), Ok(7));
    assert_eq!(machine.value(sys_chdir, &[absolute]), Err(Errno::ENOTDIR));
    let empty = machine.text("");
    assert_eq!(
        machine.value(sys_openat, &[etc, empty, 0]),
        Err(Errno::ENOENT)
    );
    assert_eq!(machine.value(sys_umask, &[0o1077]), Ok(0o022));
    assert_eq!(machine.value(sys_umask, &[0]), Ok(0o077));
}

#[test]
fn stat_tells_type_size_and_numbers() {
    let mut machine = Machine::new();
    let path = machine.text("/bin/sh");
    let mode = |machine: &mut Machine| machine.word(DATA + 24) & 0o170_000;
    assert_eq!(machine.value(sys_stat, &[path, DATA]), Ok(0));
    assert_eq!(
        (mode(&mut machine), machine.word(DATA + 48)),
        (0o100_000, 13)
    );
    let number = machine.word(DATA + 8);
    assert_eq!(machine.value(sys_lstat, &[path, DATA]), Ok(0));
    assert_eq!(
        (mode(&mut machine), machine.word(DATA + 48)),
        (0o120_000, 5)
    );
    let file = machine.open("/bin/hello", 0).expect("it exists");
    assert_eq!(machine.value(sys_fstat, &[file, DATA]), Ok(0));
    assert_eq!(machine.word(DATA + 8), number);
    let empty = machine.text("");
    assert_eq!(
        machine.value(
            sys_newfstatat,
            &[file, empty, DATA, u64::from(uapi::AT_EMPTY_PATH)]
        ),
        Ok(0)
    );
    assert_eq!(machine.word(DATA + 8), number);
    assert_eq!(
        machine.value(sys_newfstatat, &[file, empty, DATA, 0]),
        Err(Errno::ENOENT)
    );
    assert_eq!(
        machine.value(sys_newfstatat, &[file, empty, DATA, 1]),
        Err(Errno::EINVAL)
    );
    assert_eq!(machine.value(sys_fstat, &[1, DATA]), Ok(0));
    assert_eq!(mode(&mut machine), 0o010_000);

    let null = machine.text("/dev/null");
    assert_eq!(machine.value(sys_stat, &[null, DATA]), Ok(0));
    assert_eq!(
        (mode(&mut machine), machine.word(DATA + 40)),
        (0o020_000, 0x103)
    );
    assert_eq!(
        machine.value(sys_statx, &[fd_cwd(), null, 0, 0x7ff, DATA]),
        Ok(0)
    );
    assert_eq!(
        (machine.word(DATA) & 0xffff_ffff, machine.word(DATA + 128)),
        (0x7ff, 3 << 32 | 1)
    );
    assert_eq!(
        machine.value(sys_statx, &[fd_cwd(), null, 0x6000, 0x7ff, DATA]),
        Err(Errno::EINVAL)
    );
    assert_eq!(machine.value(sys_statfs, &[null, DATA]), Ok(0));
    assert_eq!(machine.word(DATA + 64), 255);
}

#[test]
fn access_and_links() {
    let mut machine = Machine::new();
    let path = machine.text("/etc/up");
    assert_eq!(machine.value(sys_access, &[path, 5]), Ok(0));
    assert_eq!(machine.value(sys_access, &[path, 2]), Err(Errno::EROFS));
    assert_eq!(machine.value(sys_access, &[path, 8]), Err(Errno::EINVAL));
    assert_eq!(machine.value(sys_readlink, &[path, DATA, 100]), Ok(6));
    assert_eq!(machine.peek(DATA, 6), b"../bin");
    assert_eq!(machine.value(sys_readlink, &[path, DATA, 3]), Ok(3));
    assert_eq!(
        machine.value(sys_readlink, &[path, DATA, 0]),
        Err(Errno::EINVAL)
    );
    let null = machine.text("/dev/null");
    assert_eq!(machine.value(sys_access, &[null, 6]), Ok(0));
    assert_eq!(machine.value(sys_access, &[null, 1]), Err(Errno::EACCES));
    assert_eq!(
        machine.value(sys_readlink, &[null, DATA, 100]),
        Err(Errno::EINVAL)
    );
    let exe = machine.text("/proc/self/exe");
    assert_eq!(machine.value(sys_readlink, &[exe, DATA, 100]), Ok(12));
    assert_eq!(machine.peek(DATA, 12), b"/bin/program");
    let exe = machine.text("/proc/1/exe");
    assert_eq!(
        machine.value(sys_readlink, &[exe, DATA, 100]),
        Err(Errno::ENOENT)
    );
    let name = machine
        .open("/bin/sh", O_PATH | uapi::O_NOFOLLOW)
        .expect("it exists");
    let empty = machine.text("");
    assert_eq!(
        machine.value(sys_readlinkat, &[name, empty, DATA, 100]),
        Ok(5)
    );
    assert_eq!(
        machine.value(sys_readlinkat, &[1, empty, DATA, 100]),
        Err(Errno::ENOENT)
    );
}

#[test]
fn directories_are_listed() {
    let mut machine = Machine::new();
    let directory = machine.open("/proc", 0).expect("it exists");
    let moved = machine
        .value(sys_getdents64, &[directory, DATA, 4096])
        .expect("it is a directory");
    let listing = machine.peek(DATA, usize::try_from(moved).expect("a page"));
    let mut names = Vec::new();
    let mut at = 0;
    while at < listing.len() {
        names.push(
            listing[at + 19..]
                .split(|byte| *byte == 0)
                .next()
                .expect("a name")
                .to_vec(),
        );
        at += usize::from(listing[at + 16]);
    }
    assert_eq!(names, [&b"."[..], b"..", b"self", b"1", b"2"]);
    assert_eq!(
        machine.value(sys_getdents64, &[directory, DATA, 4096]),
        Ok(0)
    );
    assert_eq!(
        machine.value(sys_getdents64, &[1, DATA, 4096]),
        Err(Errno::ENOTDIR)
    );
}

#[test]
fn what_would_modify_finds_its_error_in_linuxs_order() {
    let mut machine = Machine::new();
    let mut error = |handler: Handler, path: &str| {
        let path = machine.text(path);
        machine.value(handler, &[path, path]).err()
    };
    assert_eq!(error(sys_mkdir, "/new"), Some(Errno::EROFS));
    assert_eq!(error(sys_mkdir, "/new/"), Some(Errno::EROFS));
    assert_eq!(error(sys_mkdir, "/etc"), Some(Errno::EEXIST));
    assert_eq!(error(sys_mkdir, "/"), Some(Errno::EEXIST));
    assert_eq!(error(sys_mkdir, "/etc/dangling/"), Some(Errno::EEXIST));
    assert_eq!(error(sys_rmdir, "/etc/dangling/"), Some(Errno::EROFS));
    assert_eq!(error(sys_mkdir, "/no/new"), Some(Errno::ENOENT));
    assert_eq!(error(sys_rmdir, "/nothing"), Some(Errno::EROFS));
    assert_eq!(error(sys_rmdir, "/etc/."), Some(Errno::EINVAL));
    assert_eq!(error(sys_rmdir, "/etc/.."), Some(Errno::ENOTEMPTY));
    assert_eq!(error(sys_rmdir, "/"), Some(Errno::EBUSY));
    assert_eq!(error(sys_unlink, "/bin/hello"), Some(Errno::EROFS));
    assert_eq!(error(sys_unlink, "/etc/."), Some(Errno::EISDIR));
    assert_eq!(error(sys_rename, "/bin/hello"), Some(Errno::EROFS));
    assert_eq!(error(sys_rename, "/etc/.."), Some(Errno::EBUSY));
    assert_eq!(error(sys_link, "/nothing"), Some(Errno::ENOENT));
    assert_eq!(error(sys_link, "/bin/hello"), Some(Errno::EEXIST));
    assert_eq!(error(sys_symlink, "/new"), Some(Errno::EROFS));
    assert_eq!(error(sys_symlink, "/new/"), Some(Errno::ENOENT));
    assert_eq!(error(sys_symlink, ""), Some(Errno::ENOENT));
    assert_eq!(error(sys_change_path, "/nothing"), Some(Errno::ENOENT));
    assert_eq!(error(sys_change_path, "/bin/hello"), Some(Errno::EROFS));
    assert_eq!(error(sys_truncate, "/etc"), Some(Errno::EISDIR));
    assert_eq!(error(sys_truncate, "/bin/hello"), Some(Errno::EROFS));
    assert_eq!(error(sys_creat, "/new"), Some(Errno::EROFS));
    assert_eq!(error(sys_creat, "/bin"), Some(Errno::EISDIR));
}

#[test]
fn arguments_are_checked_before_descriptors_where_linux_does() {
    let mut machine = Machine::new();
    let path = machine.text("/new");
    for (mode, error) in [
        (uapi::S_IFDIR, Errno::EPERM),
        (uapi::S_IFLNK, Errno::EINVAL),
        (uapi::S_IFIFO, Errno::EROFS),
        (0, Errno::EROFS),
        (0o777_777, Errno::EINVAL),
    ] {
        assert_eq!(
            machine.value(sys_mknod, &[path, u64::from(mode), 0]),
            Err(error),
            "{mode:o}"
        );
    }
    let (reader, writer) = machine.pipe(0);
    assert_eq!(
        machine.value(sys_lseek, &[reader, 0, 9]),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        machine.value(sys_lseek, &[reader, 0, 0]),
        Err(Errno::ESPIPE)
    );
    assert_eq!(
        machine.value(sys_pread64, &[writer, DATA, 1, 0]),
        Err(Errno::ESPIPE)
    );
    assert_eq!(
        machine.value(sys_pread64, &[99, DATA, 1, u64::MAX]),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        machine.value(sys_ftruncate, &[99, u64::MAX]),
        Err(Errno::EINVAL)
    );
    assert_eq!(machine.value(sys_ftruncate, &[99, 0]), Err(Errno::EBADF));
    assert_eq!(
        machine.value(sys_ftruncate, &[writer, 0]),
        Err(Errno::EINVAL)
    );
    assert_eq!(machine.value(sys_fsync, &[writer]), Err(Errno::EINVAL));
    assert_eq!(
        machine.value(sys_fallocate, &[writer, 0, 0, 1]),
        Err(Errno::ESPIPE)
    );
    assert_eq!(
        machine.value(sys_change_descriptor, &[writer, 0o600]),
        Ok(0)
    );
    let full = machine.open("/dev/full", uapi::O_RDWR).expect("it exists");
    assert_eq!(
        machine.value(sys_write, &[full, DATA, 0]),
        Err(Errno::ENOSPC)
    );
    assert_eq!(
        machine.value(sys_change_descriptor, &[full, 0o600]),
        Err(Errno::EROFS)
    );
    let name = machine.open("/etc", O_PATH).expect("it exists");
    assert_eq!(
        machine.value(sys_getdents64, &[name, DATA, 23]),
        Err(Errno::EBADF)
    );
    assert_eq!(
        machine.value(sys_change_descriptor, &[name, 0o600]),
        Err(Errno::EBADF)
    );
    let directory = machine.open("/etc", 0).expect("it exists");
    assert_eq!(
        machine.value(sys_read, &[directory, DATA, 1]),
        Err(Errno::EISDIR)
    );
    assert_eq!(
        machine.value(sys_read, &[directory, u64::MAX, 1]),
        Err(Errno::EFAULT)
    );
    assert_eq!(
        machine.value(sys_lseek, &[directory, 0, 2]),
        Err(Errno::EINVAL)
    );
}

#[test]
fn record_locks_on_read_only_files_never_conflict() {
    let mut machine = Machine::new();
    let file = machine.open("/bin/hello", 0).expect("it exists");
    let mut lock = |command: u32, kind: u8| {
        machine.poke(DATA, &[kind, 0]);
        let result = machine.value(sys_fcntl, &[file, u64::from(command), DATA]);
        result.map(|_| machine.peek(DATA, 1)[0])
    };
    assert_eq!(lock(uapi::F_SETLK, 0), Ok(0));
    assert_eq!(lock(uapi::F_SETLK, 1), Err(Errno::EBADF));
    assert_eq!(lock(uapi::F_SETLKW, 2), Ok(2));
    assert_eq!(lock(uapi::F_SETLK, 7), Err(Errno::EINVAL));
    assert_eq!(lock(uapi::F_GETLK, 1), Ok(2));
    assert_eq!(lock(uapi::F_GETLK, 2), Err(Errno::EINVAL));
}

#[test]
fn terminals_answer_and_others_are_none() {
    let mut machine = Machine::with_flags(flag::STDIN_TTY | flag::STDOUT_TTY);
    let mut request = |fd, request: u32| machine.value(sys_ioctl, &[fd, u64::from(request), DATA]);
    assert_eq!(request(0, ioctl::TCGETS), Ok(0));
    assert_eq!(request(2, ioctl::TCGETS), Err(Errno::ENOTTY));
    assert_eq!(request(9, ioctl::TCGETS), Err(Errno::EBADF));
    assert_eq!(request(0, 0xdead), Err(Errno::ENOTTY));
    assert_eq!(request(0, ioctl::TCSETS), Ok(0));
    assert_eq!(request(1, ioctl::TIOCGWINSZ), Ok(0));
    assert_eq!(machine.peek(DATA, 4), [24, 0, 80, 0]);
    assert_eq!(
        machine.value(sys_ioctl, &[1, u64::from(ioctl::TIOCGPGRP), DATA]),
        Ok(0)
    );
    assert_eq!(machine.peek(DATA, 4), [2, 0, 0, 0]);
    machine.poke(DATA, &[7, 0, 0, 0]);
    assert_eq!(
        machine.value(sys_ioctl, &[1, u64::from(ioctl::TIOCSPGRP), DATA]),
        Ok(0)
    );
    assert_eq!(machine.kernel.fs.foreground_group(), 7);
    let (reader, writer) = machine.pipe(0);
    machine
        .value(sys_write, &[writer, DATA, 300])
        .expect("there is room");
    assert_eq!(
        machine.value(sys_ioctl, &[reader, u64::from(ioctl::FIONREAD), DATA]),
        Ok(0)
    );
    assert_eq!(machine.peek(DATA, 4), 300u32.to_le_bytes());
    assert_eq!(
        machine.value(sys_ioctl, &[reader, u64::from(ioctl::TCGETS), DATA]),
        Err(Errno::ENOTTY)
    );
}

#[test]
fn poll_looks_waits_and_gives_up() {
    arch::set_tsc(0);
    let mut machine = Machine::new();
    let (reader, writer) = machine.pipe(0);
    let entry = |fd: u64, events: u16| fd | u64::from(events) << 32;
    let found = |machine: &mut Machine, index: u64| machine.word(DATA + index * 8) >> 48;
    machine.poke(DATA, &entry(reader, 1).to_le_bytes());
    machine.poke(DATA + 8, &entry(writer, 4).to_le_bytes());
    machine.poke(DATA + 16, &entry(99, 1).to_le_bytes());
    machine.poke(DATA + 24, &entry(u64::from(u32::MAX), 1).to_le_bytes());
    assert_eq!(machine.value(sys_poll, &[DATA, 4, u64::MAX]), Ok(2));
    assert_eq!(
        [0, 1, 2, 3].map(|index| found(&mut machine, index)),
        [0, 4, 0x20, 0]
    );

    // The clock runs at a nanosecond a tick.
    let park = |deadline| {
        Ok(Completion::Park {
            channel: WaitChannel::DoPoll,
            deadline,
        })
    };
    assert_eq!(machine.value(sys_poll, &[DATA, 1, 0]), Ok(0));
    assert_eq!(machine.call(sys_poll, &[DATA, 1, 5]), park(Some(5_000_000)));
    arch::set_tsc(1_000_000);
    assert_eq!(machine.call(sys_poll, &[DATA, 1, 5]), park(Some(5_000_000)));
    machine
        .value(sys_write, &[writer, DATA, 1])
        .expect("there is room");
    assert_eq!(machine.value(sys_poll, &[DATA, 1, 5]), Ok(1));
    machine
        .value(sys_read, &[reader, TEXT, 1])
        .expect("there is a byte");
    arch::set_tsc(6_000_000);
    assert_eq!(machine.value(sys_poll, &[DATA, 1, 5]), Ok(0));
    machine.kernel.tasks[machine.task].progress = crate::process::task::Progress::None;
    assert_eq!(machine.call(sys_poll, &[DATA, 1, u64::MAX]), park(None));
    assert_eq!(
        machine.value(sys_poll, &[DATA, 1025, 0]),
        Err(Errno::EINVAL)
    );
    machine.poke(TEXT, &[0; 8]);
    machine.poke(TEXT + 8, &1_000_000_000u64.to_le_bytes());
    assert_eq!(
        machine.value(sys_ppoll, &[DATA, 1, TEXT, 0, 8]),
        Err(Errno::EINVAL)
    );
}

#[test]
fn ppoll_puts_the_mask_back() {
    let mut machine = Machine::new();
    let (_, writer) = machine.pipe(0);
    machine.poke(TEXT, &0x800u64.to_le_bytes());
    machine.poke(DATA, &(writer | 1 << 32).to_le_bytes());
    let mask = |machine: &Machine| machine.kernel.tasks[machine.task].signals.mask;
    assert_eq!(
        machine.value(sys_ppoll, &[DATA, 1, 0, TEXT, 4]),
        Err(Errno::EINVAL)
    );
    assert!(matches!(
        machine.call(sys_ppoll, &[DATA, 1, 0, TEXT, 8]),
        Ok(Completion::Park { .. })
    ));
    assert_eq!(mask(&machine), 0x800);
    machine.poke(DATA, &(writer | 4 << 32).to_le_bytes());
    assert_eq!(machine.value(sys_ppoll, &[DATA, 1, 0, TEXT, 8]), Ok(1));
    assert_eq!(mask(&machine), 0);
}

#[test]
fn select_counts_bits_and_tells_the_time_left() {
    arch::set_tsc(0);
    let mut machine = Machine::new();
    let (reader, writer) = machine.pipe(0);
    let (read_set, write_set, time) = (DATA, DATA + 128, DATA + 256);
    machine.poke(read_set, &(1u64 << reader).to_le_bytes());
    machine.poke(write_set, &(1u64 << writer).to_le_bytes());
    machine.poke(time, &[0; 16]);
    assert_eq!(
        machine.value(sys_select, &[5, read_set, write_set, 0, time]),
        Ok(1)
    );
    assert_eq!(
        (machine.word(read_set), machine.word(write_set)),
        (0, 1 << writer)
    );
    machine.poke(read_set, &(1u64 << reader).to_le_bytes());
    machine.poke(time, &2u64.to_le_bytes());
    let parked = machine.call(sys_select, &[5, read_set, 0, 0, time]);
    assert_eq!(
        parked,
        Ok(Completion::Park {
            channel: WaitChannel::DoPoll,
            deadline: Some(2_000_000_000)
        })
    );
    machine
        .value(sys_write, &[writer, TEXT, 1])
        .expect("there is room");
    arch::set_tsc(500_000_000);
    assert_eq!(machine.value(sys_select, &[5, read_set, 0, 0, time]), Ok(1));
    assert_eq!((machine.word(time), machine.word(time + 8)), (1, 500_000));
    machine.poke(read_set, &(1u64 << 60).to_le_bytes());
    assert_eq!(
        machine.value(sys_select, &[64, read_set, 0, 0, 0]),
        Err(Errno::EBADF)
    );
    assert_eq!(
        machine.value(sys_select, &[u64::MAX, read_set, 0, 0, 0]),
        Err(Errno::EINVAL)
    );
}

#[test]
fn console_input_parks_until_the_host_has_some() {
    let mut machine = Machine::new();
    arch::set_answer(WOULD_BLOCK);
    let parked = machine.call(sys_read, &[0, DATA, 10]);
    assert_eq!(
        parked,
        Ok(Completion::Park {
            channel: WaitChannel::NTtyRead,
            deadline: None
        })
    );
    arch::set_answer(0);
    assert_eq!(machine.value(sys_read, &[0, DATA, 10]), Ok(0));
    assert_eq!(machine.value(sys_write, &[0, DATA, 10]), Err(Errno::EBADF));
    assert_eq!(machine.value(sys_read, &[1, DATA, 10]), Err(Errno::EBADF));
}

#[test]
fn sendfile_copies_a_file_into_a_pipe() {
    let mut machine = Machine::new();
    let file = machine.open("/bin/hello", 0).expect("it exists");
    let (reader, writer) = machine.pipe(0);
    assert_eq!(machine.value(sys_sendfile, &[writer, file, 0, 5]), Ok(5));
    machine.poke(TEXT, &7u64.to_le_bytes());
    assert_eq!(
        machine.value(sys_sendfile, &[writer, file, TEXT, 1000]),
        Ok(6)
    );
    assert_eq!(machine.word(TEXT), 13);
    assert_eq!(
        machine.value(sys_sendfile, &[writer, file, TEXT, 1000]),
        Ok(0)
    );
    assert_eq!(machine.value(sys_read, &[reader, DATA, 100]), Ok(11));
    assert_eq!(machine.peek(DATA, 11), b"helloworld\n");
    assert_eq!(
        machine.value(sys_sendfile, &[file, file, 0, 1]),
        Err(Errno::EBADF)
    );
    assert_eq!(
        machine.value(sys_sendfile, &[1, reader, 0, 1]),
        Err(Errno::EINVAL)
    );
}
