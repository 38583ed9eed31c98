//! The `forkvm` command. Everything is in the library; start reading there.

fn main() {
    let status = forkvm::cli::main(std::env::args_os());
    // Straight to the kernel: nothing is buffered any more, and what the VM holds goes faster with the process.
    std::process::exit(status.into());
}
