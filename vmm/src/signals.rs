//! Signals of the host, and the time limit: what becomes an event for the guest, and what ends the VM.
//!
//! Handlers do all of the work with async-signal-safe means: an atomic bit in guest memory plus an
//! interrupt for the guest, or a stop request plus KVM's `immediate_exit`, which makes the
//! next KVM_RUN return at once, however the signal falls. A stop request is repeated by a timer, so that
//! a system call of the VMM that began a moment too late is interrupted as well.

use crate::host_events::HostEventLine;
use crate::terminal::window_size;
use forkvm_abi::boot::event;
use libc::c_int;
use std::io;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

/// Two Ctrl-C within this time end the VM.
const TWICE_WITHIN: i64 = 1_000_000_000;
/// How often a stop request is repeated.
const REPEAT: Duration = Duration::from_millis(20);

/// Why the VM is to end now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The time limit has passed.
    Timeout,
    /// Ctrl-C twice.
    Interrupted,
}

/// Where the handlers send events; leaked once a process.
static LINE: AtomicPtr<HostEventLine> = AtomicPtr::new(null_mut());
/// `immediate_exit` of the vCPU's `kvm_run`.
static IMMEDIATE_EXIT: AtomicPtr<AtomicU8> = AtomicPtr::new(null_mut());
/// 0, or the number of a [`Stop`] plus one.
static STOP: AtomicU32 = AtomicU32::new(0);
/// Monotonic nanoseconds of the last Ctrl-C.
static LAST_INTERRUPT: AtomicI64 = AtomicI64::new(i64::MIN);

/// What was asked for, if the VM is to end.
pub fn stop_requested() -> Option<Stop> {
    match STOP.load(Ordering::SeqCst) {
        0 => None,
        1 => Some(Stop::Timeout),
        _ => Some(Stop::Interrupted),
    }
}

/// Routes signals to a guest. `immediate_exit` is that field of the vCPU's `kvm_run`.
///
/// # Safety
/// `immediate_exit` and the memory behind `line` stay valid until the process ends.
pub unsafe fn route(line: HostEventLine, immediate_exit: *mut u8) -> io::Result<()> {
    // Handlers may run at any time from now on, so the line is never freed.
    LINE.store(Box::into_raw(Box::new(line)), Ordering::SeqCst);
    IMMEDIATE_EXIT.store(immediate_exit.cast(), Ordering::SeqCst);
    for signal in [
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGHUP,
        libc::SIGWINCH,
    ] {
        if !is_ignored(signal)? {
            install(signal)?;
        }
    }
    // The timer is forkvm's own affair, whatever was inherited.
    install(libc::SIGALRM)?;
    unblock(libc::SIGALRM)?;
    ignore(libc::SIGPIPE)
}

/// Starts the time limit.
pub fn limit_time(limit: Duration) -> io::Result<()> {
    set_timer(limit)
}

/// Keeps all signals away from the calling thread: they are for the one that runs the vCPU.
pub fn block_all() {
    // SAFETY: (1) sigfillset initialises the set; (2) blocking signals in a thread of our own has no other effect.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, null_mut());
    }
}

/// Whoever started forkvm wants the signal ignored (nohup(1), background jobs of a shell script).
fn is_ignored(signal: c_int) -> io::Result<bool> {
    // SAFETY: (1) the structure is ours; (2) asking changes nothing.
    unsafe {
        let mut current: libc::sigaction = std::mem::zeroed();
        check(libc::sigaction(signal, null(), &raw mut current))?;
        Ok(current.sa_sigaction == libc::SIG_IGN)
    }
}

fn unblock(signal: c_int) -> io::Result<()> {
    // SAFETY: (1) sigemptyset initialises the set, which is ours.
    let result = unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, null_mut())
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(result))
    }
}

fn install(signal: c_int) -> io::Result<()> {
    // SAFETY: (1) the structures are ours and initialised; (2) the handler is async-signal-safe (see `handle`).
    unsafe {
        let mut new: libc::sigaction = std::mem::zeroed();
        let handler: extern "C" fn(c_int) = handle;
        new.sa_sigaction = handler as usize;
        check(libc::sigaction(signal, &raw const new, null_mut()))
    }
}

/// A broken pipe is an error of write(2), not the end of the VMM.
fn ignore(signal: c_int) -> io::Result<()> {
    // SAFETY: (1) ignoring a signal runs no code.
    if unsafe { libc::signal(signal, libc::SIG_IGN) } == libc::SIG_ERR {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// The handler: atomics, ioctl, clock_gettime and setitimer, all async-signal-safe in Linux. Preserves errno.
extern "C" fn handle(signal: c_int) {
    // SAFETY: (1) errno's location is valid for the thread that runs the handler.
    let errno = unsafe { *libc::__errno_location() };
    match signal {
        libc::SIGALRM => stop(Stop::Timeout),
        libc::SIGINT if is_second_interrupt() => stop(Stop::Interrupted),
        libc::SIGINT => raise(event::INTERRUPT),
        libc::SIGQUIT => raise(event::QUIT),
        libc::SIGTERM => raise(event::TERMINATE),
        libc::SIGHUP => raise(event::HANGUP),
        libc::SIGWINCH => window_changed(),
        _ => {}
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

fn is_second_interrupt() -> bool {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: (1) the timespec is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let now = now.tv_sec * 1_000_000_000 + now.tv_nsec;
    now.saturating_sub(LAST_INTERRUPT.swap(now, Ordering::SeqCst)) < TWICE_WITHIN
}

/// The first reason counts. Makes KVM_RUN return, and repeats itself until somebody has noticed.
fn stop(reason: Stop) {
    let _ = STOP.compare_exchange(0, reason as u32 + 1, Ordering::SeqCst, Ordering::SeqCst);
    // SAFETY: (1) `route` was given a pointer that stays valid; (2) null before that.
    if let Some(immediate_exit) = unsafe { IMMEDIATE_EXIT.load(Ordering::SeqCst).as_ref() } {
        immediate_exit.store(1, Ordering::SeqCst);
    }
    let _ = set_timer(REPEAT);
}

fn raise(bits: u64) {
    // SAFETY: (1) `route` stored a line that is never freed; (2) null before that.
    if let Some(line) = unsafe { LINE.load(Ordering::SeqCst).as_ref() } {
        line.raise(bits);
    }
}

fn window_changed() {
    // SAFETY: as in `raise`.
    if let Some(line) = unsafe { LINE.load(Ordering::SeqCst).as_ref() } {
        let (rows, columns) = window_size(libc::STDOUT_FILENO);
        line.set_window(rows, columns);
        line.raise(event::WINDOW_CHANGED);
    }
}

/// SIGALRM after `delay`, then again and again.
#[expect(clippy::cast_possible_wrap, reason = "delays are at most a year")]
fn set_timer(delay: Duration) -> io::Result<()> {
    let time = |duration: Duration| libc::timeval {
        tv_sec: duration.as_secs() as i64,
        tv_usec: i64::from(duration.subsec_micros()),
    };
    let timer = libc::itimerval {
        it_interval: time(REPEAT),
        it_value: time(delay.max(Duration::from_micros(1))),
    };
    // SAFETY: (1) the structure is ours and initialised.
    check(unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, null_mut()) })
}

fn check(result: c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
