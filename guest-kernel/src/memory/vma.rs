//! The regions of an address space, in address order, readable by the VMM.
//! Replaced by the real thing.
