//! forkdemo: what fork does, shown by the processes themselves, step by step.
//!
//! Every line comes from ring 3 and says which process wrote it, except those that start with `host:`.
//! These the VMM prints when a process asks for it ([`observe`]): it reads that process's page tables and says
//! which page frame an address is in. On Linux itself there is no such call, and the lines are missing.
//!
//! Who speaks when is settled by pipes and by wait, never by time: the output is the same in every run.
#![no_std]
#![no_main]

mod ends;
mod exec;
mod steps;
mod turns;
mod variable;

use rt::syscall::{Errno, exit};
use rt::{Program, eprintln, println};

rt::entry!(main);

fn main(_: &Program) -> u8 {
    match demonstrate() {
        Ok(()) => 0,
        Err(error) => failed(error),
    }
}

fn demonstrate() -> Result<(), Errno> {
    println!("forkdemo: what fork() does, in seven steps.");
    println!(
        "Each line says which process wrote it. Lines with `host:` come from outside the virtual"
    );
    println!("machine: the VMM looks up the address in that process's page tables.");
    steps::one_process()?;
    steps::two_returns()?;
    ends::statuses()?;
    ends::orphan()?;
    ends::zombie()?;
    println!();
    println!(
        "That was fork: one call, two returns, shared pages until one side writes, and a parent"
    );
    println!("who waits. `forkvm run --help` says how to run your own static programs.");
    Ok(())
}

fn failed(error: Errno) -> u8 {
    eprintln!("forkdemo: {error}");
    1
}

/// What a child does from its fork to its end.
fn run_child(child: impl FnOnce() -> Result<u8, Errno>) -> ! {
    exit(child().unwrap_or_else(failed))
}
