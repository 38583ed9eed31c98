//! false: exits with 1.
#![no_std]
#![no_main]

rt::entry!(main);

fn main(_: &rt::Program) -> u8 {
    1
}
