//! hello: one line and out. The smallest program to start forkvm with, and to time it by.
#![no_std]
#![no_main]

use rt::{Program, println};

rt::entry!(main);

fn main(_: &Program) -> u8 {
    println!("hello from ring 3");
    0
}
