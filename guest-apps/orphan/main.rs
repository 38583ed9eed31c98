//! orphan: a child outlives its parent and says who its parent is before and after.
//!
//! Pipes put everything in order. The orphan learns that its parent is gone when `gone` closes: the first process
//! closes it after it has waited for that parent. (The parent's own end of a pipe would not do: an ending process
//! closes its files before its children get their new parent.) The first process ends when `done` closes, which
//! then only the orphan holds.
#![no_std]
#![no_main]

use rt::syscall::{Errno, Fork, Pipe, close, exit, fork, getpid, getppid, pipe, read, wait};
use rt::{Program, eprintln, println};

rt::entry!(main);

fn main(_: &Program) -> u8 {
    if let Err(error) = leave_an_orphan() {
        eprintln!("orphan: {error}");
        return 1;
    }
    0
}

fn leave_an_orphan() -> Result<(), Errno> {
    let (gone, done) = (pipe()?, pipe()?);
    let Fork::Parent(middle) = fork()? else {
        exit(end_before_the_child(gone).is_err().into());
    };
    close(done.writer)?;
    wait(middle)?;
    close(gone.writer)?;
    read(done.reader, &mut [0])?;
    Ok(())
}

/// The process between: makes a child, waits for its first line, ends.
fn end_before_the_child(gone: Pipe) -> Result<(), Errno> {
    close(gone.writer)?;
    let said = pipe()?;
    let Fork::Parent(_) = fork()? else {
        println!("pid {}: my parent is {}", getpid(), getppid());
        close(said.writer)?;
        close(said.reader)?;
        read(gone.reader, &mut [0])?;
        println!(
            "pid {}: my parent has ended, now it is {}",
            getpid(),
            getppid()
        );
        exit(0);
    };
    close(said.writer)?;
    read(said.reader, &mut [0])?;
    println!("pid {}: I end now, before my child", getpid());
    Ok(())
}
