//! What the VMM hands to the kernel before the first instruction, and the one word
//! it writes while the guest runs.

use core::sync::atomic::AtomicU64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First word of a [`BootInfo`].
pub const BOOT_MAGIC: u64 = u64::from_le_bytes(*b"forkvm01");

/// How the kernel is to run; the boot self-test may rule one out.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlatformChoice {
    /// What the self-test finds best.
    Auto = 0,
    /// Kernel in ring 0. Refused on software-assisted KVM.
    Ring0 = 1,
    /// Kernel in ring 3 above the ring-0 monitor.
    Monitor = 2,
}

impl TryFrom<u32> for PlatformChoice {
    type Error = u32;

    fn try_from(value: u32) -> Result<Self, u32> {
        [Self::Auto, Self::Ring0, Self::Monitor]
            .into_iter()
            .find(|choice| *choice as u32 == value)
            .ok_or(value)
    }
}

/// Bits of [`BootInfo::features`]: what the VMM found in the CPUID table it gave the vCPU.
pub mod feature {
    /// CR4.FSGSBASE is set: rdfsbase and friends work in every ring.
    pub const FSGSBASE: u64 = 1 << 0;
    /// CR4.OSXSAVE is set and XCR0 loaded: the kernel may use XSAVE.
    pub const XSAVE: u64 = 1 << 1;
    /// XSAVEOPT.
    pub const XSAVEOPT: u64 = 1 << 2;
    /// CR4.SMEP is set.
    pub const SMEP: u64 = 1 << 3;
    /// CR4.SMAP is set.
    pub const SMAP: u64 = 1 << 4;
    /// CR4.UMIP is set.
    pub const UMIP: u64 = 1 << 5;
    /// The guest TSC runs at a constant rate.
    pub const INVARIANT_TSC: u64 = 1 << 6;
}

/// Bits of [`BootInfo::flags`].
pub mod flag {
    /// Only run the self-test, report the verdict in `KernelInfo`, and exit (forkvm doctor).
    pub const SELF_TEST_ONLY: u64 = 1 << 0;
    /// Standard input is a terminal.
    pub const STDIN_TTY: u64 = 1 << 1;
    /// Standard output is a terminal.
    pub const STDOUT_TTY: u64 = 1 << 2;
    /// Standard error is a terminal.
    pub const STDERR_TTY: u64 = 1 << 3;
    /// End the VM with the first program, even if others still hold its output open.
    pub const EXIT_WITH_FIRST: u64 = 1 << 4;
    /// Name unimplemented system calls and other oddities in the log.
    pub const VERBOSE: u64 = 1 << 5;
}

/// A run of guest-physical bytes.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Span {
    /// First GPA.
    pub start: u64,
    /// Bytes.
    pub len: u64,
}

impl Span {
    /// First GPA behind the span.
    pub const fn end(self) -> u64 {
        self.start + self.len
    }
}

/// Everything the kernel needs to know; at [`BOOT_INFO_GPA`](crate::layout::BOOT_INFO_GPA).
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct BootInfo {
    /// [`BOOT_MAGIC`].
    pub magic: u64,
    /// [`ABI_VERSION`](crate::ABI_VERSION).
    pub version: u32,
    /// A [`PlatformChoice`].
    pub platform: u32,
    /// Bits of [`flag`].
    pub flags: u64,
    /// Bits of [`feature`].
    pub features: u64,
    /// RAM below 3 GiB; starts at GPA 0.
    pub low_ram: Span,
    /// RAM from 4 GiB up; empty for small guests.
    pub high_ram: Span,
    /// First GPA that nothing occupies; page-aligned, inside low RAM.
    pub free_start: u64,
    /// What a user address space's PML4 holds in [`KERNEL_SLOT`](crate::layout::KERNEL_SLOT) on the monitor
    /// platform: a path to the monitor's pages and to nothing else.
    pub monitor_user_pml4e: u64,
    /// Bytes of the kernel heap, from [`HEAP_BASE`](crate::layout::HEAP_BASE) on, that are mapped already; whole pages.
    pub heap_bytes: u64,
    /// The root image: contents of all files.
    pub image: Span,
    /// Index of the image: [`ImageEntry`](crate::image::ImageEntry) records, entry 0 is `/`.
    pub image_index: Span,
    /// Name bytes that the index refers to.
    pub image_names: Span,
    /// NUL-terminated strings: path of the program, `argc` arguments, `envc` environment strings.
    pub strings: Span,
    /// Arguments, argv\[0\] included.
    pub argc: u32,
    /// Environment strings.
    pub envc: u32,
    /// Frequency of the guest's TSC, in kHz (KVM_GET_TSC_KHZ).
    pub tsc_khz: u64,
    /// CLOCK_REALTIME when the guest's TSC read `realtime_tsc`, in nanoseconds since the epoch.
    pub realtime_ns: u64,
    /// Guest TSC at that moment.
    pub realtime_tsc: u64,
    /// Frequency of the local APIC timer with divider 1, in kHz.
    pub lapic_khz: u64,
    /// XCR0 and bytes of its XSAVE area by the vCPU's CPUID table; 0 without XSAVE.
    pub xcr0: u64,
    /// Bytes of the XSAVE area for `xcr0`.
    pub xsave_bytes: u64,
    /// XCR0 of the physical CPU, which ring 3 uses on software-assisted KVM; 0 without XSAVE.
    pub native_xcr0: u64,
    /// Bytes of the XSAVE area for `native_xcr0`.
    pub native_xsave_bytes: u64,
    /// AT_HWCAP: CPUID.1:EDX as ring 3 sees it on hardware KVM.
    pub hwcap: u64,
    /// AT_HWCAP2: bit 1 is FSGSBASE.
    pub hwcap2: u64,
    /// Seed of the random number generator (AT_RANDOM, getrandom).
    pub random_seed: [u64; 4],
    /// Rows and columns of the host's terminal; 0 where there is none.
    pub window_rows: u16,
    /// Columns.
    pub window_cols: u16,
    /// RLIMIT_NPROC for the guest: processes at most.
    pub max_processes: u32,
}

const _: () = assert!(size_of::<BootInfo>() <= crate::PAGE_BYTES);

/// Bits of [`HostEvents::pending`].
pub mod event {
    /// Ctrl-C on the host: SIGINT to the foreground process group.
    pub const INTERRUPT: u64 = 1 << 0;
    /// Standard input can be read without blocking (or is at its end).
    pub const INPUT_READY: u64 = 1 << 1;
    /// The terminal changed size; see `window_rows`.
    pub const WINDOW_CHANGED: u64 = 1 << 2;
    /// Ctrl-\ on the host: SIGQUIT to the foreground process group.
    pub const QUIT: u64 = 1 << 3;
    /// SIGTERM to the VMM: SIGTERM to the first program.
    pub const TERMINATE: u64 = 1 << 4;
    /// SIGHUP to the VMM: SIGHUP to the first program.
    pub const HANGUP: u64 = 1 << 5;
}

/// Written by the VMM while the guest runs: it sets bits, then raises
/// [`HOST_EVENT`](crate::layout::vector::HOST_EVENT). The kernel takes them all with one atomic swap.
#[repr(C)]
#[derive(Debug)]
pub struct HostEvents {
    /// Bits of [`event`].
    pub pending: AtomicU64,
    /// `rows << 16 | cols` of the host's terminal.
    pub window: AtomicU64,
}
