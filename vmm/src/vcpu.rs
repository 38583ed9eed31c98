//! The virtual CPU, started in 64-bit mode with everything in place.
//!
//! In:  the kernel's entry point and tables (symbols of its image), the features of the CPUID table.
//! Out: a vCPU whose first instruction is the kernel's boot self-test, in ring 3, interrupts off.
//!
//! No firmware, no mode switches: KVM_SET_SREGS describes the final state (Intel SDM vol. 3, 3.4 for the segments).

use crate::cpuid::Features;
use crate::embedded::BootSymbols;
use crate::kvm::{KvmError, failed};
use forkvm_abi::boot::feature;
use forkvm_abi::layout::{KERNEL_STACK_TOP, LAPIC_GPA, MONITOR_PML4_GPA, selector, vector};
use kvm_bindings::{
    CpuId, Msrs, kvm_dtable, kvm_lapic_state, kvm_msr_entry, kvm_regs, kvm_segment, kvm_sregs,
    kvm_xcr, kvm_xcrs,
};
use kvm_ioctls::{VcpuFd, VmFd};
use std::io;
use std::os::fd::AsRawFd;

/// CR0: PE, MP, ET, NE, WP, AM, PG.
const CR0: u64 = 1 | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 16 | 1 << 18 | 1 << 31;
/// CR4: PAE, OSFXSR, OSXMMEXCPT; features add to it.
const CR4: u64 = 1 << 5 | 1 << 9 | 1 << 10;
const CR4_UMIP: u64 = 1 << 11;
const CR4_FSGSBASE: u64 = 1 << 16;
const CR4_OSXSAVE: u64 = 1 << 18;
const CR4_SMEP: u64 = 1 << 20;
const CR4_SMAP: u64 = 1 << 21;
/// EFER: SCE, LME, LMA, NXE.
const EFER: u64 = 1 | 1 << 8 | 1 << 10 | 1 << 11;
/// IA32_APIC_BASE: enabled, bootstrap processor, at its usual place.
const APIC_BASE: u64 = LAPIC_GPA | 1 << 11 | 1 << 8;
/// RFLAGS with nothing set; bit 1 always reads as one. Interrupts are off.
const RFLAGS: u64 = 1 << 1;
/// Flags that `syscall` clears: TF, IF, DF, IOPL, NT, AC.
const SYSCALL_MASK: u64 = 1 << 8 | 1 << 9 | 1 << 10 | 3 << 12 | 1 << 14 | 1 << 18;

const MSR_STAR: u32 = 0xc000_0081;
const MSR_LSTAR: u32 = 0xc000_0082;
const MSR_SYSCALL_MASK: u32 = 0xc000_0084;
const MSR_KERNEL_GS_BASE: u32 = 0xc000_0102;

/// `_IOW(KVMIO, 0xe1, struct kvm_device_attr)`, linux/kvm.h. kvm-ioctls offers it for Arm's vCPUs only.
const KVM_SET_DEVICE_ATTR: libc::c_ulong = 0x4018_aee1;

/// Creates the vCPU and loads its first state.
pub fn create(
    vm: &VmFd,
    table: &CpuId,
    features: &Features,
    entry: u64,
    symbols: &BootSymbols,
) -> Result<VcpuFd, KvmError> {
    let vcpu = vm.create_vcpu(0).map_err(failed("KVM_CREATE_VCPU"))?;
    vcpu.set_cpuid2(table).map_err(failed("KVM_SET_CPUID2"))?;
    vcpu.set_sregs(&special_registers(features, symbols))
        .map_err(failed("KVM_SET_SREGS"))?;
    if features.xcr0 != 0 {
        vcpu.set_xcrs(&extended_control(features.xcr0))
            .map_err(failed("KVM_SET_XCRS"))?;
    }
    set_msrs(&vcpu, symbols)?;
    vcpu.set_lapic(&local_apic())
        .map_err(failed("KVM_SET_LAPIC"))?;
    // As after a call: rsp is 8 below a multiple of 16.
    let registers = kvm_regs {
        rip: entry,
        rsp: KERNEL_STACK_TOP - 8,
        rflags: RFLAGS,
        ..Default::default()
    };
    vcpu.set_regs(&registers).map_err(failed("KVM_SET_REGS"))?;
    use_host_tsc(&vcpu);
    Ok(vcpu)
}

/// Segments, tables, control registers.
fn special_registers(features: &Features, symbols: &BootSymbols) -> kvm_sregs {
    let data = user_segment(selector::USER_SS, 0x3, 0);
    let optional = [
        (feature::FSGSBASE, CR4_FSGSBASE),
        (feature::XSAVE, CR4_OSXSAVE),
        (feature::SMEP, CR4_SMEP),
        (feature::SMAP, CR4_SMAP),
        (feature::UMIP, CR4_UMIP),
    ];
    let cr4 = optional
        .iter()
        .filter(|(bit, _)| features.bits & bit != 0)
        .fold(CR4, |cr4, (_, bit)| cr4 | bit);
    kvm_sregs {
        cs: user_segment(selector::RING3_KERNEL_CS, 0xb, 1),
        ds: data,
        es: data,
        fs: data,
        gs: kvm_segment {
            base: symbols.per_cpu,
            ..data
        },
        ss: data,
        tr: kvm_segment {
            base: symbols.monitor_tss,
            limit: 0x67,
            selector: selector::TSS,
            type_: 0xb,
            present: 1,
            ..Default::default()
        },
        ldt: kvm_segment {
            type_: 0x2,
            unusable: 1,
            ..Default::default()
        },
        gdt: table(symbols.monitor_gdt, symbols.monitor_gdt_end),
        idt: table(symbols.monitor_idt, symbols.monitor_idt_end),
        cr0: CR0,
        cr3: MONITOR_PML4_GPA,
        cr4,
        efer: EFER,
        apic_base: APIC_BASE,
        ..Default::default()
    }
}

/// A flat segment of ring 3; `long` is 1 for 64-bit code.
fn user_segment(selector: u16, type_: u8, long: u8) -> kvm_segment {
    kvm_segment {
        limit: 0xffff_ffff,
        selector,
        type_,
        present: 1,
        dpl: 3,
        db: 1 - long,
        s: 1,
        l: long,
        g: 1,
        ..Default::default()
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the GDT and IDT are a few hundred bytes"
)]
fn table(start: u64, end: u64) -> kvm_dtable {
    kvm_dtable {
        base: start,
        limit: (end - start - 1) as u16,
        padding: [0; 3],
    }
}

fn extended_control(xcr0: u64) -> kvm_xcrs {
    let mut registers = kvm_xcrs {
        nr_xcrs: 1,
        ..Default::default()
    };
    registers.xcrs[0] = kvm_xcr {
        xcr: 0,
        reserved: 0,
        value: xcr0,
    };
    registers
}

fn set_msrs(vcpu: &VcpuFd, symbols: &BootSymbols) -> Result<(), KvmError> {
    let entry = |index, data| kvm_msr_entry {
        index,
        reserved: 0,
        data,
    };
    let entries = [
        entry(MSR_STAR, selector::STAR),
        entry(MSR_LSTAR, symbols.boot_lstar),
        entry(MSR_SYSCALL_MASK, SYSCALL_MASK),
        entry(MSR_KERNEL_GS_BASE, 0),
    ];
    let msrs = Msrs::from_entries(&entries).expect("four entries fit");
    match vcpu.set_msrs(&msrs) {
        Ok(written) if written == entries.len() => Ok(()),
        Ok(_) => Err(KvmError::Capability("a system-call MSR")),
        Err(error) => Err(failed("KVM_SET_MSRS")(error)),
    }
}

/// A local APIC in xAPIC mode that needs no set-up by the guest: enabled, timer one-shot with
/// divider 1, everything else masked (Intel SDM vol. 3, table 11-1).
fn local_apic() -> kvm_lapic_state {
    const MASKED: u32 = 1 << 16;
    const ENABLED: u32 = 1 << 8;
    const DIVIDE_BY_1: u32 = 0b1011;
    let mut state = kvm_lapic_state::default();
    let mut set = |offset: usize, value: u32| {
        for (byte, slot) in value.to_le_bytes().iter().zip(&mut state.regs[offset..]) {
            *slot = byte.cast_signed();
        }
    };
    set(0xe0, u32::MAX); // destination format: flat
    set(0xf0, ENABLED | u32::from(vector::SPURIOUS));
    set(0x320, u32::from(vector::TIMER));
    for masked in [0x330, 0x340, 0x350, 0x360, 0x370] {
        set(masked, MASKED); // thermal, performance, LINT0, LINT1, error
    }
    set(0x3e0, DIVIDE_BY_1);
    state
}

/// Makes the guest's TSC the host's, with no offset: one time scale for the VMM, the guest's
/// ring 0 and, on software-assisted KVM, ring 3, where RDTSC is never intercepted.
/// A KVM without the attribute keeps an offset of its own, and wall-clock time in the guest would be off by it.
fn use_host_tsc(vcpu: &VcpuFd) {
    let offset: i64 = 0;
    let attribute = kvm_bindings::kvm_device_attr {
        group: kvm_bindings::KVM_VCPU_TSC_CTRL,
        attr: u64::from(kvm_bindings::KVM_VCPU_TSC_OFFSET),
        addr: std::ptr::from_ref(&offset) as u64,
        flags: 0,
    };
    // SAFETY: (1) the descriptor is a vCPU's; (2) KVM reads the attribute and the offset behind it before it returns.
    if unsafe { libc::ioctl(vcpu.as_raw_fd(), KVM_SET_DEVICE_ATTR, &raw const attribute) } != 0 {
        log::warn!(
            "the guest's clock may be off: KVM keeps an offset between its TSC and the host's: {}",
            io::Error::last_os_error()
        );
    }
}
