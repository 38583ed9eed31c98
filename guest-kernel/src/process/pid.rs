//! Replaced by the real thing.
