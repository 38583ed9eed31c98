//! Records that the kernel keeps and the VMM reads straight from guest memory: no agent,
//! no second copy of the truth, readable while the guest runs, waits, or has crashed.
//!
//! [`KernelInfo`] is the root. From there: processes are a list in pid order, linked by kernel
//! virtual addresses (`next`, 0 ends it); each names its address space, whose VMAs are a list in
//! address order; frames are an array indexed by [`frame_index`]. The reader must
//! expect loops and nonsense: a guest may have been taken over.

use crate::pt_regs::PtRegs;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First word of [`KernelInfo`].
pub const KERNEL_MAGIC: u64 = u64::from_le_bytes(*b"forkvmKI");

/// What the boot self-test found out about the KVM host.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKind {
    /// Not known yet.
    Unknown = 0,
    /// `syscall` entered ring 0: VMX or SVM underneath.
    Hardware = 1,
    /// `syscall` stayed in ring 3: ring 0 is emulated.
    SoftwareAssisted = 2,
}

impl TryFrom<u32> for HostKind {
    type Error = u32;

    fn try_from(value: u32) -> Result<Self, u32> {
        [Self::Unknown, Self::Hardware, Self::SoftwareAssisted]
            .into_iter()
            .find(|kind| *kind as u32 == value)
            .ok_or(value)
    }
}

/// Root of everything the VMM can read; at [`KERNEL_INFO_GPA`](crate::layout::KERNEL_INFO_GPA).
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct KernelInfo {
    /// [`KERNEL_MAGIC`] once the kernel runs.
    pub magic: u64,
    /// A [`HostKind`].
    pub host_kind: u32,
    /// The [`PlatformChoice`](crate::boot::PlatformChoice) in use; 0 before the self-test ended.
    pub platform: u32,
    /// CR3 of the kernel: translates the kernel virtual addresses in these records.
    pub kernel_cr3: u64,
    /// Virtual address of the first [`ProcessRecord`]; 0 when there is none.
    pub first_process: u64,
    /// GPA of the first [`FrameRecord`].
    pub frame_table: u64,
    /// Number of [`FrameRecord`]s.
    pub frame_count: u64,
    /// Pid of the process that runs or ran last; 0 when idle.
    pub current_pid: u32,
    /// Zero.
    pub reserved: u32,
    /// What has happened so far.
    pub counters: Counters,
    /// Filled before [`Operation::Panic`](crate::doorbell::Operation::Panic).
    pub epitaph: Epitaph,
}

const _: () = assert!(size_of::<KernelInfo>() <= crate::PAGE_BYTES);

/// Counts since boot. Frames are 4 KiB; times are TSC ticks.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Counters {
    /// Entries into the kernel from ring 3, for any reason.
    pub traps: u64,
    /// System calls among them.
    pub syscalls: u64,
    /// Page faults of user code.
    pub faults: u64,
    /// Interrupts taken.
    pub interrupts: u64,
    /// Processes made by fork, vfork, clone (threads not counted).
    pub forks: u64,
    /// vforks among them (address space shared).
    pub vforks: u64,
    /// Successful execve calls.
    pub execs: u64,
    /// Processes that ended.
    pub exits: u64,
    /// Copy-on-write faults that copied a frame.
    pub cow_copies: u64,
    /// Copy-on-write faults of a last owner: made writable in place.
    pub cow_reuses: u64,
    /// PTEs made read-only by forks.
    pub cow_armed: u64,
    /// Frames zeroed and mapped on demand.
    pub demand_zero: u64,
    /// Switches from one process to another.
    pub switches: u64,
    /// Frames in use now.
    pub frames_used: u64,
    /// Most frames ever in use at once.
    pub frames_peak: u64,
    /// Frames the kernel may hand out in all.
    pub frames_total: u64,
    /// Bytes of kernel heap in use.
    pub heap_bytes: u64,
    /// TSC ticks spent in ring 3 by user programs.
    pub user_ticks: u64,
    /// TSC ticks spent in the kernel, idle time not included.
    pub kernel_ticks: u64,
    /// TSC ticks idle.
    pub idle_ticks: u64,
    /// Processes killed because memory ran out.
    pub oom_kills: u64,
    /// TSC when the first user instruction was about to run.
    pub first_user_tsc: u64,
    /// TSC at the kernel's first Rust instruction.
    pub boot_tsc: u64,
}

/// What a crashed kernel leaves behind.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Epitaph {
    /// Bytes of `message` that count; 0: no epitaph.
    pub message_len: u32,
    /// Exception vector, or 0xffff_ffff for a Rust panic.
    pub vector: u32,
    /// Error code of the exception.
    pub error_code: u64,
    /// CR2, where known.
    pub cr2: u64,
    /// Registers at the crash.
    pub regs: PtRegs,
    /// Return addresses, innermost first; 0 ends the list.
    pub backtrace: [u64; 32],
    /// What the kernel said, UTF-8.
    pub message: [u8; 512],
}

/// States of a process, with ps(1)'s letters.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessState {
    /// R: running or waiting for the vCPU.
    Runnable = b'R' as u32,
    /// S: waiting, a signal wakes it.
    Sleeping = b'S' as u32,
    /// D: waiting, signals do not wake it (a vfork parent).
    Uninterruptible = b'D' as u32,
    /// T: stopped by a signal.
    Stopped = b'T' as u32,
    /// Z: ended, not yet waited for.
    Zombie = b'Z' as u32,
}

/// One process (thread), as Linux's task_struct; the kernel's own record, not a copy.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ProcessRecord {
    /// Virtual address of the record with the next higher pid; 0 ends the list.
    pub next: u64,
    /// Process id (Linux's tid).
    pub pid: u32,
    /// Thread group id (what getpid returns).
    pub tgid: u32,
    /// Parent's thread group id.
    pub ppid: u32,
    /// Process group.
    pub pgid: u32,
    /// Session.
    pub sid: u32,
    /// A [`ProcessState`].
    pub state: u32,
    /// Wait status as wait(2) gives it, once a zombie.
    pub exit_status: u32,
    /// Index into Linux's function names for WCHAN; see `wait_channel`.
    pub wait_channel: u32,
    /// CR3 of the address space; 0 once it is gone, and for pid 1.
    pub cr3: u64,
    /// Virtual address of the first [`VmaRecord`]; 0 when there is none.
    pub first_vma: u64,
    /// TSC at creation.
    pub start_tsc: u64,
    /// TSC ticks in ring 3.
    pub user_ticks: u64,
    /// TSC ticks in the kernel on its behalf.
    pub kernel_ticks: u64,
    /// FS.base.
    pub fs_base: u64,
    /// GS.base.
    pub gs_base: u64,
    /// Name, NUL-padded (prctl PR_SET_NAME).
    pub comm: [u8; 16],
    /// Vector of the last entry into the kernel; 256 for a system call.
    pub vector: u64,
    /// Registers at the last entry into the kernel. Their end is 16-byte aligned: the CPU pushes into them.
    pub regs: PtRegs,
}

const _: () = assert!(core::mem::offset_of!(ProcessRecord, regs) % 16 == 8);
const _: () = assert!(size_of::<ProcessRecord>().is_multiple_of(16));

/// One mapped region of an address space.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct VmaRecord {
    /// Virtual address of the VMA record with the next higher start; 0 ends the list.
    pub next: u64,
    /// First user address, page-aligned.
    pub start: u64,
    /// First address behind it, page-aligned.
    pub end: u64,
    /// Bits of [`vma`].
    pub flags: u64,
    /// File mapping: offset in the file of `start`. Anonymous: 0.
    pub offset: u64,
    /// File mapping: number of the inode. Anonymous: 0.
    pub inode: u64,
}

/// Bits of [`VmaRecord::flags`].
pub mod vma {
    /// PROT_READ.
    pub const READ: u64 = 1 << 0;
    /// PROT_WRITE.
    pub const WRITE: u64 = 1 << 1;
    /// PROT_EXEC.
    pub const EXEC: u64 = 1 << 2;
    /// MAP_SHARED.
    pub const SHARED: u64 = 1 << 3;
    /// Grows towards lower addresses (the stack).
    pub const GROWS_DOWN: u64 = 1 << 4;
    /// The program break's region.
    pub const HEAP: u64 = 1 << 5;
    /// The initial stack.
    pub const STACK: u64 = 1 << 6;
    /// Backed by a file.
    pub const FILE: u64 = 1 << 7;
}

/// One page frame of RAM: 8 bytes.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct FrameRecord {
    /// References: PTEs that map it, plus one for each other owner. 0: free.
    pub references: u32,
    /// A [`FrameUse`]; while free, the kernel links its free list here.
    pub usage: u32,
}

/// What a frame is used for.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameUse {
    /// A page of user memory.
    User = 1,
    /// A page table of some level.
    PageTable = 2,
    /// Kernel heap.
    Heap = 3,
    /// Pipe buffers, arguments on their way, and the like.
    Kernel = 4,
    /// The shared page of zeros.
    Zero = 5,
    /// Not the kernel's to give away: boot structures, kernel image.
    Reserved = 6,
}

/// Frame number counted without the hole between low and high RAM; `None` for a GPA that is not RAM.
pub const fn frame_index(gpa: u64, low_ram_end: u64, high_ram_end: u64) -> Option<u64> {
    use crate::layout::HIGH_RAM_GPA;
    if gpa < low_ram_end {
        Some(gpa / crate::PAGE_SIZE)
    } else if gpa >= HIGH_RAM_GPA && gpa < high_ram_end {
        Some((low_ram_end + (gpa - HIGH_RAM_GPA)) / crate::PAGE_SIZE)
    } else {
        None
    }
}
