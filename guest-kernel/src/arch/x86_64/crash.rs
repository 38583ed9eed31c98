//! How the kernel dies: an epitaph in guest memory, then the doorbell. The VMM tells the story.

use super::{boot, cpu, doorbell};
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use forkvm_abi::doorbell::{Operation, Request};
use forkvm_abi::inspect::{Epitaph, KernelInfo};
use forkvm_abi::layout::{
    DIRECT_MAP_BASE, EMERGENCY_STACK_BASE, EMERGENCY_STACK_TOP, KERNEL_INFO_GPA, KERNEL_STACK_BASE,
    KERNEL_STACK_TOP,
};
use forkvm_abi::pt_regs::PtRegs;

/// Not an exception: a Rust panic.
const RUST_PANIC: u32 = u32::MAX;

static CRASHED: AtomicBool = AtomicBool::new(false);

/// The panic handler's work.
pub fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let mut regs = PtRegs::default();
    // SAFETY: copies two registers.
    unsafe {
        core::arch::asm!("mov {}, rbp", "mov {}, rsp", "lea {}, [rip]", out(reg) regs.rbp, out(reg) regs.rsp, out(reg) regs.rip, options(nomem, nostack, preserves_flags));
    }
    end(RUST_PANIC, 0, &regs, format_args!("{info}"))
}

/// An exception in the kernel itself; called by the entry code on a stack that is still good.
#[unsafe(no_mangle)]
extern "C" fn kernel_crash(vector: u32, regs: *const PtRegs) -> ! {
    // SAFETY: the entry code passes the pt_regs it has just pushed.
    let regs = unsafe { regs.read() };
    end(
        vector,
        regs.orig_rax,
        &regs,
        format_args!("exception {vector} in the kernel"),
    )
}

fn end(vector: u32, error_code: u64, regs: &PtRegs, message: core::fmt::Arguments<'_>) -> ! {
    if !CRASHED.swap(true, Relaxed) {
        let info = usize::try_from(DIRECT_MAP_BASE + KERNEL_INFO_GPA).expect("64-bit");
        // SAFETY: the KernelInfo page is mapped, and the kernel that wrote to it has just ended.
        let info = unsafe { &mut *core::ptr::with_exposed_provenance_mut::<KernelInfo>(info) };
        fill(&mut info.epitaph, vector, error_code, regs, message);
        doorbell::ring(Request {
            operation: Operation::Panic as u32,
            ..Request::default()
        });
    }
    loop {
        core::hint::spin_loop();
    }
}

fn fill(
    epitaph: &mut Epitaph,
    vector: u32,
    error_code: u64,
    regs: &PtRegs,
    message: core::fmt::Arguments<'_>,
) {
    epitaph.vector = vector;
    epitaph.error_code = error_code;
    epitaph.regs = *regs;
    epitaph.cr2 = if vector == 14 && boot::platform_is_ring0() {
        cpu::cr2()
    } else {
        0
    };
    if vector == 14 && !boot::platform_is_ring0() {
        epitaph.cr2 = super::monitor::fault_address();
    }
    walk_stack(regs.rbp, &mut epitaph.backtrace);
    let mut text = Text {
        bytes: &mut epitaph.message,
        len: 0,
    };
    // A message that is too long is cut; that is no error here.
    let _ = text.write_fmt(message);
    epitaph.message_len = u32::try_from(text.len).unwrap_or(0);
}

/// Follows the frame pointers as long as they stay on a kernel stack and go up.
fn walk_stack(mut rbp: u64, into: &mut [u64]) {
    for slot in into {
        let on_stack = |stack: core::ops::Range<u64>| stack.contains(&rbp) && rbp + 16 <= stack.end;
        if !rbp.is_multiple_of(8)
            || !(on_stack(KERNEL_STACK_BASE..KERNEL_STACK_TOP)
                || on_stack(EMERGENCY_STACK_BASE..EMERGENCY_STACK_TOP))
        {
            return;
        }
        let frame =
            core::ptr::with_exposed_provenance::<[u64; 2]>(usize::try_from(rbp).expect("64-bit"));
        // SAFETY: checked to lie on one of the two mapped stacks.
        let [next, return_address] = unsafe { frame.read() };
        *slot = return_address;
        if next <= rbp {
            return;
        }
        rbp = next;
    }
}

struct Text<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let room = self.bytes.len() - self.len;
        let mut cut = text.len().min(room);
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        self.bytes[self.len..self.len + cut].copy_from_slice(&text.as_bytes()[..cut]);
        self.len += cut;
        if cut < text.len() {
            Err(core::fmt::Error)
        } else {
            Ok(())
        }
    }
}
