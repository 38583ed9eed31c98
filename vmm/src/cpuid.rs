//! What the vCPU's CPUID table says, and what the physical CPU lets ring 3 use.
//!
//! The two differ on software-assisted KVM: there CPUID in ring 3 is the physical CPU's.

use forkvm_abi::boot::feature;
use kvm_bindings::{CpuId, kvm_cpuid_entry2};
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

/// State components the kernel saves and restores: x87, SSE, AVX and the three of AVX-512.
/// Not AMX: its state is 8 KiB, and Linux hands it out on request only.
pub const USER_STATES: u64 = 0xe7;
/// The x87 and SSE area and the XSAVE header.
const LEGACY_BYTES: u64 = 512 + 64;

/// The part of CPUID that forkvm decides by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Bits of [`feature`].
    pub bits: u64,
    /// XCR0 to load; 0 without XSAVE.
    pub xcr0: u64,
    /// Bytes of an XSAVE area for it.
    pub xsave_bytes: u64,
    /// CPUID.1:EDX.
    pub hwcap: u64,
}

impl Features {
    /// Reads a table for KVM_SET_CPUID2.
    pub fn of(table: &CpuId) -> Self {
        let find = |function, subleaf| {
            let entries = table.as_slice().iter();
            entries
                .copied()
                .find(|entry| entry.function == function && entry.index == subleaf)
                .unwrap_or_default()
        };
        let (basic, extended) = (find(1, 0), find(7, 0));
        let bit = |register: u32, bit: u32, feature: u64| {
            if register >> bit & 1 == 1 { feature } else { 0 }
        };
        let bits = bit(extended.ebx, 0, feature::FSGSBASE)
            | bit(basic.ecx, 26, feature::XSAVE)
            | bit(find(0xd, 1).eax, 0, feature::XSAVEOPT)
            | bit(extended.ebx, 7, feature::SMEP)
            | bit(extended.ebx, 20, feature::SMAP)
            | bit(extended.ecx, 2, feature::UMIP)
            | bit(find(0x8000_0007, 0).edx, 8, feature::INVARIANT_TSC);
        let states = find(0xd, 0);
        let xcr0 = if bits & feature::XSAVE == 0 {
            0
        } else {
            usable(u64::from(states.edx) << 32 | u64::from(states.eax))
        };
        let component = |number| {
            let entry = find(0xd, number);
            (u64::from(entry.ebx), u64::from(entry.eax))
        };
        let bits = if xcr0 == 0 {
            bits & !(feature::XSAVE | feature::XSAVEOPT)
        } else {
            bits
        };
        Self {
            bits,
            xcr0,
            xsave_bytes: area(xcr0, component),
            hwcap: u64::from(basic.edx),
        }
    }
}

/// XCR0 of the physical CPU and the bytes of its XSAVE area, as far as forkvm handles them; zeros without XSAVE.
pub fn native_states() -> (u64, u64) {
    const OSXSAVE: u32 = 1 << 27;
    if __cpuid(1).ecx & OSXSAVE == 0 {
        return (0, 0);
    }
    // SAFETY: (1) OSXSAVE says that the operating system has enabled XGETBV for user code.
    let enabled = usable(unsafe { xgetbv0() });
    let component = |number| {
        let leaf = __cpuid_count(0xd, number);
        (u64::from(leaf.ebx), u64::from(leaf.eax))
    };
    (enabled, area(enabled, component))
}

/// # Safety
/// CPUID.1:ECX.OSXSAVE is set.
#[target_feature(enable = "xsave")]
unsafe fn xgetbv0() -> u64 {
    // SAFETY: (1) the caller has checked OSXSAVE; (2) XCR0 exists wherever XGETBV does.
    unsafe { _xgetbv(0) }
}

/// The states of `offered` that forkvm handles, without halves of what belongs together
/// (Intel SDM vol. 1, 13.3: XSETBV refuses those).
fn usable(offered: u64) -> u64 {
    const X87_SSE: u64 = 0b11;
    const AVX: u64 = 0b100;
    const AVX512: u64 = 0xe0;
    let mut states = offered & USER_STATES | X87_SSE;
    if states & AVX512 != AVX512 || states & AVX == 0 {
        states &= !AVX512;
    }
    if offered & 1 == 0 { 0 } else { states }
}

/// Bytes of a standard-format XSAVE area: the end of its last component.
fn area(xcr0: u64, component: impl Fn(u32) -> (u64, u64)) -> u64 {
    if xcr0 == 0 {
        return 0;
    }
    let ends = (2..63)
        .filter(|number| xcr0 >> number & 1 == 1)
        .map(|number| {
            let (offset, size) = component(number);
            offset + size
        });
    ends.max().unwrap_or(0).max(LEGACY_BYTES)
}

/// Replaces what the table says about the host's topology: the guest has one CPU, number 0.
pub fn describe_one_cpu(table: &mut CpuId) {
    for entry in table.as_mut_slice() {
        match entry.function {
            // Initial APIC id and number of logical processors.
            1 => entry.ebx = entry.ebx & 0xffff | 1 << 16,
            // x2APIC id, and one logical processor on each level.
            0xb | 0x1f => *entry = one_cpu_level(entry),
            _ => {}
        }
    }
}

fn one_cpu_level(entry: &kvm_cpuid_entry2) -> kvm_cpuid_entry2 {
    kvm_cpuid_entry2 {
        eax: 0,
        ebx: u32::from(entry.ebx != 0),
        edx: 0,
        ..*entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(function: u32, index: u32, [eax, ebx, ecx, edx]: [u32; 4]) -> kvm_cpuid_entry2 {
        kvm_cpuid_entry2 {
            function,
            index,
            eax,
            ebx,
            ecx,
            edx,
            ..Default::default()
        }
    }

    fn table(entries: &[kvm_cpuid_entry2]) -> CpuId {
        CpuId::from_entries(entries).unwrap()
    }

    /// An AVX-512 machine with AMX (bits 17, 18) and PKRU (bit 9).
    fn rich() -> Vec<kvm_cpuid_entry2> {
        vec![
            entry(1, 0, [0, 0x0a10_0800, 1 << 26, 0x1f8b_fbff]),
            entry(7, 0, [0, 1 | 1 << 7 | 1 << 20, 1 << 2, 0]),
            entry(0xb, 0, [1, 2, 0x100, 7]),
            entry(0xd, 0, [0x6_02e7, 0, 0, 0]),
            entry(0xd, 1, [1, 0, 0, 0]),
            entry(0xd, 2, [256, 576, 0, 0]),
            entry(0xd, 5, [64, 1088, 0, 0]),
            entry(0xd, 6, [512, 1152, 0, 0]),
            entry(0xd, 7, [1024, 1664, 0, 0]),
            entry(0xd, 18, [8192, 2816, 0, 0]),
            entry(0x8000_0007, 0, [0, 0, 0, 1 << 8]),
        ]
    }

    #[test]
    fn a_rich_table_gives_all_but_amx() {
        let features = Features::of(&table(&rich()));
        let all = feature::FSGSBASE
            | feature::XSAVE
            | feature::XSAVEOPT
            | feature::SMEP
            | feature::SMAP
            | feature::UMIP
            | feature::INVARIANT_TSC;
        assert_eq!(
            features,
            Features {
                bits: all,
                xcr0: 0xe7,
                xsave_bytes: 2688,
                hwcap: 0x1f8b_fbff
            }
        );
    }

    #[test]
    fn a_poor_table_gives_nothing() {
        assert_eq!(
            Features::of(&table(&[entry(1, 0, [0, 0, 0, 0x78b_fbff])])),
            Features {
                hwcap: 0x78b_fbff,
                ..Features::default()
            }
        );
    }

    #[test]
    fn states_that_belong_together_come_together() {
        for (offered, loaded) in [
            (0b11, 0b11),
            (0b111, 0b111),
            (0x67, 0x7),
            (0xe3, 0x3),
            (0xe7, 0xe7),
            (0b110, 0),
        ] {
            assert_eq!(usable(offered), loaded, "{offered:#x}");
        }
    }

    #[test]
    fn the_smallest_area_holds_the_legacy_part() {
        assert_eq!(area(0b11, |_| unreachable!()), 576);
        assert_eq!(area(0, |_| unreachable!()), 0);
    }

    #[test]
    fn the_guest_sees_one_cpu() {
        let mut table = table(&rich());
        describe_one_cpu(&mut table);
        let find = |function| {
            *table
                .as_slice()
                .iter()
                .find(|entry| entry.function == function)
                .unwrap()
        };
        assert_eq!(find(1).ebx, 0x0001_0800);
        assert_eq!(
            (find(0xb).eax, find(0xb).ebx, find(0xb).ecx, find(0xb).edx),
            (0, 1, 0x100, 0)
        );
    }

    #[test]
    fn this_machines_ring_3_has_a_consistent_area() {
        let (states, bytes) = native_states();
        assert_eq!(states == 0, bytes == 0);
        assert!(states & !USER_STATES == 0 && (states == 0 || bytes >= 576));
    }
}
