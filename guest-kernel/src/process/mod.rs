//! Processes: their table, how they are made, replaced, stopped, ended and waited for.
//!
//! `task` is the record, `pid` hands out numbers, `scheduler` picks who runs, `clone` makes
//! (an inheritance list), `exec` and `elf` replace, `signal` interrupts, `exit` ends,
//! `wait` reaps, `group` keeps process groups and sessions.

pub mod clone;
pub mod credentials;
pub mod elf;
pub mod exec;
pub mod exec_stack;
pub mod exit;
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
