//! First Rust code: takes the self-test's verdict, then hands over to `crate::boot`.
//!
//! In:  the verdict, from `boot_lstar` (hardware KVM) or `ring3_kernel_trap` (software-assisted).
//! Out: never returns.

use super::{cpu, doorbell, heap, monitor};
use crate::memory::phys::PhysWindow;
use crate::memory::space::KernelHalf;
use core::cell::UnsafeCell;
use forkvm_abi::boot::{BOOT_MAGIC, BootInfo, PlatformChoice, feature, flag};
use forkvm_abi::doorbell::{Operation, Request};
use forkvm_abi::inspect::{HostKind, KERNEL_MAGIC, KernelInfo};
use forkvm_abi::layout::{
    BOOT_INFO_GPA, DIRECT_MAP_BASE, DIRECT_MAP_SLOT, EMERGENCY_STACK_TOP, KERNEL_INFO_GPA,
    KERNEL_SLOT, MONITOR_PML4_GPA, RING0_PML4_GPA,
};
use forkvm_abi::page_table::USER;

/// What is decided once, before anything else runs.
#[derive(Clone, Copy, Debug)]
struct Machine {
    host: HostKind,
    platform: PlatformChoice,
    fsgsbase: bool,
    xsave_mask: u64,
    xsave_bytes: usize,
    lapic_khz: u64,
}

struct Once(UnsafeCell<Machine>);

// SAFETY: written once by `kernel_start` before anything reads it; one vCPU.
unsafe impl Sync for Once {}

static MACHINE: Once = Once(UnsafeCell::new(Machine {
    host: HostKind::Unknown,
    platform: PlatformChoice::Auto,
    fsgsbase: false,
    xsave_mask: 0,
    xsave_bytes: 0,
    lapic_khz: 0,
}));

unsafe extern "C" {
    static mut monitor_tss: [u32; 26];
}

#[inline]
fn machine() -> &'static Machine {
    // SAFETY: see `Once`.
    unsafe { &*MACHINE.0.get() }
}

pub(super) fn platform() -> PlatformChoice {
    machine().platform
}

pub(super) fn platform_is_ring0() -> bool {
    machine().platform == PlatformChoice::Ring0
}

pub(super) fn host_kind() -> HostKind {
    machine().host
}

pub(super) fn has_fsgsbase() -> bool {
    machine().fsgsbase
}

/// Mask for XSAVE (0: use FXSAVE) and bytes of its area.
pub(super) fn xsave() -> (u64, usize) {
    (machine().xsave_mask, machine().xsave_bytes)
}

pub(super) fn lapic_khz() -> u64 {
    machine().lapic_khz
}

/// The verdict and the platform in use.
pub fn self_test_verdict() -> (HostKind, PlatformChoice) {
    (machine().host, machine().platform)
}

/// Called by the self-test on the kernel stack, with the host's kind and the platform it has prepared.
#[unsafe(no_mangle)]
extern "C" fn kernel_start(host: u32, platform: u32) -> ! {
    let boot_tsc = cpu::tsc();
    // SAFETY: the direct map shows all guest-physical memory for as long as the kernel runs; nothing else refers into it.
    let window = unsafe {
        PhysWindow::new(core::ptr::with_exposed_provenance_mut(
            usize::try_from(DIRECT_MAP_BASE).expect("64-bit"),
        ))
    };
    let boot = boot_info();
    let host = HostKind::try_from(host).expect("the self-test passes a kind");
    let platform = PlatformChoice::try_from(platform).expect("the self-test passes a platform");
    settle(&boot, host, platform);
    heap::begin(boot.heap_bytes);
    write_info(boot_tsc);
    if boot.platform == PlatformChoice::Ring0 as u32 && platform != PlatformChoice::Ring0 {
        tell(Operation::PlatformRefused, u64::from(boot.platform));
    }
    if boot.flags & flag::SELF_TEST_ONLY != 0 {
        tell(Operation::SelfTestDone, 0);
    }
    let mut kernel = crate::boot::build(window, &boot);
    kernel.frames.counters.boot_tsc = boot_tsc;
    kernel.run()
}

fn boot_info() -> BootInfo {
    let boot = core::ptr::with_exposed_provenance::<BootInfo>(
        usize::try_from(DIRECT_MAP_BASE + BOOT_INFO_GPA).expect("64-bit"),
    );
    // SAFETY: the VMM has put a BootInfo there.
    let boot = unsafe { boot.read() };
    assert!(
        boot.magic == BOOT_MAGIC && boot.version == forkvm_abi::ABI_VERSION,
        "boot information of another version"
    );
    boot
}

/// Fixes what depends on host and platform.
fn settle(boot: &BootInfo, host: HostKind, platform: PlatformChoice) {
    let native = host == HostKind::SoftwareAssisted;
    let (mask, bytes) = match native {
        true => (boot.native_xcr0, boot.native_xsave_bytes),
        false if boot.features & feature::XSAVE != 0 => (boot.xcr0, boot.xsave_bytes),
        false => (0, 0),
    };
    let fsgsbase = native || boot.features & feature::FSGSBASE != 0;
    assert!(
        fsgsbase || platform == PlatformChoice::Ring0,
        "the monitor platform needs a CPU with FSGSBASE"
    );
    let settled = Machine {
        host,
        platform,
        fsgsbase,
        xsave_mask: mask,
        xsave_bytes: usize::try_from(bytes).expect("64-bit"),
        lapic_khz: boot.lapic_khz,
    };
    // SAFETY: before anything reads it.
    unsafe { *MACHINE.0.get() = settled };
    if platform == PlatformChoice::Ring0 {
        set_emergency_stack();
    } else {
        monitor::mark_started();
    }
}

/// TSS.IST1, for double faults: the kernel stack may be what is broken.
fn set_emergency_stack() {
    #[allow(clippy::cast_possible_truncation, reason = "the TSS takes the halves")]
    let (low, high) = (
        EMERGENCY_STACK_TOP as u32,
        (EMERGENCY_STACK_TOP >> 32) as u32,
    );
    let tss = &raw mut monitor_tss;
    // SAFETY: IST1 is at byte 36 of the TSS (Intel SDM vol. 3, 8.7); the page is writable in ring 0.
    unsafe {
        (&raw mut (*tss)[9]).write(low);
        (&raw mut (*tss)[10]).write(high);
    }
}

fn write_info(boot_tsc: u64) {
    let (host, platform) = self_test_verdict();
    let info = core::ptr::with_exposed_provenance_mut::<KernelInfo>(
        usize::try_from(DIRECT_MAP_BASE + KERNEL_INFO_GPA).expect("64-bit"),
    );
    // SAFETY: the page is RAM that only the kernel writes.
    let info = unsafe { &mut *info };
    info.host_kind = host as u32;
    info.platform = platform as u32;
    info.kernel_cr3 = if platform_is_ring0() {
        RING0_PML4_GPA
    } else {
        MONITOR_PML4_GPA
    };
    info.counters.boot_tsc = boot_tsc;
    info.magic = KERNEL_MAGIC;
}

/// Rings for something that the guest does not survive.
fn tell(operation: Operation, argument: u64) -> ! {
    doorbell::ring(Request {
        operation: operation as u32,
        args: [argument, 0, 0, 0],
        ..Request::default()
    });
    panic!("the VMM went on after {operation:?}")
}

/// What every user PML4 carries in its upper half.
pub fn kernel_half(window: &PhysWindow, boot: &BootInfo) -> KernelHalf {
    if platform_is_ring0() {
        let root = window.table(crate::memory::Frame::containing(crate::memory::PhysAddr(
            RING0_PML4_GPA,
        )));
        debug_assert!(
            root[KERNEL_SLOT] & USER == 0,
            "ring 3 must not reach the kernel"
        );
        KernelHalf {
            direct_map: root[DIRECT_MAP_SLOT],
            kernel: root[KERNEL_SLOT],
        }
    } else {
        KernelHalf {
            direct_map: 0,
            kernel: boot.monitor_user_pml4e,
        }
    }
}
