//! Four-level page tables: walk, map, unmap. Replaced by the real thing.
