//! Runs a program on this machine's own Linux, under the conditions it meets in forkvm.

use crate::process::{Finished, run};
use crate::programs::program;
use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;

/// Runs a program to its end. Its environment is PATH and `environment`.
pub fn run_natively<T: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: &[T],
    environment: &[(&str, &str)],
    input: &[u8],
) -> Finished {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/bin")
        .envs(environment.iter().copied());
    // SAFETY: `like_the_guest` only makes system calls, as is required between fork and exec.
    unsafe { command.pre_exec(like_the_guest) };
    run(&mut command, input)
}

/// What forkvm gives its first program: the usual limits, no core dumps, no descriptors beyond the first three,
/// and every signal at its default, whatever the tests were started by (a shell's background job ignores SIGINT).
fn like_the_guest() -> io::Result<()> {
    let limits = [
        (libc::RLIMIT_STACK, 8 << 20),
        (libc::RLIMIT_NOFILE, 1024),
        (libc::RLIMIT_CORE, 0),
    ];
    for (resource, soft) in limits {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: both calls get a pointer to one rlimit.
        unsafe {
            libc::getrlimit(resource, &raw mut limit);
            limit.rlim_cur = soft.min(limit.rlim_max);
            libc::setrlimit(resource, &raw const limit);
        }
    }
    for number in 1..=64 {
        // The C library refuses those it uses itself; they are the system call's affair here.
        let default = [0_u64; 4];
        // SAFETY: a kernel sigaction of zeros is SIG_DFL without flags; nothing is returned.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), 0, 8) };
    }
    // SAFETY: plain numbers. Close-on-exec instead of closing: the standard library's own pipe must survive till then.
    unsafe {
        libc::umask(0o022);
        libc::syscall(
            libc::SYS_close_range,
            3,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
    }
    Ok(())
}

/// Whether this process is root: what a user's limits do can be compared only then.
pub fn is_root() -> bool {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Who adopts orphans on this machine: init, or a service manager nearer by.
pub(crate) fn reaper() -> &'static str {
    static REAPER: OnceLock<String> = OnceLock::new();
    REAPER.get_or_init(|| {
        let told = run_natively(program("orphan"), &["show_reaper"], &[], b"");
        told.errors().trim().to_owned()
    })
}
