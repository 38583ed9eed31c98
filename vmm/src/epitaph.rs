//! What is said about a guest that did not end well.
//!
//! A kernel that panics leaves an epitaph in memory; from one that could not, the vCPU's registers speak.
//! Registers and call trace are printed as Linux prints an oops (arch/x86/kernel/process_64.c,
//! `__show_regs`). All of it is read from a guest that may have been taken over, so text is made harmless.

use crate::inspect::process::read_virtual;
use crate::inspect::{kernel_info, process};
use crate::memory::GuestRam;
use crate::symbols::Symbols;
use crate::vm::Vm;
use forkvm_abi::inspect::{Epitaph, KernelInfo};
use forkvm_abi::pt_regs::PtRegs;
use std::fmt::Write as _;

/// `Epitaph::vector` of a Rust panic.
const RUST_PANIC: u32 = u32::MAX;
/// Exceptions by number (Intel SDM vol. 3, table 6-1).
const EXCEPTIONS: [&str; 22] = [
    "divide error",
    "debug",
    "NMI",
    "breakpoint",
    "overflow",
    "bound range exceeded",
    "invalid opcode",
    "device not available",
    "double fault",
    "coprocessor segment overrun",
    "invalid TSS",
    "segment not present",
    "stack fault",
    "general protection",
    "page fault",
    "reserved",
    "x87 error",
    "alignment check",
    "machine check",
    "SIMD error",
    "virtualisation",
    "control protection",
];
/// Bytes of code shown behind RIP.
const CODE_BYTES: usize = 16;
const REPORT: &str = "This is a bug in forkvm. Please report it with this text.\n";

/// What the kernel of this guest left behind.
pub fn of_kernel(ram: &GuestRam) -> String {
    match kernel_info(ram) {
        Ok(info) => describe(&info, current_process(ram, &info)),
        Err(error) => format!("the guest kernel panicked and left no epitaph: {error}\n{REPORT}"),
    }
}

fn describe(info: &KernelInfo, current: String) -> String {
    let Epitaph {
        message_len,
        vector,
        error_code,
        cr2,
        regs,
        backtrace,
        message,
    } = &info.epitaph;
    let symbols = Symbols::of_kernel();
    let len = usize::try_from(*message_len)
        .unwrap_or(usize::MAX)
        .min(message.len());
    let mut text = format!("the guest kernel panicked: {}\n", harmless(&message[..len]));
    if *vector != RUST_PANIC {
        let name = usize::try_from(*vector)
            .ok()
            .and_then(|vector| EXCEPTIONS.get(vector))
            .unwrap_or(&"unknown exception");
        let _ = writeln!(text, "{name}, vector {vector}, error code {error_code:#x}");
    }
    text += &registers(regs, &symbols);
    let _ = writeln!(text, "CR2: {cr2:016x}");
    text += &call_trace(backtrace, &symbols);
    text + &current + REPORT
}

/// The end of a guest whose kernel could not speak: registers of the vCPU, and the kernel's epitaph if there is one.
pub fn of_vcpu(vm: &Vm) -> String {
    let mut text = String::new();
    if let (Ok(regs), Ok(special)) = (vm.vcpu.get_regs(), vm.vcpu.get_sregs()) {
        let frame = PtRegs {
            r15: regs.r15,
            r14: regs.r14,
            r13: regs.r13,
            r12: regs.r12,
            rbp: regs.rbp,
            rbx: regs.rbx,
            r11: regs.r11,
            r10: regs.r10,
            r9: regs.r9,
            r8: regs.r8,
            rax: regs.rax,
            rcx: regs.rcx,
            rdx: regs.rdx,
            rsi: regs.rsi,
            rdi: regs.rdi,
            orig_rax: u64::MAX,
            rip: regs.rip,
            cs: special.cs.selector.into(),
            rflags: regs.rflags,
            rsp: regs.rsp,
            ss: special.ss.selector.into(),
        };
        text += &registers(&frame, &Symbols::of_kernel());
        let _ = writeln!(
            text,
            "CR0: {:016x} CR4: {:016x} EFER: {:016x}",
            special.cr0, special.cr4, special.efer
        );
        let _ = writeln!(
            text,
            "CR2: {:016x} CR3: {:016x} CPL: {}",
            special.cr2, special.cr3, special.cs.dpl
        );
        if let Ok(code) = read_virtual::<[u8; CODE_BYTES]>(&vm.ram, special.cr3, regs.rip) {
            let bytes: Vec<String> = code.iter().map(|byte| format!("{byte:02x}")).collect();
            let _ = writeln!(text, "Code: {}", bytes.join(" "));
        }
    }
    match kernel_info(&vm.ram) {
        Ok(info) if info.epitaph.message_len > 0 => {
            text + &describe(&info, current_process(&vm.ram, &info))
        }
        Ok(info) => text + &current_process(&vm.ram, &info) + REPORT,
        Err(_) => text + REPORT,
    }
}

fn registers(regs: &PtRegs, symbols: &Symbols) -> String {
    let PtRegs {
        r15,
        r14,
        r13,
        r12,
        rbp,
        rbx,
        r11,
        r10,
        r9,
        r8,
        rax,
        rcx,
        rdx,
        rsi,
        rdi,
        rip,
        cs,
        rflags,
        rsp,
        ss,
        ..
    } = regs;
    let (instruction, code, stack) = (symbols.name(*rip), cs & 0xffff, ss & 0xffff);
    format!(
        "RIP: {code:04x}:{instruction}\n\
         RSP: {stack:04x}:{rsp:016x} EFLAGS: {rflags:08x}\n\
         RAX: {rax:016x} RBX: {rbx:016x} RCX: {rcx:016x}\n\
         RDX: {rdx:016x} RSI: {rsi:016x} RDI: {rdi:016x}\n\
         RBP: {rbp:016x} R08: {r8:016x} R09: {r9:016x}\n\
         R10: {r10:016x} R11: {r11:016x} R12: {r12:016x}\n\
         R13: {r13:016x} R14: {r14:016x} R15: {r15:016x}\n"
    )
}

/// Return addresses, each one named by the call before it.
fn call_trace(backtrace: &[u64], symbols: &Symbols) -> String {
    let mut text = String::from("Call Trace:\n");
    for address in backtrace.iter().take_while(|address| **address != 0) {
        let _ = writeln!(text, " {}", symbols.name(address.wrapping_sub(1)));
    }
    text
}

fn current_process(ram: &GuestRam, info: &KernelInfo) -> String {
    let pid = info.current_pid;
    if pid == 0 {
        return "No process was running.\n".to_owned();
    }
    match process::find(ram, info, pid) {
        Ok(record) => {
            let name = record
                .comm
                .split(|byte| *byte == 0)
                .next()
                .unwrap_or_default();
            let entry = match record.vector {
                256 => format!("system call {}", record.regs.orig_rax.cast_signed()),
                vector => format!("vector {vector}"),
            };
            format!(
                "Process {pid} ({}) was running; it last entered the kernel by {entry} at {:#x}.\n",
                harmless(name),
                record.regs.rip
            )
        }
        Err(error) => format!("Process {pid} was running; its record cannot be read: {error}.\n"),
    }
}

/// Text of the guest without control characters, which a terminal would obey.
fn harmless(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}
