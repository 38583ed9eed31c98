//! Processes: their table, how they are made, replaced, stopped, ended and waited for.
//!
//! `task` is the record and `thread_group` what threads share, parenthood included; `pid` hands
//! out numbers, `scheduler` picks who runs. `init` makes the first two, `clone` all others (an
//! inheritance list); `exec` replaces a program, with `elf` and `script` reading what it is given;
//! `signal` interrupts; `futex` lets threads wait for each other; `exit` ends; `wait` reaps. `group` keeps process groups and sessions,
//! `credentials`, `limits` and `usage` what a process is, may have and has had.

pub mod clone;
pub mod credentials;
pub mod elf;
pub mod exec;
pub mod exit;
pub mod futex;
pub mod group;
pub mod init;
pub mod limits;
pub mod pid;
pub mod scheduler;
pub mod script;
pub mod signal;
pub mod task;
pub mod thread_group;
pub mod usage;
pub mod wait;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
