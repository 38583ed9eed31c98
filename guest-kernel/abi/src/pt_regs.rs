//! The register set of a process, in Linux's `struct pt_regs` order.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// User registers as they were at the last entry into the kernel
/// (Linux: arch/x86/include/asm/ptrace.h). `orig_rax` holds the system-call number
/// during a system call, -1 after an interrupt or exception.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[allow(missing_docs)]
pub struct PtRegs {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub orig_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

const _: () = assert!(size_of::<PtRegs>() == 21 * 8);
