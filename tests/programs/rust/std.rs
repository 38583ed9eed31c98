//! The standard library's idea of processes: Command, pipes to children, exit codes, environment, panics.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio, exit};

const SELF: &str = "/proc/self/exe";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("status") => status(),
        Some("output") => output(),
        Some("pipe") => pipe(),
        Some("environment") => environment(),
        Some("missing") => missing(),
        Some("panic") => panic!("on purpose"),
        Some("allocate") => allocate(),
        Some("exit") => exit(arguments[2].parse().unwrap()),
        Some("kill") => std::process::abort(),
        Some("shout") => shout(),
        Some("show") => println!("{:?} {:?}", &arguments[2..], std::env::var("GREETING")),
        _ => exit(96),
    }
}

fn status() {
    for code in ["0", "7", "255"] {
        let status = Command::new(SELF).args(["exit", code]).status().unwrap();
        println!("{status}, code {:?}", status.code());
    }
    let status = Command::new(SELF).arg("kill").status().unwrap();
    println!("signal {:?}", status.signal());
}

fn output() {
    let output = Command::new(SELF).args(["show", "a", "b c"]).env("GREETING", "hi").output().unwrap();
    println!("{:?}", String::from_utf8_lossy(&output.stdout));
    let output = Command::new(SELF).arg("panic").output().unwrap();
    println!("{} {}", output.status, output.stderr.len() > 10);
}

fn pipe() {
    let mut child = Command::new(SELF).arg("shout").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"one two three").unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    println!("{text} {}", child.wait().unwrap());
}

fn shout() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    print!("{}", text.to_uppercase());
}

fn environment() {
    let status = Command::new(SELF).args(["show"]).env_clear().env("GREETING", "only this").status().unwrap();
    println!("{status}");
}

fn missing() {
    println!("{}", Command::new("/no/such/program").spawn().unwrap_err());
}

fn allocate() {
    let mut blocks: Vec<Vec<u8>> = (1..200).map(|size| vec![size as u8; size * 1000]).collect();
    blocks.retain(|block| block.len() % 3000 == 0);
    let sum: usize = blocks.iter().flatten().map(|&byte| usize::from(byte)).sum();
    println!("{} blocks, sum {sum}", blocks.len());
}
