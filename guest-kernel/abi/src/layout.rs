//! The guest's memory map, guest-physical and virtual.
//!
//! Guest-physical (GPA). RAM below 3 GiB starts at 0; RAM beyond that continues at 4 GiB.
//!
//! ```text
//! 0x0000_0000  never mapped: a zero GPA is a bug
//! 0x0000_1000  BootInfo             written by the VMM before the start
//! 0x0000_2000  KernelInfo           written by the kernel, read by the VMM at any time
//! 0x0000_3000  HostEvents           written by the VMM while the guest runs
//! 0x0000_4000  doorbell request     one request at a time, one vCPU
//! 0x0000_5000  console input        bytes the VMM read for the guest
//! 0x0000_6000  PML4 of the kernel at ring 3 (monitor platform)
//! 0x0000_7000  PML4 of the kernel at ring 0 (ring0 platform)
//! 0x0000_8000  console output       records, see `doorbell`
//! 0x0010_0000  kernel image         the monitor's pages first
//! 0x0040_0000  page tables, kernel stack and heap, argument strings, image index: BootInfo says where
//!  free_start  frame table, then free frames
//! 0xc000_0000  end of low RAM at the latest
//! 0xd000_0000  doorbell             one page of MMIO
//! 0xfee0_0000  local APIC
//! 0x1_0000_0000 RAM beyond 3 GiB
//!  image_base  root image           file contents, read-only, page-aligned
//! ```
//!
//! Virtual. Everything from [`KERNEL_HALF`] up belongs to the kernel; on the ring0
//! platform it is mapped supervisor-only in every address space, on the monitor
//! platform only in the kernel's own (the monitor's few pages excepted).
//!
//! ```text
//! 0x0000_0000_0001_0000  lowest address mmap(2) gives out (vm.mmap_min_addr)
//! 0x0000_7fff_ffff_f000  end of user space: one page short, for sysret's sake
//! 0xffff_8880_0000_0000  direct map of all guest-physical memory, image included
//! 0xffff_ffff_8000_0000  monitor, then kernel text, rodata, data, bss
//! 0xffff_ffff_b000_0000  guard page, kernel stack, guard page, emergency stack
//! 0xffff_ffff_c000_0000  kernel heap, grown by single frames
//! 0xffff_ffff_ffc0_0000  doorbell page
//! 0xffff_ffff_ffc0_1000  local APIC page
//! ```

/// GPA of the [`BootInfo`](crate::boot::BootInfo).
pub const BOOT_INFO_GPA: u64 = 0x1000;
/// GPA of the [`KernelInfo`](crate::inspect::KernelInfo).
pub const KERNEL_INFO_GPA: u64 = 0x2000;
/// GPA of the [`HostEvents`](crate::boot::HostEvents).
pub const HOST_EVENTS_GPA: u64 = 0x3000;
/// GPA of the page that holds the doorbell request.
pub const REQUEST_GPA: u64 = 0x4000;
/// GPA of the page into which the VMM reads console input.
pub const CONSOLE_INPUT_GPA: u64 = 0x5000;
/// CR3 of the kernel on the monitor platform: kernel pages are user-accessible in it.
pub const MONITOR_PML4_GPA: u64 = 0x6000;
/// CR3 of the kernel on the ring0 platform: kernel pages are supervisor-only in it.
pub const RING0_PML4_GPA: u64 = 0x7000;
/// GPA of the console output buffer.
pub const CONSOLE_OUTPUT_GPA: u64 = 0x8000;
/// Bytes of the console output buffer.
pub const CONSOLE_OUTPUT_BYTES: u64 = 0x8000;
/// GPA at which the kernel image is loaded; the monitor's section comes first.
pub const KERNEL_LOAD_GPA: u64 = 0x10_0000;
/// First GPA the VMM may place its own structures at; the kernel image ends below it.
pub const KERNEL_LOAD_END_GPA: u64 = 0x40_0000;
/// End of low RAM at the latest; the rest starts at [`HIGH_RAM_GPA`].
pub const LOW_RAM_MAX: u64 = 0xc000_0000;
/// GPA of the doorbell's MMIO page. An 8-byte write of a request's GPA rings it.
pub const DOORBELL_GPA: u64 = 0xd000_0000;
/// GPA of the local APIC's MMIO page (Intel SDM vol. 3, 11.4.1).
pub const LAPIC_GPA: u64 = 0xfee0_0000;
/// GPA at which RAM beyond [`LOW_RAM_MAX`] continues.
pub const HIGH_RAM_GPA: u64 = 0x1_0000_0000;

/// Lowest user address that mmap(2) gives out or accepts (Linux's vm.mmap_min_addr).
pub const MMAP_MIN_ADDR: u64 = 0x1_0000;
/// End of user space: Linux's TASK_SIZE_MAX. The page before the canonical hole
/// stays unmapped, so that no system call can return to a non-canonical address.
pub const USER_END: u64 = 0x7fff_ffff_f000;
/// First address of the kernel's half.
pub const KERNEL_HALF: u64 = 0xffff_8000_0000_0000;
/// Virtual address of GPA 0 in the kernel's address space.
pub const DIRECT_MAP_BASE: u64 = 0xffff_8880_0000_0000;
/// Bytes the direct map can hold: one PML4 entry.
pub const DIRECT_MAP_BYTES: u64 = 1 << 39;
/// Virtual address of the kernel image.
pub const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;
/// Bytes at [`KERNEL_BASE`] that belong to the monitor: supervisor-only on both platforms.
pub const MONITOR_BYTES: u64 = 0x8000;
/// Lowest byte of the kernel stack; the page below is never mapped.
pub const KERNEL_STACK_BASE: u64 = 0xffff_ffff_b000_1000;
/// Bytes of the kernel stack, and of the emergency stack.
pub const KERNEL_STACK_BYTES: u64 = 0x1_0000;
/// Initial RSP of the kernel.
pub const KERNEL_STACK_TOP: u64 = KERNEL_STACK_BASE + KERNEL_STACK_BYTES;
/// Lowest byte of the stack for double faults and kernel bugs; a guard page lies below.
pub const EMERGENCY_STACK_BASE: u64 = KERNEL_STACK_TOP + 0x1000;
/// Top of the emergency stack (TSS.IST1 on the ring0 platform).
pub const EMERGENCY_STACK_TOP: u64 = EMERGENCY_STACK_BASE + KERNEL_STACK_BYTES;
/// First address of the kernel heap. The VMM maps its beginning, the kernel maps frames behind that as it grows.
pub const HEAP_BASE: u64 = 0xffff_ffff_c000_0000;
/// Bytes the heap may grow to at most.
pub const HEAP_MAX: u64 = 0x3f00_0000;
/// Virtual address of the doorbell page.
pub const DOORBELL_VA: u64 = 0xffff_ffff_ffc0_0000;
/// Virtual address of the local APIC page.
pub const LAPIC_VA: u64 = 0xffff_ffff_ffc0_1000;

/// PML4 slot of the direct map.
pub const DIRECT_MAP_SLOT: usize = 273;
/// PML4 slot of the kernel image, stacks and heap.
pub const KERNEL_SLOT: usize = 511;

/// GDT selectors, Linux's values where a program can see them (arch/x86/include/asm/segment.h).
pub mod selector {
    /// Kernel code, ring 0.
    pub const KERNEL_CS: u16 = 0x10;
    /// Kernel data, ring 0.
    pub const KERNEL_SS: u16 = 0x18;
    /// User data.
    pub const USER_SS: u16 = 0x2b;
    /// User 64-bit code.
    pub const USER_CS: u16 = 0x33;
    /// Code of the kernel at ring 3: tells its traps from the user's.
    pub const RING3_KERNEL_CS: u16 = 0x3b;
    /// Task state segment.
    pub const TSS: u16 = 0x40;
    /// The whole of the IA32_STAR MSR: SYSCALL loads CS 0x10 / SS 0x18, SYSRET CS 0x33 / SS 0x2b.
    pub const STAR: u64 = 0x0023_0010_0000_0000;
}

/// Interrupt vectors beyond the architectural exceptions.
pub mod vector {
    /// Local APIC timer.
    pub const TIMER: u8 = 0x20;
    /// The VMM has set a bit in [`HostEvents`](crate::boot::HostEvents).
    pub const HOST_EVENT: u8 = 0x21;
    /// Local APIC spurious interrupt. Low nibble all ones, as old APICs demand.
    pub const SPURIOUS: u8 = 0x2f;
    /// Gates in the IDT.
    pub const COUNT: usize = 0x30;
}

const _: () = {
    assert!((DIRECT_MAP_BASE >> 39) & 511 == DIRECT_MAP_SLOT as u64);
    assert!((KERNEL_BASE >> 39) & 511 == KERNEL_SLOT as u64);
    assert!(HEAP_BASE + HEAP_MAX <= DOORBELL_VA);
    assert!(EMERGENCY_STACK_TOP < HEAP_BASE);
};
