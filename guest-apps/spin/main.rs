//! spin [CHILDREN]: keeps the CPU busy for ever, in this process and as many children as it is told to make.
//! For watching the scheduler from the host, and for --timeout.
#![no_std]
#![no_main]

use rt::syscall::{Fork, fork, getpid};
use rt::{Program, eprintln, println};

rt::entry!(main);

fn main(program: &Program) -> u8 {
    let children = match program
        .arguments()
        .nth(1)
        .map(|count| count.to_str().unwrap_or("").parse())
    {
        None => 0,
        Some(Ok(count)) => count,
        Some(Err(_)) => {
            eprintln!("usage: spin [CHILDREN]");
            return 2;
        }
    };
    for _ in 0..children {
        match fork() {
            Ok(Fork::Child) => break,
            Ok(Fork::Parent(_)) => {}
            Err(error) => eprintln!("spin: fork: {error}"),
        }
    }
    println!("pid {} spins", getpid());
    loop {
        core::hint::spin_loop();
    }
}
