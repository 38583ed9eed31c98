//! Replaced by the real thing.
fn main() {}
