//! Copies an address space for fork(2): frames are shared, both sides become read-only.

use super::frames::{Frames, OutOfFrames};
use super::space::AddressSpace;

impl AddressSpace {
    /// The child's space. On failure nothing is left behind and `self` works as before (pages may have
    /// become copy-on-write, which the next write undoes).
    pub fn fork(&mut self, frames: &mut Frames) -> Result<Self, OutOfFrames> {
        let _ = frames;
        todo!()
    }
}
