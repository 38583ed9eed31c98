//! What the build put inside this binary: the guest kernel and the guest programs.

/// The guest kernel's ELF and what the build read from it, so that a start parses no symbols.
#[derive(Debug)]
pub struct Kernel {
    /// The whole file, symbol table included.
    pub elf: &'static [u8],
    /// Virtual address of its first instruction.
    pub entry: u64,
    /// What is loaded, in file order.
    pub segments: &'static [Segment],
    /// Where the CPU's tables and the like are.
    pub symbols: BootSymbols,
}

/// A PT_LOAD segment of the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// First virtual address.
    pub address: u64,
    /// First guest-physical address.
    pub gpa: u64,
    /// Bytes in memory.
    pub bytes: u64,
    /// Mapped writable, and then never executable.
    pub writable: bool,
    /// Mapped executable.
    pub executable: bool,
}

/// Virtual addresses that the vCPU's first register values refer to.
#[derive(Clone, Copy, Debug)]
pub struct BootSymbols {
    /// LSTAR: where `syscall` goes during the self-test.
    pub boot_lstar: u64,
    /// GS.base of the kernel.
    pub per_cpu: u64,
    /// Global descriptor table.
    pub monitor_gdt: u64,
    /// End of the GDT.
    pub monitor_gdt_end: u64,
    /// Interrupt descriptor table.
    pub monitor_idt: u64,
    /// End of the IDT.
    pub monitor_idt_end: u64,
    /// Task state segment.
    pub monitor_tss: u64,
    /// A u32: the requested [`PlatformChoice`](forkvm_abi::boot::PlatformChoice).
    pub monitor_platform_request: u64,
}

/// A guest program: a static ELF.
#[derive(Debug)]
pub struct App {
    /// Its name in the guest's /bin.
    pub name: &'static str,
    /// The file.
    pub elf: &'static [u8],
}

/// The guest program of that name.
pub fn app(name: &str) -> Option<&'static App> {
    APPS.binary_search_by(|app| app.name.cmp(name))
        .ok()
        .map(|index| &APPS[index])
}

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
