//! Where the compiled test programs are.

use std::env;
use std::path::{Path, PathBuf};

/// The folder: `FORKVM_TEST_PROGRAMS`, or where `build.rs` put them.
pub fn folder() -> PathBuf {
    env::var_os("FORKVM_TEST_PROGRAMS").map_or_else(
        || PathBuf::from(env!("FORKVM_TEST_PROGRAMS_BUILT")),
        PathBuf::from,
    )
}

/// A program by name: `fork` (C), `fork-pie`, `fork-musl`, `asm-fork`, `rust-std`.
pub fn program(name: &str) -> PathBuf {
    let path = folder().join(name);
    assert!(
        path.exists(),
        "there is no test program {}; cargo test builds them",
        path.display()
    );
    path
}

/// A program that is there only if the machine has what it takes to make or to run it; a message otherwise.
pub fn optional(path: impl AsRef<Path>, package: &str) -> Option<PathBuf> {
    let path = folder().join(path);
    if !path.exists() {
        eprintln!("skipped: {} is missing (package {package})", path.display());
        return None;
    }
    Some(path)
}
