//! The kernel's whole state in one value.

use crate::arena::{Arena, Id};
use crate::fs::{FdTable, FileSystem};
use crate::memory::space::KernelHalf;
use crate::memory::{AddressSpace, Frame, Frames, PhysAddr, UserMemory};
use crate::process::scheduler::Scheduler;
use crate::process::signal::SignalHandlers;
use crate::process::task::{TaskId, TaskTable};
use crate::process::thread_group::ThreadGroup;
use crate::time::Clock;
use alloc::collections::BTreeSet;
use forkvm_abi::boot::BootInfo;
use forkvm_abi::inspect::KernelInfo;
use forkvm_abi::layout::KERNEL_INFO_GPA;
use zerocopy::FromBytes;

/// Everything the kernel knows. Subsystems are fields, so that a handler can borrow several at once.
#[derive(Debug)]
pub struct Kernel {
    /// Page frames and the window to their bytes; also holds the event counters.
    pub frames: Frames,
    /// Address spaces, shared by CLONE_VM.
    pub spaces: Arena<AddressSpace>,
    /// What every new address space carries in its upper half.
    pub kernel_half: KernelHalf,
    /// Files, pipes, the console, descriptor tables.
    pub fs: FileSystem,
    /// Processes and threads.
    pub tasks: TaskTable,
    /// Thread groups (processes in the sense of POSIX).
    pub groups: Arena<ThreadGroup>,
    /// Signal dispositions, shared by CLONE_SIGHAND.
    pub handlers: Arena<SignalHandlers>,
    /// Who runs next.
    pub scheduler: Scheduler,
    /// TSC to time.
    pub clock: Clock,
    /// Pseudo-random bytes for AT_RANDOM and getrandom.
    pub random: Random,
    /// What the VMM handed over.
    pub boot: BootInfo,
    /// The first program's wait status, once it has ended.
    pub first_exit: Option<u32>,
    /// When the timer interrupt will come, monotonic nanoseconds; `None`: not armed.
    pub timer: Option<u64>,
    /// Numbers of unimplemented system calls that the log has named already.
    pub unknown_calls: BTreeSet<u64>,
}

impl Kernel {
    /// The memory of a task that has an address space.
    pub fn user(&mut self, task: TaskId) -> UserMemory<'_> {
        let space = self.tasks[task]
            .space
            .expect("a task in a system call has an address space");
        UserMemory {
            space: &mut self.spaces[space],
            frames: &mut self.frames,
        }
    }

    /// The file system, the task's descriptor table, and its memory, borrowed side by side.
    pub fn files_and_user(
        &mut self,
        task: TaskId,
    ) -> (&mut FileSystem, Id<FdTable>, UserMemory<'_>) {
        let record = &self.tasks[task];
        let space = record
            .space
            .expect("a task in a system call has an address space");
        let table = record
            .files
            .expect("a task in a system call has descriptors");
        (
            &mut self.fs,
            table,
            UserMemory {
                space: &mut self.spaces[space],
                frames: &mut self.frames,
            },
        )
    }

    /// Makes everybody runnable whom the file system has woken.
    pub fn deliver_wakeups(&mut self) {
        if self.fs.woken.is_empty() {
            return;
        }
        // Out of the file system while it is walked, back for its capacity: first come, first woken.
        let mut woken = core::mem::take(&mut self.fs.woken);
        for task in woken.drain(..) {
            self.wake(task);
        }
        self.fs.woken = woken;
    }

    /// Brings the VMM's view up to date: counters and where the tables are.
    pub fn publish(&mut self) {
        let counters = self.frames.counters;
        let (frame_table, frame_count) = self.frames.frame_table();
        let first_process = self.tasks.first_record();
        let info = self.info();
        info.counters = counters;
        info.frame_table = frame_table;
        info.frame_count = frame_count;
        info.first_process = first_process;
    }

    /// The page that the VMM reads.
    pub fn info(&mut self) -> &mut KernelInfo {
        let page = self
            .frames
            .window
            .page_mut(Frame::containing(PhysAddr(KERNEL_INFO_GPA)));
        KernelInfo::mut_from_prefix(page)
            .expect("the page is aligned and large enough")
            .0
    }
}

/// xoshiro256** (Blackman & Vigna 2018), seeded by the VMM from the host's entropy.
#[derive(Debug)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// From a seed that is not all zeros.
    pub const fn new(seed: [u64; 4]) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Fills a buffer.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}
