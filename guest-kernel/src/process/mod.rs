//! Processes: their table, how they are made, replaced, stopped, ended and waited for.
//!
//! `task` is the record, `pid` hands out numbers, `scheduler` picks who runs, `clone` makes
//! (an inheritance list), `exec` and `elf` replace, `signal` interrupts, `exit` ends,
//! `wait` reaps, `group` keeps process groups and sessions.

pub mod clone;
pub mod elf;
pub mod exec;
pub mod exit;
pub mod group;
pub mod pid;
pub mod scheduler;
pub mod signal;
pub mod task;
pub mod wait;
