//! Processes from the outside: programs played by the test, their system calls, and what they see.

mod clone;
mod exec;
mod exit;
mod group;
mod model;
mod signal;
mod wait;
