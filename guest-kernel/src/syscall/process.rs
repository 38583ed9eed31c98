//! Making, replacing, ending and waiting for processes.

use super::{Args, Completion, SyscallResult, WaitChannel};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::clone::CloneRequest;
use crate::process::exec::{Arguments, ExecRequest, Source};
use crate::process::exit::exited_with;
use crate::process::pid::PID_MAX;
use crate::process::task::{Progress, TaskId};
use crate::process::wait::{Report, WaitOutcome, WaitRequest, Which};
use linux_raw_sys::general as uapi;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// CSIGNAL: the bits of clone(2)'s flags that are the exit signal.
const SIGNAL_BITS: u64 = 0xff;
/// Bits of clone3's flags without a meaning: all behind CLONE_INTO_CGROUP.
const UNKNOWN_FLAGS: u64 = !((uapi::CLONE_INTO_CGROUP << 1) - 1);
/// Signals a child may send when it ends.
const SIGNAL_MAX: u64 = 64;

/// fork(2).
pub fn sys_fork(kernel: &mut Kernel, task: TaskId, _: &Args) -> SyscallResult {
    clone(kernel, task, &CloneRequest::fork())
}

/// vfork(2).
pub fn sys_vfork(kernel: &mut Kernel, task: TaskId, _: &Args) -> SyscallResult {
    clone(kernel, task, &CloneRequest::vfork())
}

/// clone(2): flags and exit signal in one word, stack, parent_tid, child_tid, tls.
pub fn sys_clone(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let [flags, stack, parent_tid, child_tid, tls, _] = args.0;
    let flags = flags & u64::from(u32::MAX);
    let exit_signal = u32::try_from(flags & SIGNAL_BITS).unwrap_or_default();
    let request = CloneRequest {
        flags: flags & !SIGNAL_BITS,
        exit_signal,
        stack,
        tls,
        parent_tid,
        child_tid,
        wanted_pid: None,
    };
    clone(kernel, task, &request)
}

/// `struct clone_args`, all versions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const _: () = assert!(size_of::<CloneArgs>() == uapi::CLONE_ARGS_SIZE_VER2 as usize);

/// clone3(2).
pub fn sys_clone3(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let wanted = read_clone_args(kernel, task, args.0[0], args.0[1])?;
    let forbidden = SIGNAL_BITS | u64::from(uapi::CLONE_DETACHED) | UNKNOWN_FLAGS;
    let stack_is_whole = (wanted.stack == 0) == (wanted.stack_size == 0);
    let stack_top = wanted
        .stack
        .checked_add(wanted.stack_size)
        .ok_or(Errno::EINVAL)?;
    let to_parent = u64::from(uapi::CLONE_THREAD | uapi::CLONE_PARENT);
    if wanted.flags & forbidden != 0
        || wanted.exit_signal > SIGNAL_MAX
        || (wanted.flags & to_parent != 0 && wanted.exit_signal != 0)
        || !stack_is_whole
    {
        return Err(Errno::EINVAL);
    }
    let request = CloneRequest {
        flags: wanted.flags,
        exit_signal: u32::try_from(wanted.exit_signal).map_err(|_| Errno::EINVAL)?,
        stack: stack_top,
        tls: wanted.tls,
        parent_tid: wanted.parent_tid,
        child_tid: wanted.child_tid,
        wanted_pid: read_wanted_pid(kernel, task, &wanted)?,
    };
    clone(kernel, task, &request)
}

/// A structure of another version: shorter ones are filled up with zeros, longer ones must be zero behind the
/// part that is known, else E2BIG (copy_struct_from_user).
fn read_clone_args(
    kernel: &mut Kernel,
    task: TaskId,
    address: u64,
    size: u64,
) -> Result<CloneArgs, Errno> {
    let known = size_of::<CloneArgs>() as u64;
    if size > forkvm_abi::PAGE_SIZE {
        return Err(Errno::E2BIG);
    }
    if size < u64::from(uapi::CLONE_ARGS_SIZE_VER0) {
        return Err(Errno::EINVAL);
    }
    let mut user = kernel.user(task);
    let mut rest_is_zero = true;
    let rest = size.saturating_sub(known);
    user.with_bytes(address.wrapping_add(known), rest, |piece| {
        rest_is_zero &= piece.iter().all(|byte| *byte == 0)
    })?;
    if !rest_is_zero {
        return Err(Errno::E2BIG);
    }
    let mut wanted = CloneArgs::default();
    let len = usize::try_from(size.min(known)).map_err(|_| Errno::EINVAL)?;
    user.read_bytes(address, &mut wanted.as_mut_bytes()[..len])?;
    Ok(wanted)
}

/// set_tid: one pid, as there is one pid namespace.
fn read_wanted_pid(
    kernel: &mut Kernel,
    task: TaskId,
    wanted: &CloneArgs,
) -> Result<Option<u32>, Errno> {
    match (wanted.set_tid, wanted.set_tid_size) {
        (0, 0) => Ok(None),
        (0, _) | (_, 0) | (_, 2..) => Err(Errno::EINVAL),
        (address, _) => {
            let pid: i32 = kernel.user(task).read(address)?;
            u32::try_from(pid)
                .ok()
                .filter(|pid| (1..PID_MAX).contains(pid))
                .map(Some)
                .ok_or(Errno::EINVAL)
        }
    }
}

/// What all of them come to. A vfork parent waits until the child has let go of its memory; this handler then runs again.
fn clone(kernel: &mut Kernel, task: TaskId, request: &CloneRequest) -> SyscallResult {
    match kernel.tasks[task].progress {
        Progress::Done(pid) => return Ok(Completion::Value(pid)),
        Progress::Vfork(_) => return PARK_FOR_CHILD,
        _ => {}
    }
    let child = kernel.clone_task(task, request)?;
    if request.has(uapi::CLONE_VFORK) {
        kernel.start_vfork_wait(task, child);
        return PARK_FOR_CHILD;
    }
    Ok(Completion::Value(u64::from(kernel.tasks[child].record.pid)))
}

const PARK_FOR_CHILD: SyscallResult = Ok(Completion::Park {
    channel: WaitChannel::KernelClone,
    deadline: None,
});

/// execve(2).
pub fn sys_execve(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let name = kernel.read_path(task, args.0[0])?;
    let inode = kernel.find_program(task, &name)?;
    let arguments = Arguments::new(Source::User(args.0[1]), Source::User(args.0[2]));
    kernel.execute(
        task,
        ExecRequest {
            inode,
            name: name.into(),
            arguments,
        },
    )?;
    Ok(Completion::Registers)
}

/// execveat(2): dirfd, path, argv, envp, flags.
pub fn sys_execveat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let (dirfd, flags) = (args.int(0), args.uint(4));
    if flags & !(uapi::AT_EMPTY_PATH | uapi::AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL);
    }
    let path = kernel.read_path(task, args.0[1])?;
    let inode = kernel.resolve_at(task, dirfd, &path, flags)?;
    if flags & uapi::AT_SYMLINK_NOFOLLOW != 0
        && kernel
            .fs
            .metadata(inode)
            .is(forkvm_abi::image::mode::S_IFLNK)
    {
        return Err(Errno::ELOOP);
    }
    let name = match (dirfd, path.as_slice()) {
        (uapi::AT_FDCWD, _) | (_, [b'/', ..]) => path,
        (fd, []) => alloc::format!("/dev/fd/{fd}").into_bytes(),
        (fd, _) => [alloc::format!("/dev/fd/{fd}/").as_bytes(), &path].concat(),
    };
    let arguments = Arguments::new(Source::User(args.0[2]), Source::User(args.0[3]));
    kernel.execute(
        task,
        ExecRequest {
            inode,
            name: name.into(),
            arguments,
        },
    )?;
    Ok(Completion::Registers)
}

/// exit(2) of one thread.
pub fn sys_exit(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    kernel.end_thread(task, exited_with(args.uint(0)));
    Ok(Completion::Registers)
}

/// exit_group(2).
pub fn sys_exit_group(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    kernel.exit_process(task, exited_with(args.uint(0)));
    Ok(Completion::Registers)
}

const COMMON_WAIT_OPTIONS: u32 = uapi::WNOHANG | uapi::__WNOTHREAD | uapi::__WCLONE | uapi::__WALL;

/// wait4(2): pid, status, options, rusage.
pub fn sys_wait4(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let options = args.uint(2);
    if options & !(COMMON_WAIT_OPTIONS | uapi::WUNTRACED | uapi::WCONTINUED) != 0 {
        return Err(Errno::EINVAL);
    }
    let which = match args.int(0) {
        i32::MIN => return Err(Errno::ESRCH),
        -1 => Which::All,
        0 => Which::Group(kernel.tasks[task].record.pgid),
        pid if pid < 0 => Which::Group(pid.unsigned_abs()),
        pid => Which::Process(pid.unsigned_abs()),
    };
    let Some(report) = wait(
        kernel,
        task,
        &WaitRequest {
            which,
            options: options | uapi::WEXITED,
        },
    )?
    else {
        return not_yet(kernel, task, options);
    };
    if args.0[1] != 0 {
        kernel.user(task).write(args.0[1], &report.status)?;
    }
    write_usage(kernel, task, args.0[3], &report)?;
    Ok(Completion::Value(u64::from(report.pid)))
}

/// `siginfo_t` as waitid fills it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
struct WaitInfo {
    signal: u32,
    errno: u32,
    code: i32,
    padding: u32,
    pid: u32,
    uid: u32,
    status: u32,
}

/// waitid(2): idtype, id, infop, options, rusage.
pub fn sys_waitid(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let (id, options) = (args.int(1), args.uint(3));
    let kinds = uapi::WEXITED | uapi::WSTOPPED | uapi::WCONTINUED;
    if options & !(COMMON_WAIT_OPTIONS | kinds | uapi::WNOWAIT) != 0 || options & kinds == 0 {
        return Err(Errno::EINVAL);
    }
    let which = match args.uint(0) {
        uapi::P_ALL => Which::All,
        uapi::P_PID if id > 0 => Which::Process(id.unsigned_abs()),
        uapi::P_PGID if id == 0 => Which::Group(kernel.tasks[task].record.pgid),
        uapi::P_PGID if id > 0 => Which::Group(id.unsigned_abs()),
        uapi::P_PIDFD if id >= 0 => return Err(Errno::EBADF),
        _ => return Err(Errno::EINVAL),
    };
    let outcome = wait(kernel, task, &WaitRequest { which, options });
    if outcome == Ok(None) && options & uapi::WNOHANG == 0 {
        return not_yet(kernel, task, options);
    }
    // Like Linux, the structure is written, with zeros, even if there was nothing to report.
    let mut info = WaitInfo::default();
    if let Ok(Some(report)) = &outcome {
        write_usage(kernel, task, args.0[4], report)?;
        (info.signal, info.code, info.pid, info.status) =
            (uapi::SIGCHLD, report.code, report.pid, report.value);
    }
    if args.0[2] != 0 {
        kernel.user(task).write(args.0[2], &info)?;
    }
    outcome.map(|_| Completion::Value(0))
}

/// Looks once; `None`: nothing yet.
fn wait(kernel: &mut Kernel, task: TaskId, request: &WaitRequest) -> Result<Option<Report>, Errno> {
    Ok(match kernel.look_for_child(task, request)? {
        WaitOutcome::Report(report) => Some(report),
        WaitOutcome::NothingYet => None,
    })
}

/// No child has anything to report: 0 with WNOHANG, else the caller sleeps.
fn not_yet(kernel: &mut Kernel, task: TaskId, options: u32) -> SyscallResult {
    if options & uapi::WNOHANG != 0 {
        return Ok(Completion::Value(0));
    }
    kernel.wait_for_child(task);
    Ok(Completion::Park {
        channel: WaitChannel::DoWait,
        deadline: None,
    })
}

fn write_usage(
    kernel: &mut Kernel,
    task: TaskId,
    address: u64,
    report: &Report,
) -> Result<(), Errno> {
    if address == 0 {
        return Ok(());
    }
    let usage = report.usage.to_rusage(&kernel.clock);
    kernel.user(task).write(address, &usage)
}
