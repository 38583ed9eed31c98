//! Builds the Kernel. Replaced by the real thing.
