//! The system calls: one line each, by number (Linux: arch/x86/entry/syscalls/syscall_64.tbl).
//!
//! A number that is not here gets ENOSYS and, with -v, a line in the log.

use super::{Handler, file, memory, process, signal, system, time};

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
    // number  name            handler
      9 => mmap               memory::sys_mmap;
     10 => mprotect           memory::sys_mprotect;
     11 => munmap             memory::sys_munmap, frees;
     12 => brk                memory::sys_brk;
     25 => mremap             memory::sys_mremap;
     26 => msync              memory::sys_msync;
     27 => mincore            memory::sys_mincore;
     28 => madvise            memory::sys_madvise;
     35 => nanosleep          time::sys_nanosleep;
     63 => uname              system::sys_uname, frees;
     96 => gettimeofday       time::sys_gettimeofday, frees;
     99 => sysinfo            system::sys_sysinfo;
    100 => times              time::sys_times;
    158 => arch_prctl         system::sys_arch_prctl;
    164 => settimeofday       time::sys_clock_settime;
    170 => sethostname        system::sys_sethostname;
    171 => setdomainname      system::sys_sethostname;
    201 => time               time::sys_time, frees;
    227 => clock_settime      time::sys_clock_settime;
    228 => clock_gettime      time::sys_clock_gettime, frees;
    229 => clock_getres       time::sys_clock_getres;
    230 => clock_nanosleep    time::sys_clock_nanosleep;
    318 => getrandom          system::sys_getrandom, frees;
}

/// The call with a number, if it is implemented.
#[inline]
pub fn lookup(number: u64) -> Option<&'static Call> {
    CALLS.get(usize::try_from(number).ok()?)?.as_ref()
}

/// All calls that are implemented, by number.
pub fn implemented() -> impl Iterator<Item = (usize, &'static Call)> {
    CALLS.iter().enumerate().filter_map(|(number, call)| Some((number, call.as_ref()?)))
}

/// The name of any call of Linux, for the log.
pub fn name(number: u64) -> &'static str {
    usize::try_from(number).ok().and_then(syscalls::Sysno::new).map_or("unknown to Linux too", |call| call.name())
}
