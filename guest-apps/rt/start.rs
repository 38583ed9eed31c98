//! From the first user instruction to `main`, and what becomes of a panic.

use crate::syscall::exit;
use core::ffi::{CStr, c_char};
use core::panic::PanicInfo;

/// Exit status of an app that panicked.
pub const PANIC_STATUS: u8 = 101;

unsafe extern "Rust" {
    /// Made by [`entry!`](crate::entry).
    safe fn app_main(program: &Program) -> u8;
}

// execve leaves argc at the stack pointer, which is 16-byte aligned, and every other register
// unspecified (System V ABI, AMD64 supplement, 3.4.1). rbp = 0 ends a debugger's backtrace.
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "    xor ebp, ebp",
    "    mov rdi, rsp",
    "    call {start}",
    "    ud2",
    start = sym start,
);

/// # Safety
/// `stack` is the stack pointer that execve set.
unsafe extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: the caller's promise: argc, argc pointers, a null pointer, the environment's pointers.
    let program = unsafe { Program::from_stack(stack) };
    exit(app_main(&program));
}

/// What execve gave this program.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    arguments: &'static [*const c_char],
    environment: *const *const c_char,
}

impl Program {
    /// # Safety
    /// `stack` points to what execve builds: see execve(2) and the System V ABI.
    unsafe fn from_stack(stack: *const usize) -> Self {
        // SAFETY: argc, then argv with its null pointer, then envp, in one piece.
        unsafe {
            let count = *stack;
            let argv = stack.add(1).cast::<*const c_char>();
            Self {
                arguments: core::slice::from_raw_parts(argv, count),
                environment: argv.add(count + 1),
            }
        }
    }

    /// The arguments, argv\[0\] included.
    pub fn arguments(&self) -> impl Iterator<Item = &'static CStr> {
        // SAFETY: each is a string that execve copied onto the stack, which outlives the program's code.
        self.arguments
            .iter()
            .map(|&argument| unsafe { CStr::from_ptr(argument) })
    }

    /// The environment strings, `NAME=value` each.
    pub fn environment(&self) -> impl Iterator<Item = &'static CStr> {
        let mut next = self.environment;
        core::iter::from_fn(move || {
            // SAFETY: `next` starts at envp and moves on only while it has not met the null pointer.
            let entry = unsafe { *next };
            if entry.is_null() {
                return None;
            }
            // SAFETY: not at the end, so there is another entry; strings as above.
            unsafe {
                next = next.add(1);
                Some(CStr::from_ptr(entry))
            }
        })
    }

    /// The value of an environment variable.
    pub fn variable(&self, name: &str) -> Option<&'static [u8]> {
        self.environment().find_map(|entry| {
            entry
                .to_bytes()
                .strip_prefix(name.as_bytes())?
                .strip_prefix(b"=")
        })
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    crate::eprintln!("{info}");
    exit(PANIC_STATUS);
}
