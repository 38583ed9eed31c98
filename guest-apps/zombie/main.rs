//! zombie: leaves a child unreaped until a byte (or the end) of standard input arrives, then reaps it.
//! For looking at a zombie from the host: `forkvm run zombie` in one terminal, `forkvm ps` in another.
#![no_std]
#![no_main]

use rt::syscall::{Errno, Fork, WEXITED, WNOWAIT, exit, fork, getpid, read, wait, waitid};
use rt::{Program, eprintln, println};

rt::entry!(main);

fn main(_: &Program) -> u8 {
    if let Err(error) = keep_a_zombie() {
        eprintln!("zombie: {error}");
        return 1;
    }
    0
}

fn keep_a_zombie() -> Result<(), Errno> {
    let Fork::Parent(child) = fork()? else {
        exit(3)
    };
    waitid(child, WEXITED | WNOWAIT)?;
    println!(
        "pid {child} is a zombie child of pid {}; press Enter to have it reaped",
        getpid()
    );
    read(0, &mut [0])?;
    let status = wait(child)?;
    println!(
        "pid {child} is reaped: exit status {}",
        status.exited().unwrap_or_default()
    );
    Ok(())
}
