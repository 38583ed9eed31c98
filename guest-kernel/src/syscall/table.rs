//! The system calls: one line each, by number (Linux: arch/x86/entry/syscalls/syscall_64.tbl).
//!
//! A number that is not here gets ENOSYS and, with -v, a line in the log.

use super::{
    Handler, file, futex, identity, kill, limits, memory, prctl, process, signal, system, time,
};

/// A system call that is implemented.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// As in man section 2.
    pub name: &'static str,
    /// What it runs.
    pub handler: Handler,
    /// Served even when kernel memory is short: it ends something, gives something back, or needs none.
    pub frees: bool,
}

/// One more than the highest number in the table.
const COUNT: usize = 462;

macro_rules! syscall_table {
    ($($number:literal => $name:ident $handler:path $(, $frees:ident)?;)*) => {
        static CALLS: [Option<Call>; COUNT] = {
            let mut calls = [None; COUNT];
            $(calls[$number] = Some(Call { name: stringify!($name), handler: $handler, frees: syscall_table!(@ $($frees)?) });)*
            calls
        };
    };
    (@ frees) => { true };
    (@) => { false };
}

syscall_table! {
    // number  name, handler
      0 => read                   file::sys_read, frees;
      1 => write                  file::sys_write, frees;
      2 => open                   file::sys_open;
      3 => close                  file::sys_close, frees;
      4 => stat                   file::sys_stat;
      5 => fstat                  file::sys_fstat;
      6 => lstat                  file::sys_lstat;
      7 => poll                   file::sys_poll;
      8 => lseek                  file::sys_lseek;
      9 => mmap                   memory::sys_mmap;
     10 => mprotect               memory::sys_mprotect;
     11 => munmap                 memory::sys_munmap, frees;
     12 => brk                    memory::sys_brk;
     13 => rt_sigaction           signal::sys_rt_sigaction, frees;
     14 => rt_sigprocmask         signal::sys_rt_sigprocmask, frees;
     15 => rt_sigreturn           signal::sys_rt_sigreturn, frees;
     16 => ioctl                  file::sys_ioctl;
     17 => pread64                file::sys_pread64;
     18 => pwrite64               file::sys_pwrite64;
     19 => readv                  file::sys_readv, frees;
     20 => writev                 file::sys_writev, frees;
     21 => access                 file::sys_access;
     22 => pipe                   file::sys_pipe;
     23 => select                 file::sys_select;
     24 => sched_yield            limits::sys_sched_yield, frees;
     25 => mremap                 memory::sys_mremap;
     26 => msync                  memory::sys_msync;
     27 => mincore                memory::sys_mincore;
     28 => madvise                memory::sys_madvise;
     32 => dup                    file::sys_dup;
     33 => dup2                   file::sys_dup2;
     34 => pause                  signal::sys_pause, frees;
     35 => nanosleep              time::sys_nanosleep;
     39 => getpid                 identity::sys_getpid, frees;
     40 => sendfile               file::sys_sendfile;
     56 => clone                  process::sys_clone;
     57 => fork                   process::sys_fork;
     58 => vfork                  process::sys_vfork;
     59 => execve                 process::sys_execve;
     60 => exit                   process::sys_exit, frees;
     61 => wait4                  process::sys_wait4, frees;
     62 => kill                   kill::sys_kill, frees;
     63 => uname                  system::sys_uname, frees;
     72 => fcntl                  file::sys_fcntl;
     74 => fsync                  file::sys_fsync;
     75 => fdatasync              file::sys_fsync;
     76 => truncate               file::sys_truncate;
     77 => ftruncate              file::sys_ftruncate;
     78 => getdents               file::sys_getdents;
     79 => getcwd                 file::sys_getcwd;
     80 => chdir                  file::sys_chdir;
     81 => fchdir                 file::sys_fchdir;
     82 => rename                 file::sys_rename;
     83 => mkdir                  file::sys_mkdir;
     84 => rmdir                  file::sys_rmdir;
     85 => creat                  file::sys_creat;
     86 => link                   file::sys_link;
     87 => unlink                 file::sys_unlink;
     88 => symlink                file::sys_symlink;
     89 => readlink               file::sys_readlink;
     90 => chmod                  file::sys_chmod;
     91 => fchmod                 file::sys_fchmod;
     92 => chown                  file::sys_chown;
     93 => fchown                 file::sys_fchown;
     94 => lchown                 file::sys_lchown;
     95 => umask                  file::sys_umask;
     96 => gettimeofday           time::sys_gettimeofday, frees;
     97 => getrlimit              limits::sys_getrlimit;
     98 => getrusage              limits::sys_getrusage;
     99 => sysinfo                system::sys_sysinfo;
    100 => times                  time::sys_times;
    102 => getuid                 identity::sys_getuid, frees;
    104 => getgid                 identity::sys_getgid, frees;
    105 => setuid                 identity::sys_setuid;
    106 => setgid                 identity::sys_setgid;
    107 => geteuid                identity::sys_geteuid, frees;
    108 => getegid                identity::sys_getegid, frees;
    109 => setpgid                identity::sys_setpgid;
    110 => getppid                identity::sys_getppid, frees;
    111 => getpgrp                identity::sys_getpgrp, frees;
    112 => setsid                 identity::sys_setsid;
    113 => setreuid               identity::sys_setreuid;
    114 => setregid               identity::sys_setregid;
    115 => getgroups              identity::sys_getgroups;
    116 => setgroups              identity::sys_setgroups;
    117 => setresuid              identity::sys_setresuid;
    118 => getresuid              identity::sys_getresuid;
    119 => setresgid              identity::sys_setresgid;
    120 => getresgid              identity::sys_getresgid;
    121 => getpgid                identity::sys_getpgid, frees;
    122 => setfsuid               identity::sys_setfsuid;
    123 => setfsgid               identity::sys_setfsgid;
    124 => getsid                 identity::sys_getsid, frees;
    125 => capget                 prctl::sys_capget;
    126 => capset                 prctl::sys_capset;
    127 => rt_sigpending          signal::sys_rt_sigpending, frees;
    128 => rt_sigtimedwait        signal::sys_rt_sigtimedwait;
    129 => rt_sigqueueinfo        kill::sys_rt_sigqueueinfo;
    130 => rt_sigsuspend          signal::sys_rt_sigsuspend, frees;
    131 => sigaltstack            signal::sys_sigaltstack;
    132 => utime                  file::sys_utime;
    133 => mknod                  file::sys_mknod;
    135 => personality            prctl::sys_personality;
    137 => statfs                 file::sys_statfs;
    138 => fstatfs                file::sys_fstatfs;
    140 => getpriority            limits::sys_getpriority;
    141 => setpriority            limits::sys_setpriority;
    142 => sched_setparam         limits::sys_sched_setparam;
    143 => sched_getparam         limits::sys_sched_getparam;
    144 => sched_setscheduler     limits::sys_sched_setscheduler;
    145 => sched_getscheduler     limits::sys_sched_getscheduler;
    146 => sched_get_priority_max limits::sys_sched_get_priority_max;
    147 => sched_get_priority_min limits::sys_sched_get_priority_min;
    148 => sched_rr_get_interval  limits::sys_sched_rr_get_interval;
    157 => prctl                  prctl::sys_prctl;
    158 => arch_prctl             system::sys_arch_prctl;
    160 => setrlimit              limits::sys_setrlimit;
    161 => chroot                 file::sys_chroot;
    162 => sync                   file::sys_sync;
    164 => settimeofday           time::sys_clock_settime;
    170 => sethostname            system::sys_sethostname;
    171 => setdomainname          system::sys_sethostname;
    186 => gettid                 identity::sys_gettid, frees;
    188 => setxattr               file::sys_no_xattr;
    189 => lsetxattr              file::sys_no_xattr;
    190 => fsetxattr              file::sys_no_xattr;
    191 => getxattr               file::sys_no_xattr;
    192 => lgetxattr              file::sys_no_xattr;
    193 => fgetxattr              file::sys_no_xattr;
    194 => listxattr              file::sys_no_xattr;
    195 => llistxattr             file::sys_no_xattr;
    196 => flistxattr             file::sys_no_xattr;
    197 => removexattr            file::sys_no_xattr;
    198 => lremovexattr           file::sys_no_xattr;
    199 => fremovexattr           file::sys_no_xattr;
    200 => tkill                  kill::sys_tkill, frees;
    201 => time                   time::sys_time, frees;
    202 => futex                  futex::sys_futex, frees;
    203 => sched_setaffinity      limits::sys_sched_setaffinity;
    204 => sched_getaffinity      limits::sys_sched_getaffinity;
    217 => getdents64             file::sys_getdents64;
    218 => set_tid_address        prctl::sys_set_tid_address, frees;
    221 => fadvise64              file::sys_fadvise64;
    227 => clock_settime          time::sys_clock_settime;
    228 => clock_gettime          time::sys_clock_gettime, frees;
    229 => clock_getres           time::sys_clock_getres;
    230 => clock_nanosleep        time::sys_clock_nanosleep;
    231 => exit_group             process::sys_exit_group, frees;
    234 => tgkill                 kill::sys_tgkill, frees;
    235 => utimes                 file::sys_utimes;
    247 => waitid                 process::sys_waitid, frees;
    257 => openat                 file::sys_openat;
    258 => mkdirat                file::sys_mkdirat;
    259 => mknodat                file::sys_mknodat;
    260 => fchownat               file::sys_fchownat;
    261 => futimesat              file::sys_futimesat;
    262 => newfstatat             file::sys_newfstatat;
    263 => unlinkat               file::sys_unlinkat;
    264 => renameat               file::sys_renameat;
    265 => linkat                 file::sys_linkat;
    266 => symlinkat              file::sys_symlinkat;
    267 => readlinkat             file::sys_readlinkat;
    268 => fchmodat               file::sys_fchmodat;
    269 => faccessat              file::sys_faccessat;
    270 => pselect6               file::sys_pselect6;
    271 => ppoll                  file::sys_ppoll;
    273 => set_robust_list        prctl::sys_set_robust_list;
    274 => get_robust_list        prctl::sys_get_robust_list;
    275 => splice                 file::sys_splice;
    280 => utimensat              file::sys_utimensat;
    285 => fallocate              file::sys_fallocate;
    292 => dup3                   file::sys_dup3;
    293 => pipe2                  file::sys_pipe2;
    295 => preadv                 file::sys_preadv;
    296 => pwritev                file::sys_pwritev;
    297 => rt_tgsigqueueinfo      kill::sys_rt_tgsigqueueinfo;
    302 => prlimit64              limits::sys_prlimit64;
    306 => syncfs                 file::sys_syncfs;
    309 => getcpu                 prctl::sys_getcpu;
    316 => renameat2              file::sys_renameat2;
    318 => getrandom              system::sys_getrandom, frees;
    319 => memfd_create           file::sys_memfd_create;
    322 => execveat               process::sys_execveat;
    326 => copy_file_range        file::sys_copy_file_range;
    327 => preadv2                file::sys_preadv2;
    328 => pwritev2               file::sys_pwritev2;
    332 => statx                  file::sys_statx;
    435 => clone3                 process::sys_clone3;
    436 => close_range            file::sys_close_range;
    437 => openat2                file::sys_openat2;
    439 => faccessat2             file::sys_faccessat2;
    452 => fchmodat2              file::sys_fchmodat2;
}

/// The call with a number, if it is implemented.
#[inline]
pub fn lookup(number: u64) -> Option<&'static Call> {
    CALLS.get(usize::try_from(number).ok()?)?.as_ref()
}

/// All calls that are implemented, by number.
pub fn implemented() -> impl Iterator<Item = (usize, &'static Call)> {
    CALLS
        .iter()
        .enumerate()
        .filter_map(|(number, call)| Some((number, call.as_ref()?)))
}

/// The name of any call of Linux, for the log.
pub fn name(number: u64) -> &'static str {
    usize::try_from(number)
        .ok()
        .and_then(syscalls::Sysno::new)
        .map_or("unknown to Linux too", |call| call.name())
}
