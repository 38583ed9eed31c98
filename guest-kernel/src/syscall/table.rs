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
