//! System calls: from registers to a handler and back.
//!
//! `table` has one line a call. [`Kernel::system_call`] looks the number up, runs the
//! handler, and `Kernel::finish` is the one place that turns a result into registers. Handlers are thin:
//! decode, call the subsystem, wrap.

pub mod file;
pub mod futex;
pub mod identity;
pub mod kill;
pub mod limits;
pub mod memory;
pub mod prctl;
pub mod process;
pub mod signal;
pub mod system;
pub mod table;
pub mod time;

use crate::arch;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::task::{Progress, TaskId};
use alloc::format;
use forkvm_abi::boot::flag;
use forkvm_abi::doorbell::LogLevel;
use forkvm_abi::inspect::ProcessState;

/// What a handler hands back when it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// The value for rax.
    Value(u64),
    /// The caller must wait. The handler has put it on the queue of what it waits for; when woken, the
    /// handler runs again from the start with the same arguments and `Task::progress`.
    Park {
        /// What it waits in, for WCHAN.
        channel: WaitChannel,
        /// Monotonic time in nanoseconds at which it is woken at the latest.
        deadline: Option<u64>,
    },
    /// Registers are as they should be (execve, rt_sigreturn), or the caller has ended.
    Registers,
}

/// A handler's result.
pub type SyscallResult = Result<Completion, Errno>;

/// The six argument registers: rdi, rsi, rdx, r10, r8, r9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Args(pub [u64; 6]);

impl Args {
    /// Argument `index` as C's int.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "C's int is the low 32 bits of the register"
    )]
    pub fn int(&self, index: usize) -> i32 {
        self.0[index] as i32
    }

    /// Argument `index` as C's unsigned int.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "C's unsigned int is the low 32 bits of the register"
    )]
    pub fn uint(&self, index: usize) -> u32 {
        self.0[index] as u32
    }
}

/// A handler: who calls, with what.
pub type Handler = fn(&mut Kernel, TaskId, &Args) -> SyscallResult;

/// Where a task sleeps: the Linux function that ps shows as WCHAN.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum WaitChannel {
    DoWait = 1,
    KernelClone = 2,
    PipeRead = 3,
    PipeWrite = 4,
    NTtyRead = 5,
    HrtimerNanosleep = 6,
    DoSysPause = 7,
    SigSuspend = 8,
    DoSigtimedwait = 9,
    DoPoll = 10,
    FutexWait = 11,
    DoSignalStop = 12,
    FutexLock = 13,
    WaitForPartner = 20,
}

/// Heap that a handler may use up; with less than that, only calls that give something back are served.
const HEAP_FOR_A_CALL: usize = 96 << 10;

/// How many different unimplemented calls the log names: a program may try all numbers there are.
const UNKNOWN_CALLS_NAMED: usize = 64;

impl Kernel {
    /// A task has executed `syscall`: its number is in orig_rax.
    pub fn system_call(&mut self, task: TaskId) {
        self.frames.counters.syscalls += 1;
        self.tasks[task].progress = Progress::None;
        self.dispatch(task);
    }

    /// A parked task was woken: its call runs again from the start.
    pub fn resume_system_call(&mut self, task: TaskId) {
        self.dispatch(task);
    }

    fn dispatch(&mut self, task: TaskId) {
        let regs = &self.tasks[task].record.regs;
        let number = regs.orig_rax;
        let args = Args([regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9]);
        let result = match table::lookup(number) {
            Some(call) if self.has_heap_for(call) => (call.handler)(self, task, &args),
            Some(_) => Err(Errno::ENOMEM),
            None => self.unknown_call(task, number, &args),
        };
        self.finish(task, result);
    }

    fn has_heap_for(&mut self, call: &table::Call) -> bool {
        arch::top_up_heap(&mut self.frames);
        arch::headroom() >= HEAP_FOR_A_CALL || call.frees
    }

    /// The one place that turns a result into registers.
    fn finish(&mut self, task: TaskId, result: SyscallResult) {
        match result {
            Ok(Completion::Value(value)) => self.tasks[task].record.regs.rax = value,
            Err(errno) => self.tasks[task].record.regs.rax = errno.to_rax(),
            Ok(Completion::Park { channel, deadline }) => self.park(task, channel, deadline),
            Ok(Completion::Registers) => {}
        }
        self.deliver_wakeups();
    }

    /// The caller sleeps, unless a signal is there already: then signal delivery decides about the call.
    fn park(&mut self, task: TaskId, channel: WaitChannel, deadline: Option<u64>) {
        if self.is_interrupted(task, channel) {
            if channel == WaitChannel::HrtimerNanosleep {
                self.store_remaining_sleep(task);
            }
            return self.deliver_signals(task, Some(channel));
        }
        let sleeper = &mut self.tasks[task];
        let deaf = channel == WaitChannel::KernelClone;
        sleeper.set_state(if deaf {
            ProcessState::Uninterruptible
        } else {
            ProcessState::Sleeping
        });
        sleeper.record.wait_channel = channel as u32;
        if let Some(deadline) = deadline {
            self.scheduler.set_deadline(task, deadline);
        }
    }

    /// ENOSYS, and with -v a line in the log the first time.
    fn unknown_call(&mut self, task: TaskId, number: u64, args: &Args) -> SyscallResult {
        if number == system::FORKVM_OBSERVE {
            return system::observe(self, task, args);
        }
        let verbose =
            self.boot.flags & flag::VERBOSE != 0 && self.unknown_calls.len() < UNKNOWN_CALLS_NAMED;
        if verbose && self.unknown_calls.insert(number) {
            let name = table::name(number);
            self.log(
                LogLevel::Info,
                &format!("system call {number} ({name}) is not implemented: ENOSYS"),
            );
        }
        Err(Errno::ENOSYS)
    }
}
