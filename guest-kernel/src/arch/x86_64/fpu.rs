//! Extended register state (x87, SSE, AVX, AVX-512) of tasks, moved only when another task is about to run.
//!
//! The kernel itself never touches these registers. The CPU holds the state of one task, the owner; its area in
//! memory is stale until somebody needs it. Format: XSAVE's standard one (Intel SDM vol. 1, 13.4), or FXSAVE's without XSAVE.

use super::boot;
use alloc::boxed::Box;
use alloc::vec;
use core::arch::global_asm;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

global_asm!(include_str!("fpu.S"), options(att_syntax));

unsafe extern "C" {
    fn fpu_xsave(area: *mut u8, mask: u64);
    fn fpu_xrstor(area: *const u8, mask: u64);
    fn fpu_fxsave(area: *mut u8);
    fn fpu_fxrstor(area: *const u8);
}

/// XSAVE wants 64-byte alignment.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
struct Block([u8; 64]);

/// Bytes of an area without XSAVE.
const FXSAVE_BYTES: usize = 512;
/// FCW after FNINIT; MXCSR after reset (Intel SDM vol. 1, 8.1.5 and 10.2.3).
const INITIAL_FCW: u16 = 0x37f;
const INITIAL_MXCSR: u32 = 0x1f80;
/// Bits of MXCSR that exist; loading others is #GP (Intel SDM vol. 1, 11.6.6).
const MXCSR_BITS: u32 = 0xffff;

/// Whose state the CPU holds.
static OWNER: AtomicPtr<Block> = AtomicPtr::new(core::ptr::null_mut());

/// One task's extended registers.
#[derive(Debug)]
pub struct FpuState {
    area: Box<[Block]>,
}

impl Default for FpuState {
    fn default() -> Self {
        Self::new()
    }
}

impl FpuState {
    /// The state a fresh program starts with.
    pub fn new() -> Self {
        let (_, bytes) = boot::xsave();
        let mut state = Self {
            area: vec![Block([0; 64]); bytes.max(FXSAVE_BYTES).div_ceil(64)].into(),
        };
        state.write_initial();
        state
    }

    /// The child's copy at fork.
    pub fn fork(&mut self) -> Self {
        if !self.is_owner() {
            return Self {
                area: self.area.clone(),
            };
        }
        let mut child = Self {
            area: vec![Block([0; 64]); self.area.len()].into(),
        };
        save(child.area.as_mut_ptr());
        child
    }

    /// Back to what a fresh program starts with (execve).
    pub fn reset(&mut self) {
        self.disown();
        self.area.fill(Block([0; 64]));
        self.write_initial();
    }

    /// Puts the state into the CPU, after saving the state of whom it held before.
    pub fn load(&mut self) {
        if self.is_owner() {
            return;
        }
        let before = OWNER.swap(self.area.as_mut_ptr(), Relaxed);
        if !before.is_null() {
            save(before);
        }
        restore(self.area.as_ptr());
    }

    /// The state as bytes, brought up to date; for signal frames and inspection.
    pub fn bytes(&mut self) -> &[u8] {
        if self.is_owner() {
            save(self.area.as_mut_ptr());
        }
        self.area.as_flattened_bytes()
    }

    /// Length of [`FpuState::bytes`].
    pub fn frame_bytes(&self) -> usize {
        self.area.len() * 64
    }

    /// XCR0: the components that [`FpuState::bytes`] holds; 0: FXSAVE's format.
    pub fn features(&self) -> u64 {
        boot::xsave().0
    }

    /// Takes over a state that `fill` writes, from a program's memory; what the CPU would refuse to load is
    /// corrected. If `fill` fails, the state is a fresh program's.
    pub fn replace<E>(&mut self, fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<(), E> {
        self.disown();
        let area = self.area.as_flattened_bytes_mut();
        let filled = fill(area);
        if filled.is_err() {
            self.reset();
            return filled;
        }
        let (mask, _) = boot::xsave();
        for (byte, allowed) in area[24..28].iter_mut().zip(MXCSR_BITS.to_le_bytes()) {
            *byte &= allowed;
        }
        if let Some(header) = area.get_mut(512..576).filter(|_| mask != 0) {
            for (byte, allowed) in header[..8].iter_mut().zip(mask.to_le_bytes()) {
                *byte &= allowed;
            }
            header[8..].fill(0);
        }
        filled
    }

    fn is_owner(&self) -> bool {
        core::ptr::eq(OWNER.load(Relaxed), self.area.as_ptr())
    }

    /// The CPU's registers are nobody's from now on.
    fn disown(&mut self) {
        if self.is_owner() {
            OWNER.store(core::ptr::null_mut(), Relaxed);
        }
    }

    fn write_initial(&mut self) {
        self.area[0].0[0..2].copy_from_slice(&INITIAL_FCW.to_le_bytes());
        self.area[0].0[24..28].copy_from_slice(&INITIAL_MXCSR.to_le_bytes());
    }
}

impl Drop for FpuState {
    fn drop(&mut self) {
        self.disown();
    }
}

trait Flatten {
    fn as_flattened_bytes(&self) -> &[u8];
    fn as_flattened_bytes_mut(&mut self) -> &mut [u8];
}

impl Flatten for Box<[Block]> {
    fn as_flattened_bytes(&self) -> &[u8] {
        // SAFETY: a Block is 64 bytes without padding.
        unsafe { core::slice::from_raw_parts(self.as_ptr().cast(), self.len() * 64) }
    }

    fn as_flattened_bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; any bytes are a valid Block.
        unsafe { core::slice::from_raw_parts_mut(self.as_mut_ptr().cast(), self.len() * 64) }
    }
}

fn save(area: *mut Block) {
    let (mask, _) = boot::xsave();
    // SAFETY: the area belongs to a living FpuState (Drop disowns), is 64-byte aligned and large enough for `mask`.
    unsafe {
        if mask == 0 {
            fpu_fxsave(area.cast());
        } else {
            fpu_xsave(area.cast(), mask);
        }
    }
}

fn restore(area: *const Block) {
    let (mask, _) = boot::xsave();
    // SAFETY: as in `save`; the area was written by `save` or is the initial state, with a valid header and MXCSR.
    unsafe {
        if mask == 0 {
            fpu_fxrstor(area.cast());
        } else {
            fpu_xrstor(area.cast(), mask);
        }
    }
}
