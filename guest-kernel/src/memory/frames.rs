//! Page frames with reference counts.

use super::address::Frame;
use super::phys::PhysWindow;
use forkvm_abi::boot::BootInfo;
use forkvm_abi::inspect::FrameUse;

/// All RAM the kernel may hand out, and the window to reach it.
#[derive(Debug)]
pub struct Frames {
    /// The door to the bytes of frames.
    pub window: PhysWindow,
}

/// No frame is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfFrames;

impl Frames {
    /// Puts the frame table (inspect::FrameRecord, 8 bytes a frame, low then high RAM) at `boot.free_start` and takes all RAM
    /// behind it. Touches no frame that is not in use: fresh RAM is zero. Reads of the table pages that were never
    /// written are zero too, so start-up does not depend on the size of RAM.
    pub fn new(window: PhysWindow, boot: &BootInfo) -> Self {
        let _ = boot;
        Self { window }
    }

    /// A frame with count 1; its bytes are zero.
    pub fn allocate_zeroed(&mut self, usage: FrameUse) -> Result<Frame, OutOfFrames> {
        let _ = usage;
        todo!()
    }

    /// A frame with count 1 whose bytes are whatever they were: the caller overwrites all of it.
    pub fn allocate(&mut self, usage: FrameUse) -> Result<Frame, OutOfFrames> {
        let _ = usage;
        todo!()
    }

    /// One more reference. Frames outside RAM (the root image) are not counted.
    pub fn share(&mut self, frame: Frame) {
        let _ = frame;
        todo!()
    }

    /// One reference less; the last frees the frame.
    pub fn release(&mut self, frame: Frame) {
        let _ = frame;
        todo!()
    }

    /// References of a frame of RAM; `None` for one outside (the root image): never owned, always copied on write.
    pub fn references(&self, frame: Frame) -> Option<u32> {
        let _ = frame;
        todo!()
    }

    /// Frames that can still be had.
    pub fn available(&self) -> u64 {
        todo!()
    }

    /// The shared frame of zeros; mapped read-only, never freed.
    pub fn zero_frame(&self) -> Frame {
        todo!()
    }
}
