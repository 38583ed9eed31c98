//! Single instructions that Rust has no word for.

use super::boot;
use core::arch::asm;
use forkvm_abi::boot::PlatformChoice;
use forkvm_abi::inspect::ProcessRecord;

/// The time-stamp counter.
#[inline]
pub fn tsc() -> u64 {
    // SAFETY: rdtsc is allowed in every ring (CR4.TSD is clear) and has no effect.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// CR2: ring0 platform only.
pub(super) fn cr2() -> u64 {
    let address: u64;
    // SAFETY: reading CR2 in ring 0 has no effect.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
    address
}

/// Loads CR3, which flushes the TLB: ring0 platform only.
pub(super) fn load_cr3(cr3: u64) {
    // SAFETY: callers pass a PML4 that maps the kernel as the present one does.
    unsafe { asm!("mov cr3, {}", in(reg) cr3, options(nostack, preserves_flags)) };
}

/// Drops one page's translations from the TLB: ring0 platform only.
pub(super) fn invalidate_page(address: u64) {
    // SAFETY: invlpg only forgets.
    unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)) };
}

const IA32_FS_BASE: u32 = 0xc000_0100;
const IA32_KERNEL_GS_BASE: u32 = 0xc000_0102;

/// Loads a task's FS.base and GS.base, before it runs after another.
pub fn load_segment_bases(record: &ProcessRecord) {
    if boot::platform() == PlatformChoice::Monitor {
        // SAFETY: CR4.FSGSBASE is set, boot checked it; the kernel at ring 3 uses neither base.
        unsafe {
            asm!("wrfsbase {}", "wrgsbase {}", in(reg) record.fs_base, in(reg) record.gs_base, options(nostack, preserves_flags));
        }
    } else if boot::has_fsgsbase() {
        // SAFETY: ring 0 with CR4.FSGSBASE; the kernel's own GS.base is back when the last swapgs is done.
        unsafe {
            asm!("wrfsbase {}", "swapgs", "wrgsbase {}", "swapgs", in(reg) record.fs_base, in(reg) record.gs_base, options(nostack, preserves_flags));
        }
    } else {
        write_msr(IA32_FS_BASE, record.fs_base);
        write_msr(IA32_KERNEL_GS_BASE, record.gs_base);
    }
}

/// Stores the running task's FS.base and GS.base: programs can change them without a system call (wrfsbase).
pub fn save_segment_bases(record: &mut ProcessRecord) {
    if boot::platform() == PlatformChoice::Monitor {
        // SAFETY: as in `load_segment_bases`.
        unsafe {
            asm!("rdfsbase {}", "rdgsbase {}", out(reg) record.fs_base, out(reg) record.gs_base, options(nomem, nostack, preserves_flags));
        }
    } else if boot::has_fsgsbase() {
        // SAFETY: as in `load_segment_bases`.
        unsafe {
            asm!("rdfsbase {}", "swapgs", "rdgsbase {}", "swapgs", out(reg) record.fs_base, out(reg) record.gs_base, options(nostack, preserves_flags));
        }
    }
    // Without FSGSBASE only arch_prctl changes them, and that keeps the record.
}

fn write_msr(msr: u32, value: u64) {
    #[allow(clippy::cast_possible_truncation, reason = "wrmsr takes the halves")]
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: the two base MSRs take any canonical address; arch_prctl refuses others.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") low, in("edx") high, options(nostack, preserves_flags))
    };
}
