//! A whole kernel over a buffer, for host tests: pid 1 and the first program exist, and the test plays the
//! programs by making their system calls.

use crate::boot;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::memory::PhysAddr;
use crate::memory::phys::PhysWindow;
use crate::process::elf::tests::ordinary;
use crate::process::task::TaskId;
use alloc::vec::Vec;
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::boot::{BootInfo, Span};
use forkvm_abi::image::{ImageEntry, mode};
use zerocopy::{FromZeros, IntoBytes};

const STRINGS: u64 = 0x1_0000;
const INDEX: u64 = 0x2_0000;
const NAMES: u64 = 0x3_0000;
const FREE: u64 = 0x10_0000;

/// An address in the first program's data, writable, for results of system calls.
pub(crate) const SCRATCH: u64 = 0x40_2800;

/// A file in the root directory: name, permissions, contents.
pub(crate) type TestFile<'a> = (&'a str, u32, &'a [u8]);

impl Kernel {
    /// A kernel with `frames` free frames that has started the program /prog.
    pub(crate) fn for_test(frames: u64) -> Self {
        Self::for_test_with(frames, &[])
    }

    /// The same with more files in the root directory. Names come in byte order.
    pub(crate) fn for_test_with(frames: u64, files: &[TestFile<'_>]) -> Self {
        let program = ordinary();
        let mut all: Vec<TestFile<'_>> = files.to_vec();
        all.push(("prog", 0o755, &program));
        all.sort_unstable_by_key(|file| file.0);
        let pages: u64 = all
            .iter()
            .map(|file| (file.2.len() as u64).div_ceil(PAGE_SIZE))
            .sum();
        // The frame table and the frame of zeros come on top.
        let table = (frames * 8).div_ceil(PAGE_SIZE) + 2;
        let low_end = FREE + (frames + table) * PAGE_SIZE;
        let mut window = PhysWindow::hosted(usize::try_from(low_end + pages * PAGE_SIZE).unwrap());
        let mut boot = BootInfo::new_zeroed();
        boot.low_ram = Span {
            start: 0,
            len: low_end,
        };
        boot.free_start = FREE;
        boot.max_processes = 400;
        boot.tsc_khz = 1_000_000;
        boot.random_seed = [1, 2, 3, 4];
        boot.image = Span {
            start: low_end,
            len: pages * PAGE_SIZE,
        };
        boot.argc = 1;
        lay_out(&mut window, &mut boot, &all);
        let strings = b"/prog\0/prog\0";
        put(&mut window, STRINGS, strings);
        boot.strings = Span {
            start: STRINGS,
            len: strings.len() as u64,
        };
        boot::build(window, &boot)
    }

    /// The first program.
    pub(crate) fn first(&self) -> TaskId {
        self.tasks.by_pid(2).expect("the first program lives")
    }

    /// The task with a pid.
    pub(crate) fn task(&self, pid: u64) -> TaskId {
        self.tasks
            .by_pid(u32::try_from(pid).unwrap())
            .expect("there is such a task")
    }

    /// `task` makes a system call; what rax holds afterwards, `None` if the caller sleeps or has ended.
    pub(crate) fn call(&mut self, task: TaskId, number: u32, args: &[u64]) -> Option<u64> {
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        let regs = &mut self.tasks[task].record.regs;
        [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] = all;
        regs.orig_rax = u64::from(number);
        regs.rax = u64::from(number);
        self.system_call(task);
        self.settle();
        self.is_runnable(task)
            .then(|| self.tasks[task].record.regs.rax)
    }

    /// The same for a call that must succeed at once.
    pub(crate) fn must(&mut self, task: TaskId, number: u32, args: &[u64]) -> u64 {
        let value = self.call(task, number, args).expect("the call returns");
        assert!(
            value < 1 << 63,
            "call {number} failed: {}",
            value.cast_signed()
        );
        value
    }

    /// Lets everybody run up to ring 3: calls are taken up again, signals delivered. Who is ready stays in the queue.
    pub(crate) fn settle(&mut self) {
        let mut ready = Vec::new();
        while let Some(task) = self.scheduler.next() {
            if self.comes_to_ring_3(task) {
                ready.push(task);
            }
        }
        for task in ready {
            self.scheduler.enqueue(task);
        }
    }

    fn comes_to_ring_3(&mut self, task: TaskId) -> bool {
        while self.is_runnable(task) {
            if core::mem::take(&mut self.tasks[task].retry) {
                self.resume_system_call(task);
            } else if self.tasks[task].pending_work {
                self.deliver_signals(task, None);
            } else {
                return true;
            }
        }
        false
    }
}

/// What a failed call leaves in rax.
pub(crate) fn failure(errno: Errno) -> Option<u64> {
    Some(errno.to_rax())
}

fn put(window: &mut PhysWindow, at: u64, bytes: &[u8]) {
    for (index, byte) in bytes.iter().enumerate() {
        let address = PhysAddr(at + index as u64);
        let frame = crate::memory::Frame::containing(address);
        window.page_mut(frame)[usize::try_from(address.0 % PAGE_SIZE).unwrap()] = *byte;
    }
}

/// Index, names and contents of a root directory with these files.
fn lay_out(window: &mut PhysWindow, boot: &mut BootInfo, files: &[TestFile<'_>]) {
    let root = ImageEntry {
        mode: mode::S_IFDIR | 0o755,
        data: 1,
        size: files.len() as u64,
        nlink: 2,
        ..ImageEntry::default()
    };
    let mut entries = [root].to_vec();
    let (mut names, mut at) = (Vec::new(), boot.image.start);
    for (name, permissions, bytes) in files {
        entries.push(ImageEntry {
            mode: mode::S_IFREG | permissions,
            name_start: u32::try_from(names.len()).unwrap(),
            name_len: u32::try_from(name.len()).unwrap(),
            data: at,
            size: bytes.len() as u64,
            nlink: 1,
            ..ImageEntry::default()
        });
        names.extend_from_slice(name.as_bytes());
        put(window, at, bytes);
        at += (bytes.len() as u64).next_multiple_of(PAGE_SIZE);
    }
    put(window, INDEX, entries.as_bytes());
    put(window, NAMES, &names);
    boot.image_index = Span {
        start: INDEX,
        len: size_of_val(&entries[..]) as u64,
    };
    boot.image_names = Span {
        start: NAMES,
        len: names.len() as u64,
    };
}
