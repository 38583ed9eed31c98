//! System calls: `syscall` itself, and one typed function for each call that an app makes.
//!
//! Numbers and structures: Linux, arch/x86/entry/syscalls/syscall_64.tbl and include/uapi. Each function
//! is described by the man page of its name in section 2.

use core::arch::asm;
use core::ffi::{CStr, c_char};
use core::fmt;

mod number {
    pub(super) const READ: usize = 0;
    pub(super) const WRITE: usize = 1;
    pub(super) const CLOSE: usize = 3;
    pub(super) const PIPE: usize = 22;
    pub(super) const GETPID: usize = 39;
    pub(super) const FORK: usize = 57;
    pub(super) const EXECVE: usize = 59;
    pub(super) const WAIT4: usize = 61;
    pub(super) const KILL: usize = 62;
    pub(super) const GETPPID: usize = 110;
    pub(super) const GETDENTS64: usize = 217;
    pub(super) const EXIT_GROUP: usize = 231;
    pub(super) const WAITID: usize = 247;
    pub(super) const OPENAT: usize = 257;
    pub(super) const NEWFSTATAT: usize = 262;
    pub(super) const READLINKAT: usize = 267;
    /// forkvm's own: no Linux kernel knows it.
    pub(super) const FORKVM_OBSERVE: usize = 0x464b_0001;
}

const AT_FDCWD: usize = (-100_isize).cast_unsigned();

/// SIGKILL.
pub const SIGKILL: i32 = 9;
/// waitid: wait for processes that ended.
pub const WEXITED: i32 = 4;
/// waitid: leave the process waitable.
pub const WNOWAIT: i32 = 0x0100_0000;
/// openat: the path must be a directory's.
pub const O_DIRECTORY: i32 = 0o200_000;
/// `st_mode`: mask of the type bits.
pub const S_IFMT: u32 = 0o170_000;
/// `st_mode`: directory.
pub const S_IFDIR: u32 = 0o040_000;
/// `st_mode`: character device.
pub const S_IFCHR: u32 = 0o020_000;
/// `st_mode`: symbolic link.
pub const S_IFLNK: u32 = 0o120_000;
/// `st_mode`: FIFO.
pub const S_IFIFO: u32 = 0o010_000;

/// Why a system call failed: errno(3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub i32);

/// ENOENT.
pub const ENOENT: Errno = Errno(2);
/// ESRCH.
pub const ESRCH: Errno = Errno(3);

impl fmt::Display for Errno {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self.0 {
            1 => "Operation not permitted",
            2 => "No such file or directory",
            3 => "No such process",
            8 => "Exec format error",
            9 => "Bad file descriptor",
            10 => "No child processes",
            11 => "Resource temporarily unavailable",
            12 => "Cannot allocate memory",
            13 => "Permission denied",
            20 => "Not a directory",
            21 => "Is a directory",
            22 => "Invalid argument",
            32 => "Broken pipe",
            38 => "Function not implemented",
            number => return write!(out, "errno {number}"),
        })
    }
}

/// Enters the kernel. Pointers are passed as numbers; what they must point to depends on the call.
///
/// # Safety
/// The call must not change memory that Rust thinks is its own, beyond what the arguments lend it.
unsafe fn syscall(number: usize, arguments: [usize; 5]) -> Result<usize, Errno> {
    let [a, b, c, d, e] = arguments;
    let result: isize;
    // SAFETY: the caller's promise; rcx and r11 are the two registers that `syscall` itself destroys.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            in("r8") e, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    match result {
        -4095..0 => Err(Errno(i32::try_from(-result).unwrap_or(i32::MAX))),
        value => Ok(value.cast_unsigned()),
    }
}

/// Calls that take plain numbers, or memory that is only read.
fn call(number: usize, arguments: [usize; 3]) -> Result<usize, Errno> {
    let [a, b, c] = arguments;
    // SAFETY: used below only for calls that write no memory of ours.
    unsafe { syscall(number, [a, b, c, 0, 0]) }
}

/// A signed argument, as the kernel expects it in a register.
const fn signed(value: i32) -> usize {
    (value as isize).cast_unsigned()
}

/// Results that Linux declares as int or pid_t.
fn int(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// exit_group: ends the process.
pub fn exit(status: u8) -> ! {
    let _ = call(number::EXIT_GROUP, [usize::from(status), 0, 0]);
    unreachable!("exit_group returned");
}

/// This process's pid.
pub fn getpid() -> i32 {
    call(number::GETPID, [0; 3]).map_or(0, int)
}

/// The parent's pid.
pub fn getppid() -> i32 {
    call(number::GETPPID, [0; 3]).map_or(0, int)
}

/// What fork returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// In the parent: the child's pid.
    Parent(i32),
    /// In the child: zero.
    Child,
}

/// A second process that goes on from here.
pub fn fork() -> Result<Fork, Errno> {
    Ok(match call(number::FORK, [0; 3])? {
        0 => Fork::Child,
        pid => Fork::Parent(int(pid)),
    })
}

/// Arguments, or environment strings, at most.
const MAX_STRINGS: usize = 15;

/// Another program in this process; returns only if that failed. At most fifteen strings each.
pub fn execve(path: &CStr, arguments: &[&CStr], environment: &[&CStr]) -> Errno {
    let arguments = pointers(arguments);
    let environment = pointers(environment);
    match call(
        number::EXECVE,
        [
            path.as_ptr().addr(),
            arguments.as_ptr().addr(),
            environment.as_ptr().addr(),
        ],
    ) {
        Err(error) => error,
        Ok(_) => unreachable!("execve returned"),
    }
}

fn pointers(strings: &[&CStr]) -> [*const c_char; MAX_STRINGS + 1] {
    let mut pointers = [core::ptr::null(); MAX_STRINGS + 1];
    assert!(
        strings.len() <= MAX_STRINGS,
        "execve: more than {MAX_STRINGS} strings"
    );
    for (pointer, string) in pointers.iter_mut().zip(strings) {
        *pointer = string.as_ptr();
    }
    pointers
}

/// A wait status word, as wait(2) gives it and its macros take it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitStatus(pub u32);

impl WaitStatus {
    /// WIFEXITED and WEXITSTATUS.
    pub fn exited(self) -> Option<u32> {
        (self.0 & 0x7f == 0).then_some(self.0 >> 8 & 0xff)
    }

    /// WIFSIGNALED and WTERMSIG.
    pub fn killed(self) -> Option<u32> {
        let signal = self.0 & 0x7f;
        (signal != 0 && signal != 0x7f).then_some(signal)
    }
}

/// wait4 for one child until it ends, which is then reaped.
pub fn wait(pid: i32) -> Result<WaitStatus, Errno> {
    let mut status = 0_u32;
    // SAFETY: the kernel writes the four bytes of `status`.
    unsafe {
        syscall(
            number::WAIT4,
            [signed(pid), (&raw mut status).addr(), 0, 0, 0],
        )?
    };
    Ok(WaitStatus(status))
}

/// What waitid says of a child: the fields of siginfo_t that it fills.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ChildInfo {
    signal: i32,
    errno: i32,
    /// How it ended: CLD_EXITED (1), CLD_KILLED (2), CLD_DUMPED (3).
    pub code: i32,
    padding: i32,
    /// The child.
    pub pid: i32,
    uid: u32,
    /// Exit status or signal.
    pub status: i32,
    rest: [u32; 25],
}

const _: () = assert!(size_of::<ChildInfo>() == 128);

/// waitid for one child. `options`: [`WEXITED`], [`WNOWAIT`].
pub fn waitid(pid: i32, options: i32) -> Result<ChildInfo, Errno> {
    const P_PID: usize = 1;
    let mut info = ChildInfo::default();
    // SAFETY: the kernel writes at most a siginfo_t, 128 bytes, to `info`.
    unsafe {
        syscall(
            number::WAITID,
            [
                P_PID,
                signed(pid),
                (&raw mut info).addr(),
                signed(options),
                0,
            ],
        )?
    };
    Ok(info)
}

/// Sends a signal; 0 only asks whether that process exists.
pub fn kill(pid: i32, signal: i32) -> Result<(), Errno> {
    call(number::KILL, [signed(pid), signed(signal), 0]).map(drop)
}

/// Reads at most `buffer.len()` bytes; 0 at the end of the file.
pub fn read(fd: i32, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most buffer.len() bytes to it.
    unsafe {
        syscall(
            number::READ,
            [signed(fd), buffer.as_mut_ptr().addr(), buffer.len(), 0, 0],
        )
    }
}

/// Writes all of it, in as many write calls as that takes.
pub fn write_all(fd: i32, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let written = call(
            number::WRITE,
            [signed(fd), bytes.as_ptr().addr(), bytes.len()],
        )?;
        bytes = &bytes[written..];
    }
    Ok(())
}

/// Closes a descriptor.
pub fn close(fd: i32) -> Result<(), Errno> {
    call(number::CLOSE, [signed(fd), 0, 0]).map(drop)
}

/// A pipe's two ends.
#[derive(Clone, Copy, Debug)]
pub struct Pipe {
    /// Descriptor to read from.
    pub reader: i32,
    /// Descriptor to write to.
    pub writer: i32,
}

/// A new pipe.
pub fn pipe() -> Result<Pipe, Errno> {
    let mut fds = [0_i32; 2];
    // SAFETY: the kernel writes two ints.
    unsafe { syscall(number::PIPE, [fds.as_mut_ptr().addr(), 0, 0, 0, 0])? };
    Ok(Pipe {
        reader: fds[0],
        writer: fds[1],
    })
}

/// Opens for reading. `flags`: [`O_DIRECTORY`] or 0.
pub fn open(path: &CStr, flags: i32) -> Result<i32, Errno> {
    call(
        number::OPENAT,
        [AT_FDCWD, path.as_ptr().addr(), signed(flags)],
    )
    .map(int)
}

/// linux_dirent64 records of a directory; returns their bytes, 0 at the end.
pub fn getdents64(fd: i32, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes at most buffer.len() bytes to it.
    unsafe {
        syscall(
            number::GETDENTS64,
            [signed(fd), buffer.as_mut_ptr().addr(), buffer.len(), 0, 0],
        )
    }
}

/// struct stat of x86-64.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Stat {
    pub dev: u64,
    pub ino: u64,
    pub nlink: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    padding: u32,
    pub rdev: u64,
    pub size: i64,
    pub blksize: i64,
    pub blocks: i64,
    pub atime: [i64; 2],
    pub mtime: [i64; 2],
    pub ctime: [i64; 2],
    reserved: [i64; 3],
}

const _: () = assert!(size_of::<Stat>() == 144);

/// newfstatat of a path, below a directory's descriptor if there is one. Symbolic links are not followed.
pub fn lstat(directory: Option<i32>, path: &CStr) -> Result<Stat, Errno> {
    const AT_SYMLINK_NOFOLLOW: usize = 0x100;
    let mut stat = Stat::default();
    let directory = directory.map_or(AT_FDCWD, signed);
    let arguments = [
        directory,
        path.as_ptr().addr(),
        (&raw mut stat).addr(),
        AT_SYMLINK_NOFOLLOW,
        0,
    ];
    // SAFETY: the kernel writes one struct stat.
    unsafe { syscall(number::NEWFSTATAT, arguments)? };
    Ok(stat)
}

/// The target of a symbolic link; returns its bytes, cut off at `buffer.len()`.
pub fn readlink(directory: Option<i32>, path: &CStr, buffer: &mut [u8]) -> Result<usize, Errno> {
    let directory = directory.map_or(AT_FDCWD, signed);
    let arguments = [
        directory,
        path.as_ptr().addr(),
        buffer.as_mut_ptr().addr(),
        buffer.len(),
        0,
    ];
    // SAFETY: the kernel writes at most buffer.len() bytes to it.
    unsafe { syscall(number::READLINKAT, arguments) }
}

/// Asks forkvm's host side to print which page frame `address` is in, read from this process's page
/// tables by the VMM. ENOSYS on Linux.
pub fn observe<T: ?Sized>(address: *const T) -> Result<(), Errno> {
    call(number::FORKVM_OBSERVE, [address.addr(), 0, 0]).map(drop)
}
