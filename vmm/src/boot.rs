//! Puts into RAM what the kernel expects to find there: its image, page tables, stacks,
//! the root image's index, the program's strings, and the [`BootInfo`] that names them all.
//!
//! In:  empty RAM. Out: RAM from which the vCPU can start.

use crate::config::VmConfig;
use crate::cpuid::Features;
use crate::embedded::Kernel;
use crate::image::Image;
use crate::loader::{LoadError, kernel_gpa, load_kernel};
use crate::memory::{GuestRam, OutsideRam};
use crate::page_tables::PageTables;
use crate::terminal::Terminals;
use forkvm_abi::boot::{BOOT_MAGIC, BootInfo, Span, feature, flag};
use forkvm_abi::layout::{
    BOOT_INFO_GPA, KERNEL_LOAD_END_GPA, KERNEL_STACK_BYTES, MONITOR_PML4_GPA, RING0_PML4_GPA,
};
use forkvm_abi::{ABI_VERSION, PAGE_SIZE};
use std::os::unix::ffi::OsStrExt;
use std::time::{SystemTime, UNIX_EPOCH};
use zerocopy::{FromZeros, IntoBytes};

/// Frequency of the local APIC's timer: KVM's APIC bus runs at 1 GHz (arch/x86/kvm/lapic.h, APIC_BUS_CYCLE_NS_DEFAULT).
const LAPIC_KHZ: u64 = 1_000_000;
/// AT_HWCAP2's bit for FSGSBASE (arch/x86/include/uapi/asm/hwcap2.h).
const HWCAP2_FSGSBASE: u64 = 1 << 1;
/// Heap that the kernel finds mapped: what it wants at its first look, so that it maps none itself.
const HEAP_BYTES: u64 = 320 << 10;
/// What the kernel uses of its heap to start a small program.
const FIRST_HEAP_BYTES: u64 = 64 << 10;
/// What a small program and the kernel use of the first free RAM.
const FIRST_FRAMES: u64 = 192 << 10;
/// Guest RAM that stands behind each process a guest may have.
const MEMORY_PER_PROCESS: u64 = 64 << 10;

/// Why RAM cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The kernel cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The arguments, or the names of the root image, leave no room.
    #[error(
        "the guest's memory is too small for the program's arguments and environment: give it more with --memory"
    )]
    NoRoom,
    /// Internal: something was placed outside of RAM.
    #[error(transparent)]
    Memory(#[from] OutsideRam),
    /// The host has no entropy to give.
    #[error("getrandom failed: {0}")]
    Random(std::io::Error),
}

/// What describes the machine to the kernel.
#[derive(Debug)]
pub struct Machine {
    /// Of the vCPU's CPUID table.
    pub features: Features,
    /// XCR0 and XSAVE area of the physical CPU.
    pub native_states: (u64, u64),
    /// KVM_GET_TSC_KHZ.
    pub tsc_khz: u64,
    /// First GPA of the root image's contents.
    pub image_base: u64,
    /// Terminals of the host.
    pub terminals: Terminals,
}

/// Fills RAM.
pub fn prepare(
    ram: &GuestRam,
    kernel: &Kernel,
    image: &Image,
    machine: &Machine,
    config: &VmConfig,
) -> Result<(), BootError> {
    load_kernel(ram, kernel)?;
    ram.write(
        kernel_gpa(kernel, kernel.symbols.monitor_platform_request)?,
        &(config.platform as u32),
    )?;
    let contents = Span {
        start: machine.image_base,
        len: image.contents.len(),
    };
    let mut placer = Placer {
        ram,
        next: KERNEL_LOAD_END_GPA,
    };
    let stacks = placer.reserve(2 * KERNEL_STACK_BYTES)?;
    let heap = placer.reserve(HEAP_BYTES)?;
    let image_index = placer.place(image.index.as_bytes())?;
    let image_names = placer.place(&image.names)?;
    let strings = placer.place(&boot_strings(config))?;
    let tables = PageTables::build(
        placer.next,
        kernel.segments,
        &[ram.low, ram.high, contents],
        stacks.start,
        heap,
    );
    placer.place(tables.bytes())?;
    ram.write(MONITOR_PML4_GPA, &tables.monitor_root())?;
    ram.write(RING0_PML4_GPA, &tables.ring0_root())?;
    let mut info = describe(ram, machine, config)?;
    info.free_start = placer.next;
    info.monitor_user_pml4e = tables.monitor_user_pml4e();
    info.heap_bytes = heap.len;
    (info.image, info.image_index, info.image_names, info.strings) =
        (contents, image_index, image_names, strings);
    ram.write(BOOT_INFO_GPA, &info)?;
    let len = FIRST_FRAMES.min(ram.low.end() - info.free_start);
    ram.make_resident(Span {
        start: heap.start,
        len: FIRST_HEAP_BYTES,
    })?;
    ram.make_resident(Span {
        start: info.free_start,
        len,
    })?;
    Ok(())
}

/// Hands out page-aligned runs of low RAM, one behind the other.
struct Placer<'a> {
    ram: &'a GuestRam,
    next: u64,
}

impl Placer<'_> {
    fn reserve(&mut self, len: u64) -> Result<Span, BootError> {
        let span = Span {
            start: self.next,
            len,
        };
        let end = len
            .checked_next_multiple_of(PAGE_SIZE)
            .and_then(|len| self.next.checked_add(len))
            .ok_or(BootError::NoRoom)?;
        if end > self.ram.low.end() {
            return Err(BootError::NoRoom);
        }
        self.next = end;
        Ok(span)
    }

    fn place(&mut self, bytes: &[u8]) -> Result<Span, BootError> {
        let span = self.reserve(bytes.len() as u64)?;
        self.ram.write_bytes(span.start, bytes)?;
        Ok(span)
    }
}

/// The program's path, arguments and environment, each with its NUL.
fn boot_strings(config: &VmConfig) -> Vec<u8> {
    let Some(launch) = &config.launch else {
        return vec![0];
    };
    let words = launch
        .arguments
        .iter()
        .chain(&launch.environment)
        .map(|word| word.as_bytes());
    std::iter::once(&launch.program.path[..])
        .chain(words)
        .flat_map(|word| word.iter().copied().chain([0]))
        .collect()
}

/// All of the boot information that does not depend on where things were placed.
fn describe(ram: &GuestRam, machine: &Machine, config: &VmConfig) -> Result<BootInfo, BootError> {
    let Machine {
        features,
        native_states,
        tsc_khz,
        terminals,
        ..
    } = machine;
    let mut info = BootInfo::new_zeroed();
    (info.magic, info.version, info.platform) = (BOOT_MAGIC, ABI_VERSION, config.platform as u32);
    (info.flags, info.features) = (flags(config, terminals), features.bits);
    (info.low_ram, info.high_ram) = (ram.low, ram.high);
    if let Some(launch) = &config.launch {
        let count = |words: usize| u32::try_from(words).map_err(|_| BootError::NoRoom);
        (info.argc, info.envc) = (
            count(launch.arguments.len())?,
            count(launch.environment.len())?,
        );
    }
    (info.tsc_khz, info.lapic_khz) = (*tsc_khz, LAPIC_KHZ);
    (info.realtime_ns, info.realtime_tsc) = now();
    (info.xcr0, info.xsave_bytes) = (features.xcr0, features.xsave_bytes);
    (info.native_xcr0, info.native_xsave_bytes) = *native_states;
    info.hwcap = features.hwcap;
    info.hwcap2 = if features.bits & feature::FSGSBASE != 0 {
        HWCAP2_FSGSBASE
    } else {
        0
    };
    info.random_seed = random_seed()?;
    (info.window_rows, info.window_cols) = terminals.window;
    info.max_processes = u32::try_from((ram.low.len + ram.high.len) / MEMORY_PER_PROCESS)
        .unwrap_or(u32::MAX)
        .min(32768);
    Ok(info)
}

fn flags(config: &VmConfig, terminals: &Terminals) -> u64 {
    let conditions = [
        (config.launch.is_none(), flag::SELF_TEST_ONLY),
        (terminals.input, flag::STDIN_TTY),
        (terminals.output, flag::STDOUT_TTY),
        (terminals.error, flag::STDERR_TTY),
        (config.exit_with_first, flag::EXIT_WITH_FIRST),
        (config.verbose, flag::VERBOSE),
    ];
    conditions
        .iter()
        .filter(|(holds, _)| *holds)
        .fold(0, |flags, (_, bit)| flags | bit)
}

/// Wall-clock time in nanoseconds and the TSC at that moment.
fn now() -> (u64, u64) {
    // SAFETY: (1) RDTSC is available to user code on every Linux host that does not forbid it by prctl.
    let tsc = unsafe { core::arch::x86_64::_rdtsc() };
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    (
        u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX),
        tsc,
    )
}

/// From the host's entropy; not all zeros, which the guest's generator could not leave.
fn random_seed() -> Result<[u64; 4], BootError> {
    let mut seed = [0u64; 4];
    // SAFETY: (1) the buffer is as long as said, and ours.
    let filled = unsafe { libc::getrandom(seed.as_mut_ptr().cast(), size_of_val(&seed), 0) };
    if filled != size_of_val(&seed).cast_signed() {
        return Err(BootError::Random(std::io::Error::last_os_error()));
    }
    seed[0] |= u64::from(seed == [0; 4]);
    Ok(seed)
}
