//! What the guest can reach outside of its RAM.
//!
//! `doorbell` takes requests apart and checks them, `console` moves bytes.

pub mod console;
pub mod doorbell;
