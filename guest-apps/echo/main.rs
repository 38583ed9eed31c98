//! echo [-n] [WORD...]: writes its arguments with a space between them, and a newline unless told not to.
#![no_std]
#![no_main]

use rt::Program;
use rt::print::{Output, STDOUT};

rt::entry!(main);

fn main(program: &Program) -> u8 {
    let mut words = program
        .arguments()
        .skip(1)
        .map(|word| word.to_bytes())
        .peekable();
    let newline = words.next_if_eq(&&b"-n"[..]).is_none();
    let mut output = Output::new(STDOUT);
    for (index, word) in words.enumerate() {
        output.push(if index == 0 { b"" } else { b" " });
        output.push(word);
    }
    output.push(if newline { b"\n" } else { b"" });
    u8::from(!output.flush())
}
