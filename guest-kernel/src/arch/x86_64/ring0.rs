//! The ring0 platform: the kernel in ring 0, mapped supervisor-only in every address space.

use super::cpu;
use super::monitor::SYSTEM_CALL;
use crate::memory::AddressSpace;
use crate::memory::space::Flush;
use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use forkvm_abi::inspect::ProcessRecord;
use forkvm_abi::layout::{self, selector, vector};
use forkvm_abi::pt_regs::PtRegs;

/// What the entry code reaches through GS.base; `per_cpu` in ring0.S is the one there is.
#[repr(C)]
struct PerCpu {
    /// The user's rsp while `syscall` finds a stack.
    user_rsp: u64,
    /// Where the CPU pushes at the next trap: the end of the running task's pt_regs.
    regs_end: u64,
    /// The kernel's rsp inside ring0_run.
    kernel_rsp: u64,
}

global_asm!(
    include_str!("ring0.S"),
    VECTORS = const vector::COUNT,
    USER_CS = const selector::USER_CS,
    USER_SS = const selector::USER_SS,
    USER_RSP = const core::mem::offset_of!(PerCpu, user_rsp),
    REGS_END = const core::mem::offset_of!(PerCpu, regs_end),
    KERNEL_RSP = const core::mem::offset_of!(PerCpu, kernel_rsp),
    PER_CPU_BYTES = const size_of::<PerCpu>(),
    options(att_syntax)
);

unsafe extern "C" {
    fn ring0_run(regs: *mut PtRegs, use_sysret: u32) -> u32;
    fn ring0_idle() -> u32;
}

/// CR3 that is loaded.
static LOADED: AtomicU64 = AtomicU64::new(layout::RING0_PML4_GPA);

/// Runs the user until its next trap: vector ([`SYSTEM_CALL`] for a system call) and error code.
pub(super) fn run(record: &mut ProcessRecord, space: &mut AddressSpace) -> (u32, u64) {
    let cr3 = space.cr3();
    let flush = core::mem::take(&mut space.pending_flush);
    match flush {
        _ if cr3 != LOADED.load(Relaxed) => load(cr3),
        Flush::All => load(cr3),
        Flush::Page(address) => cpu::invalidate_page(address),
        Flush::None => {}
    }
    let sysret = u32::from(sysret_is_exact(&record.regs));
    // SAFETY: (1) `regs` is valid and its end 16-byte aligned (asserted in abi); (2) the loaded space maps the kernel;
    // (3) rip, cs, ss and rflags are a user's, so that iretq and sysretq cannot fault in ring 0; (4) the C convention is kept.
    let vector = unsafe { ring0_run(&raw mut record.regs, sysret) };
    if vector == SYSTEM_CALL {
        return (vector, 0);
    }
    let error = core::mem::replace(&mut record.regs.orig_rax, u64::MAX);
    (vector, error)
}

/// `sysretq` loads rip from rcx and RFLAGS from r11, faults in ring 0 on a non-canonical rip (Intel), and must not resume a single step.
fn sysret_is_exact(regs: &PtRegs) -> bool {
    const TRAP_OR_RESUME: u64 = 1 << 8 | 1 << 16;
    regs.rcx == regs.rip
        && regs.r11 == regs.rflags
        && regs.rip < layout::USER_END
        && regs.rflags & TRAP_OR_RESUME == 0
}

/// Sleeps until an interrupt; its vector.
pub(super) fn idle() -> u32 {
    // SAFETY: interrupts are on only inside, where their entry code returns to it.
    unsafe { ring0_idle() }
}

/// Leaves a space whose page table is about to be freed. (On the monitor platform none is ever loaded in the kernel.)
pub(super) fn forget(cr3: u64) {
    if LOADED.load(Relaxed) == cr3 {
        load(layout::RING0_PML4_GPA);
    }
}

fn load(cr3: u64) {
    cpu::load_cr3(cr3);
    LOADED.store(cr3, Relaxed);
}
