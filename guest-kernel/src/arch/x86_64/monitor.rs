//! The monitor platform: the kernel in ring 3 above a ring-0 monitor of a few dozen instructions.
//!
//! On software-assisted KVM ring 0 is emulated, an instruction at a time; ring 3 is native. So the kernel
//! runs in ring 3, in an address space of its own, and only `monitor.S` runs in ring 0. Each way between
//! kernel and user is one trap. The platform works on hardware KVM too, where `syscall` enters `monitor_syscall`.

use super::boot::host_kind;
use crate::memory::AddressSpace;
use crate::memory::space::Flush;
use core::arch::global_asm;
use forkvm_abi::boot::PlatformChoice;
use forkvm_abi::inspect::{HostKind, ProcessRecord};
use forkvm_abi::layout::{self, selector, vector};
use forkvm_abi::pt_regs::PtRegs;

/// Not an exception: `syscall` on hardware KVM.
pub(super) const SYSTEM_CALL: u32 = 0x30;

global_asm!(
    include_str!("monitor.S"),
    MONITOR_PML4 = const layout::MONITOR_PML4_GPA,
    RING0_PML4 = const layout::RING0_PML4_GPA,
    VECTORS = const vector::COUNT,
    RING3_KERNEL_CS = const selector::RING3_KERNEL_CS,
    KERNEL_CS = const selector::KERNEL_CS,
    USER_CS = const selector::USER_CS,
    USER_SS = const selector::USER_SS,
    KERNEL_BASE_LOW = const layout::KERNEL_BASE & 0xffff_ffff,
    KERNEL_STACK_TOP = const layout::KERNEL_STACK_TOP.cast_signed(),
    EMERGENCY_STACK_TOP = const layout::EMERGENCY_STACK_TOP.cast_signed(),
    ALIAS_OFFSET = const ALIAS_OFFSET.cast_signed(),
    CHOICE_RING0 = const PlatformChoice::Ring0 as u32,
    CHOICE_MONITOR = const PlatformChoice::Monitor as u32,
    HOST_HARDWARE = const HostKind::Hardware as u32,
    HOST_SOFTWARE = const HostKind::SoftwareAssisted as u32,
    options(att_syntax)
);

/// From a monitor page's address to the same byte in the direct map, the only place where ring 3 may touch it.
const ALIAS_OFFSET: u64 = layout::DIRECT_MAP_BASE
    .wrapping_add(layout::KERNEL_LOAD_GPA)
    .wrapping_sub(layout::KERNEL_BASE);

unsafe extern "C" {
    fn ring3_run(regs: *mut PtRegs, cr3: u64) -> u32;
    fn ring3_idle() -> u32;
    static ring3_error: u64;
    static mut ring3_started: u32;
    static monitor_cr2: u64;
    static boot_lstar: u8;
}

/// Bits of RFLAGS that ring 3 may set itself: the arithmetic flags, TF, DF, NT, AC, ID, RF.
const USER_RFLAGS: u64 = 0x25_4dd5;
/// Interrupts on; bit 1 is always set.
const FIXED_RFLAGS: u64 = 0x202;

/// Runs the user until its next trap: vector ([`SYSTEM_CALL`] for a system call) and error code.
pub(super) fn run(record: &mut ProcessRecord, space: &mut AddressSpace) -> (u32, u64) {
    // The monitor loads CR3 on every way back: nothing stale survives.
    space.pending_flush = Flush::None;
    // SAFETY: (1) `regs` is valid for the call and nobody else looks at it meanwhile; (2) CR3 names a complete page table that maps
    // the monitor; (3) ring3_run keeps the C calling convention.
    let vector = unsafe { ring3_run(&raw mut record.regs, space.cr3()) };
    let regs = &mut record.regs;
    regs.cs = u64::from(selector::USER_CS);
    regs.ss = u64::from(selector::USER_SS);
    // SAFETY: written by the entry code, read after it, on one vCPU.
    let error = unsafe { (&raw const ring3_error).read_volatile() };
    if vector == SYSTEM_CALL {
        regs.orig_rax = regs.rax;
    } else if vector == 14
        && host_kind() == HostKind::SoftwareAssisted
        && regs.rip == (&raw const boot_lstar).addr() as u64
    {
        // `syscall` put its return address into rcx and RFLAGS into r11, jumped to LSTAR, and faulted there. A program that jumps
        // there itself does no more than make a system call with an rcx and r11 of its choice.
        regs.rip = regs.rcx & (u64::MAX >> 17);
        regs.rflags = regs.r11 & USER_RFLAGS | FIXED_RFLAGS;
        regs.orig_rax = regs.rax;
        return (SYSTEM_CALL, 0);
    }
    (vector, error)
}

/// Sleeps until an interrupt; its vector.
pub(super) fn idle() -> u32 {
    // SAFETY: returns by the interrupt's entry code, which keeps the C calling convention.
    unsafe { ring3_idle() }
}

/// CR2 as the monitor read it at the last page fault.
pub(super) fn fault_address() -> u64 {
    let alias = (&raw const monitor_cr2)
        .addr()
        .wrapping_add(usize::try_from(ALIAS_OFFSET).expect("64-bit"));
    // SAFETY: the direct map shows the monitor's data page, which holds the aligned word.
    unsafe { core::ptr::with_exposed_provenance::<u64>(alias).read_volatile() }
}

/// From now on a fault at LSTAR is a system call, no longer the self-test.
pub(super) fn mark_started() {
    // SAFETY: one vCPU; only the entry code reads it.
    unsafe { (&raw mut ring3_started).write_volatile(1) };
}
