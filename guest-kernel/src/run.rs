//! The kernel's loop: who runs, what stopped it, what to do about it.
//!
//! In:  a built [`Kernel`]. Out: the Exit doorbell, after which the VM is gone.

use crate::arch::{self, Trap};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::memory::{Access, FaultOutcome};
use crate::process::signal::SignalInfo;
use crate::process::task::TaskId;
use forkvm_abi::boot::event;
use forkvm_abi::doorbell::{LogLevel, Operation, Request};
use forkvm_abi::layout::vector;
use linux_raw_sys::general as raw;

/// How long a task may keep the vCPU while others wait.
const SLICE: u64 = 4_000_000;
/// How long console output may wait for more to go with it.
const CONSOLE_DELAY: u64 = 1_000_000;

impl Kernel {
    /// Runs until the first program is done.
    pub fn run(&mut self) -> ! {
        loop {
            self.between_tasks();
            if self.finished() {
                self.end(self.first_exit.unwrap_or_default());
            }
            match self.scheduler.next() {
                Some(task) => self.run_task(task),
                None => self.idle(),
            }
        }
    }

    /// What is due whenever no task holds the vCPU: heap headroom, deadlines, console output.
    fn between_tasks(&mut self) {
        arch::top_up_heap(&mut self.frames);
        let now = self.clock.monotonic();
        while let Some(task) = self.scheduler.expired(now) {
            self.wake(task);
        }
        self.flush_console_if_due(now);
    }

    /// Runs one task until it waits, ends, or somebody else's turn has come.
    fn run_task(&mut self, task: TaskId) {
        self.frames.counters.switches += 1;
        let record = &mut self.tasks[task];
        arch::load_segment_bases(&record.record);
        record.fpu.load();
        let mut since = arch::tsc();
        let slice_end = self.clock.monotonic() + SLICE;
        while self.is_ready(task) {
            if self.scheduler.is_contended() {
                if self.scheduler.take_yield() || self.clock.monotonic() >= slice_end {
                    self.scheduler.enqueue(task);
                    break;
                }
                self.arm_timer(slice_end);
            }
            if let Some(deadline) = self.console_deadline() {
                self.arm_timer(deadline);
            }
            if let Some(deadline) = self.scheduler.next_deadline() {
                self.arm_timer(deadline);
            }
            let trap = self.enter(task, &mut since);
            self.handle(task, trap);
        }
        self.leave(task, since);
    }

    /// Takes up a parked call and delivers signals until the task can go on in ring 3; false if it waits or has ended.
    fn is_ready(&mut self, task: TaskId) -> bool {
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

    /// Into ring 3 and back, with the time of both sides.
    fn enter(&mut self, task: TaskId, since: &mut u64) -> Trap {
        let record = &mut self.tasks[task];
        let space = record.space.expect("a runnable task has an address space");
        let before = arch::tsc();
        record.record.kernel_ticks += before.wrapping_sub(*since);
        self.frames.counters.kernel_ticks += before.wrapping_sub(*since);
        if self.frames.counters.first_user_tsc == 0 {
            self.frames.counters.first_user_tsc = before;
        }
        let trap = arch::enter(&mut record.record, &mut self.spaces[space]);
        *since = arch::tsc();
        record.record.user_ticks += since.wrapping_sub(before);
        self.frames.counters.user_ticks += since.wrapping_sub(before);
        self.frames.counters.traps += 1;
        trap
    }

    /// The task gives up the vCPU, if it still exists.
    fn leave(&mut self, task: TaskId, since: u64) {
        let ticks = arch::tsc().wrapping_sub(since);
        self.frames.counters.kernel_ticks += ticks;
        if let Some(task) = self.tasks.get_mut(task) {
            task.record.kernel_ticks += ticks;
            arch::save_segment_bases(&mut task.record);
        }
    }

    fn handle(&mut self, task: TaskId, trap: Trap) {
        match trap {
            Trap::SystemCall => self.system_call(task),
            Trap::PageFault { address, access } => self.page_fault(task, address, access),
            Trap::Exception { vector, error } => self.exception(task, vector, error),
            Trap::Interrupt { vector } => self.take_interrupt(vector),
        }
    }

    /// #PF of user code: resolved, or a signal.
    fn page_fault(&mut self, task: TaskId, address: u64, access: Access) {
        let user = self.user(task);
        let outcome = user.space.fault(user.frames, address, access);
        let (signal, code) = match outcome {
            FaultOutcome::Resolved => {
                self.tasks[task].minor_faults += 1;
                return;
            }
            FaultOutcome::NotMapped => (raw::SIGSEGV, raw::SEGV_MAPERR),
            FaultOutcome::Denied => (raw::SIGSEGV, raw::SEGV_ACCERR),
            FaultOutcome::BeyondFile => (raw::SIGBUS, raw::BUS_ADRERR),
            FaultOutcome::OutOfMemory => return self.out_of_memory(task),
        };
        self.force_signal(
            task,
            SignalInfo {
                signal,
                code: code.cast_signed(),
                pid: 0,
                value: address,
            },
        );
    }

    /// No frame for a page that the program was promised: it dies, as by Linux's OOM killer, and the log says so.
    fn out_of_memory(&mut self, task: TaskId) {
        self.frames.counters.oom_kills += 1;
        let pid = self.tasks[task].record.pid;
        let total = self.frames.counters.frames_total * 4;
        self.log(LogLevel::Warn, &alloc::format!("out of memory: killed process {pid}; all {total} KiB of guest memory are in use, try a larger --memory"));
        self.force_signal(
            task,
            SignalInfo {
                signal: raw::SIGKILL,
                code: raw::SI_KERNEL.cast_signed(),
                pid: 0,
                value: 0,
            },
        );
    }

    /// Any other exception is the signal that Linux sends for it (arch/x86/kernel/traps.c).
    fn exception(&mut self, task: TaskId, vector: u32, _error: u64) {
        let rip = self.tasks[task].record.regs.rip;
        let (signal, code, value) = match vector {
            0 => (raw::SIGFPE, raw::FPE_INTDIV, rip),
            1 => (raw::SIGTRAP, raw::TRAP_TRACE, rip),
            3 => (raw::SIGTRAP, raw::SI_KERNEL, 0),
            6 => (raw::SIGILL, raw::ILL_ILLOPN, rip),
            16 => (raw::SIGFPE, raw::FPE_FLTINV, rip),
            17 => (raw::SIGBUS, raw::BUS_ADRALN, 0),
            19 => (raw::SIGFPE, raw::FPE_FLTINV, rip),
            12 => (raw::SIGBUS, raw::SI_KERNEL, 0),
            _ => (raw::SIGSEGV, raw::SI_KERNEL, 0),
        };
        self.force_signal(
            task,
            SignalInfo {
                signal,
                code: code.cast_signed(),
                pid: 0,
                value,
            },
        );
    }

    fn take_interrupt(&mut self, number: u32) {
        self.frames.counters.interrupts += 1;
        arch::end_of_interrupt();
        if number == u32::from(vector::TIMER) {
            self.timer = None;
            let now = self.clock.monotonic();
            while let Some(task) = self.scheduler.expired(now) {
                self.wake(task);
            }
            self.flush_console_if_due(now);
        } else if number == u32::from(vector::HOST_EVENT) {
            self.host_events();
        }
    }

    /// What the VMM has to say: Ctrl-C, input, a new window size.
    fn host_events(&mut self) {
        let (events, window) = arch::take_host_events();
        if events & event::INPUT_READY != 0 {
            self.fs.input_ready();
        }
        if events & event::WINDOW_CHANGED != 0 {
            #[allow(clippy::cast_possible_truncation, reason = "two 16-bit halves")]
            self.fs.set_window((window >> 16) as u16, window as u16);
            self.signal_foreground(raw::SIGWINCH);
        }
        for (bit, signal) in [(event::INTERRUPT, raw::SIGINT), (event::QUIT, raw::SIGQUIT)] {
            if events & bit != 0 {
                self.signal_foreground(signal);
            }
        }
        for (bit, signal) in [
            (event::TERMINATE, raw::SIGTERM),
            (event::HANGUP, raw::SIGHUP),
        ] {
            if events & bit != 0 {
                self.signal_first(signal);
            }
        }
        self.deliver_wakeups();
    }

    /// Nothing to run: sends what is waiting, then sleeps until an interrupt.
    fn idle(&mut self) {
        self.fs.flush_console();
        self.publish();
        match self.scheduler.next_deadline() {
            Some(deadline) => self.arm_timer(deadline),
            None => self.timer = None,
        }
        let before = arch::tsc();
        let vector = arch::idle();
        self.frames.counters.idle_ticks += arch::tsc().wrapping_sub(before);
        self.take_interrupt(vector);
    }

    /// Arms the timer for a moment, unless it is armed for an earlier one: each access to it costs an exit.
    fn arm_timer(&mut self, at: u64) {
        if self.timer.is_some_and(|armed| armed <= at) {
            return;
        }
        self.timer = Some(at);
        arch::arm_timer(at.saturating_sub(self.clock.monotonic()));
    }

    /// When buffered console output is to go to the VMM at the latest, monotonic nanoseconds.
    fn console_deadline(&self) -> Option<u64> {
        let since = self.fs.console_pending_since()?;
        Some(self.clock.nanoseconds(since) + CONSOLE_DELAY)
    }

    fn flush_console_if_due(&mut self, now: u64) {
        if self
            .console_deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            self.fs.flush_console();
        }
    }

    /// Passes a message to the VMM's log.
    pub fn log(&mut self, level: LogLevel, message: &str) {
        self.fs.flush_console();
        let len = message.len().min(LOG_MAX);
        let page = self.frames.window.page_mut(LOG_FRAME);
        page[LOG_OFFSET..LOG_OFFSET + len].copy_from_slice(&message.as_bytes()[..len]);
        let address = LOG_FRAME.address().0 + LOG_OFFSET as u64;
        arch::ring(Request {
            operation: Operation::Log as u32,
            args: [address, len as u64, u64::from(level as u32), 0],
            ..Request::default()
        });
    }

    /// The first program could not even start: say why, and end with 126 or 127 as a shell would.
    pub fn refuse_first_program(&mut self, path: &[u8], errno: Errno) {
        let path = alloc::string::String::from_utf8_lossy(path).into_owned();
        self.log(
            LogLevel::Error,
            &alloc::format!("cannot run {path}: {}", errno.name()),
        );
        let status = if errno == Errno::ENOENT { 127 } else { 126 };
        self.end(status << 8);
    }

    fn end(&mut self, status: u32) -> ! {
        self.fs.flush_console();
        self.publish();
        arch::ring(Request {
            operation: Operation::Exit as u32,
            args: [u64::from(status), 0, 0, 0],
            ..Request::default()
        });
        panic!("the VMM went on after the guest's end")
    }
}

/// Messages travel in the second half of the page that also holds the doorbell request.
const LOG_FRAME: crate::memory::Frame =
    crate::memory::Frame::containing(crate::memory::PhysAddr(forkvm_abi::layout::REQUEST_GPA));
const LOG_OFFSET: usize = 2048;
const LOG_MAX: usize = 2048;
const _: () = assert!(size_of::<Request>() <= LOG_OFFSET);
