//! Builds the [`Kernel`] from what the VMM handed over.

use crate::arch;
use crate::arena::Arena;
use crate::fs::FileSystem;
use crate::kernel::{Kernel, Random};
use crate::memory::phys::PhysWindow;
use crate::memory::{Frames, PhysAddr};
use crate::process::scheduler::Scheduler;
use crate::process::task::TaskTable;
use crate::time::Clock;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use forkvm_abi::boot::BootInfo;

/// The kernel as it is when the first program is about to start: pid 1 and the first program exist, nothing has run.
pub fn build(window: PhysWindow, boot: &BootInfo) -> Kernel {
    let mut frames = Frames::new(window, boot);
    frames.costly_traps = arch::traps_are_costly();
    if frames.costly_traps {
        frames.fault_around = 4;
    }
    arch::top_up_heap(&mut frames);
    let mut kernel = Kernel {
        kernel_half: arch::kernel_half(&frames.window, boot),
        fs: FileSystem::new(boot, window),
        frames,
        spaces: Arena::new(),
        tasks: TaskTable::default(),
        groups: Arena::new(),
        handlers: Arena::new(),
        scheduler: Scheduler::default(),
        clock: Clock::new(boot),
        random: Random::new(boot.random_seed),
        boot: *boot,
        first_exit: None,
        timer: None,
        unknown_calls: BTreeSet::new(),
    };
    kernel.spawn_init();
    kernel.publish();
    kernel.start_first_program(boot, &window);
    kernel
}

impl Kernel {
    fn start_first_program(&mut self, boot: &BootInfo, window: &PhysWindow) {
        let (path, arguments, environment) = boot_strings(boot, window);
        if let Err(errno) = self.spawn_first(path, &arguments, &environment) {
            self.refuse_first_program(path, errno);
        }
    }
}

/// Path, arguments and environment of the first program.
fn boot_strings<'a>(
    boot: &BootInfo,
    window: &'a PhysWindow,
) -> (&'a [u8], Vec<&'a [u8]>, Vec<&'a [u8]>) {
    let bytes = window.bytes(PhysAddr(boot.strings.start), boot.strings.len);
    let mut strings = bytes.split(|byte| *byte == 0);
    let path = strings.next().unwrap_or_default();
    let arguments = strings.by_ref().take(boot.argc as usize).collect();
    let environment = strings.take(boot.envc as usize).collect();
    (path, arguments, environment)
}
