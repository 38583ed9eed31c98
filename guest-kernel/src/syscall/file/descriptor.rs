//! close(2), dup(2), fcntl(2), pipe(2) and others that deal in descriptors.

use super::{Completion, DONE, SyscallResult, count, value};
use crate::arena::Id;
use crate::errno::Errno;
use crate::fs::OpenFile;
use crate::fs::file::FileKind;
use crate::kernel::Kernel;
use crate::process::task::TaskId;
use crate::syscall::Args;
use linux_raw_sys::general as uapi;
use linux_raw_sys::general::{O_APPEND, O_CLOEXEC, O_DIRECT, O_NOATIME, O_NONBLOCK, O_PATH};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Flags that F_SETFL changes.
const SETTABLE: u32 = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME;

/// close_range(2): the caller gets a table of its own first.
const CLOSE_RANGE_UNSHARE: u32 = 1 << 1;
/// close_range(2): mark for close-on-exec instead of closing.
const CLOSE_RANGE_CLOEXEC: u32 = 1 << 2;

/// struct flock (fcntl_locking(2)).
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Lock {
    kind: i16,
    whence: i16,
    padding: u32,
    start: i64,
    len: i64,
    pid: i32,
    padding2: u32,
}

const _: () = assert!(size_of::<Lock>() == size_of::<uapi::flock>());

/// close(2).
pub fn sys_close(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    kernel.fs.close(kernel.table(task), args.int(0))?;
    kernel.fs.give_back_frames(&mut kernel.frames);
    DONE
}

/// close_range(2). CLOSE_RANGE_UNSHARE would unshare a table that threads share.
pub fn sys_close_range(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let (first, last, flags) = (args.uint(0), args.uint(1), args.uint(2));
    if first > last || flags & !(CLOSE_RANGE_CLOEXEC | CLOSE_RANGE_UNSHARE) != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & CLOSE_RANGE_UNSHARE != 0 {
        let shared = kernel.table(task);
        if kernel.fs.tables.references(shared) > 1 {
            kernel.tasks[task].files = Some(kernel.fs.copy_table(shared));
            kernel.fs.release_table(shared);
        }
    }
    let table = kernel.table(task);
    let end = i32::try_from(kernel.fs.tables[table].end()).expect("at most MAX_DESCRIPTORS");
    for fd in i32::try_from(first).unwrap_or(end)
        ..end.min(i32::try_from(last).map_or(end, |last| last.saturating_add(1)))
    {
        // Numbers that are not open are no error here.
        let _ = if flags & CLOSE_RANGE_CLOEXEC != 0 {
            kernel.fs.tables[table].set_close_on_exec(fd, true)
        } else {
            kernel.fs.close(table, fd)
        };
    }
    kernel.fs.give_back_frames(&mut kernel.frames);
    DONE
}

/// dup(2).
pub fn sys_dup(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let (table, limit) = (kernel.table(task), kernel.descriptor_limit(task));
    value(kernel.fs.duplicate(table, args.int(0), 0, false, limit)?)
}

/// dup2(2).
pub fn sys_dup2(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let (from, to) = (args.int(0), args.int(1));
    if from == to {
        kernel.fs.tables[kernel.table(task)].get(from)?;
        return value(to);
    }
    duplicate_to(kernel, task, from, to, false)
}

/// dup3(2).
pub fn sys_dup3(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let (from, to, flags) = (args.int(0), args.int(1), args.uint(2));
    if flags & !O_CLOEXEC != 0 || from == to {
        return Err(Errno::EINVAL);
    }
    duplicate_to(kernel, task, from, to, flags & O_CLOEXEC != 0)
}

fn duplicate_to(
    kernel: &mut Kernel,
    task: TaskId,
    from: i32,
    to: i32,
    close_on_exec: bool,
) -> SyscallResult {
    let (table, limit) = (kernel.table(task), kernel.descriptor_limit(task));
    let fd = kernel
        .fs
        .duplicate_to(table, from, to, close_on_exec, limit)?;
    kernel.fs.give_back_frames(&mut kernel.frames);
    value(fd)
}

/// pipe(2).
pub fn sys_pipe(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    make_pipe(kernel, task, args.0[0], 0)
}

/// pipe2(2).
pub fn sys_pipe2(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    make_pipe(kernel, task, args.0[0], args.uint(1))
}

fn make_pipe(kernel: &mut Kernel, task: TaskId, address: u64, flags: u32) -> SyscallResult {
    if flags & !(O_CLOEXEC | O_NONBLOCK | O_DIRECT) != 0 {
        return Err(Errno::EINVAL);
    }
    let (table, limit) = (kernel.table(task), kernel.descriptor_limit(task));
    let (read_end, write_end) = kernel.fs.make_pipe(table, flags, limit)?;
    let told = kernel.user(task).write(address, &[read_end, write_end]);
    if told.is_err() {
        kernel.fs.close(table, read_end)?;
        kernel.fs.close(table, write_end)?;
    }
    told?;
    DONE
}

/// fcntl(2).
pub fn sys_fcntl(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let (fd, command, argument) = (args.int(0), args.uint(1), args.uint(2));
    let table = kernel.table(task);
    let descriptor = kernel.fs.tables[table].get(fd)?;
    let id = descriptor.file;
    match command {
        uapi::F_DUPFD | uapi::F_DUPFD_CLOEXEC => {
            let limit = kernel.descriptor_limit(task);
            if argument >= limit {
                return Err(Errno::EINVAL);
            }
            value(kernel.fs.duplicate(
                table,
                fd,
                argument,
                command == uapi::F_DUPFD_CLOEXEC,
                limit,
            )?)
        }
        uapi::F_DUPFD_QUERY => value(i32::from(
            kernel.fs.tables[table].get(args.int(2))?.file == id,
        )),
        uapi::F_GETFD => value(i32::from(descriptor.close_on_exec)),
        uapi::F_SETFD => {
            kernel.fs.tables[table].set_close_on_exec(fd, argument & uapi::FD_CLOEXEC != 0)?;
            DONE
        }
        uapi::F_GETFL => Ok(Completion::Value(u64::from(kernel.fs.files[id].flags))),
        // A descriptor that is only a name allows no more than this.
        _ if kernel.fs.files[id].flags & O_PATH != 0 => Err(Errno::EBADF),
        uapi::F_SETFL => {
            let flags = &mut kernel.fs.files[id].flags;
            *flags = *flags & !SETTABLE | argument & SETTABLE;
            DONE
        }
        uapi::F_GETLK
        | uapi::F_SETLK
        | uapi::F_SETLKW
        | uapi::F_OFD_GETLK
        | uapi::F_OFD_SETLK
        | uapi::F_OFD_SETLKW => record_lock(kernel, task, id, command, args.0[2]),
        uapi::F_GET_SEALS => {
            let seals = kernel.fs.seals(kernel.fs.files[id].inode)?;
            Ok(Completion::Value(u64::from(seals)))
        }
        uapi::F_ADD_SEALS => {
            kernel.fs.add_seals(id, argument)?;
            DONE
        }
        uapi::F_GETPIPE_SZ => count(kernel.fs.pipe_of(id).ok_or(Errno::EBADF)?.capacity()),
        uapi::F_SETPIPE_SZ => {
            let capacity = kernel.fs.resize_pipe(id, u64::from(argument))?;
            count(capacity)
        }
        uapi::F_SETOWN | uapi::F_SETSIG | uapi::F_GETOWN | uapi::F_GETSIG => DONE,
        _ => Err(Errno::EINVAL),
    }
}

/// Record locks. No file can be open for writing yet, so only read locks are granted and none conflicts.
fn record_lock(
    kernel: &mut Kernel,
    task: TaskId,
    id: Id<OpenFile>,
    command: u32,
    address: u64,
) -> SyscallResult {
    let mut lock: Lock = kernel.user(task).read(address)?;
    let file = &kernel.fs.files[id];
    match (command, u32::from(lock.kind.cast_unsigned())) {
        (_, kind) if kind > uapi::F_UNLCK => Err(Errno::EINVAL),
        (uapi::F_GETLK | uapi::F_OFD_GETLK, uapi::F_RDLCK | uapi::F_WRLCK) => {
            lock.kind = i16::try_from(uapi::F_UNLCK).expect("a small number");
            kernel.user(task).write(address, &lock)?;
            DONE
        }
        (uapi::F_GETLK | uapi::F_OFD_GETLK, _) => Err(Errno::EINVAL),
        (_, uapi::F_RDLCK) if !file.readable() => Err(Errno::EBADF),
        (_, uapi::F_WRLCK) if !file.writable() => Err(Errno::EBADF),
        _ => DONE,
    }
}

/// fsync(2), fdatasync(2): nothing is ever behind. EINVAL for what cannot be synchronised.
pub fn sys_fsync(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let id = kernel.fs.file(kernel.table(task), args.int(0))?;
    match kernel.fs.files[id].kind {
        FileKind::Regular | FileKind::Directory => DONE,
        _ => Err(Errno::EINVAL),
    }
}

/// syncfs(2): only the descriptor is looked at.
pub fn sys_syncfs(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    kernel.fs.file(kernel.table(task), args.int(0))?;
    DONE
}

/// sync(2).
pub fn sys_sync(_kernel: &mut Kernel, _task: TaskId, _args: &Args) -> SyscallResult {
    DONE
}

/// posix_fadvise(2) (fadvise64): advice about a cache that there is none of.
pub fn sys_fadvise64(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let id = kernel.fs.file(kernel.table(task), args.int(0))?;
    match kernel.fs.files[id].kind {
        FileKind::Pipe(_) | FileKind::Console(_) => Err(Errno::ESPIPE),
        _ if args.0[2].cast_signed() < 0 || args.uint(3) > uapi::POSIX_FADV_NOREUSE => {
            Err(Errno::EINVAL)
        }
        _ => DONE,
    }
}

impl Kernel {
    /// How many descriptors the caller may have: RLIMIT_NOFILE.
    pub fn descriptor_limit(&self, task: TaskId) -> u32 {
        let limits = &self.groups[self.tasks[task].group].limits;
        u32::try_from(limits.soft(uapi::RLIMIT_NOFILE)).unwrap_or(u32::MAX)
    }
}
