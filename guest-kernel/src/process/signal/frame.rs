//! Signal frames: what a handler finds on its stack, and how rt_sigreturn(2) goes back
//! (Linux: struct rt_sigframe in arch/x86/include/asm/sigframe.h, arch/x86/kernel/signal_64.c).
//!
//! ```text
//! old rsp - 128   red zone, left alone (not on an alternate stack)
//!                 extended registers, XSAVE format, 64-byte aligned; software bytes at 464; magic behind
//!                 siginfo_t                 128 bytes
//!                 struct ucontext           304 bytes
//! rsp ->          return address: the restorer; rsp + 8 is 16-byte aligned
//! ```

use super::set::UNBLOCKABLE;
use super::{Action, AlternateStack, SignalInfo, SignalSet, UserSignalInfo};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::task::TaskId;
use forkvm_abi::layout::{USER_END, selector};
use forkvm_abi::pt_regs::PtRegs;
use linux_raw_sys::general as uapi;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes below rsp that the ABI lets a function use.
const RED_ZONE: u64 = 128;
/// RFLAGS bits a program may set: CF PF AF ZF SF TF DF OF RF AC (Linux's FIX_EFLAGS).
const USER_RFLAGS: u64 = 0x0005_0dd5;
/// IF and the bit that is always set.
const FIXED_RFLAGS: u64 = 0x202;
/// TF, DF and RF are off when a handler starts.
const HANDLER_CLEARS: u64 = 0x0001_0500;

/// uc_flags: fpstate is in XSAVE format.
const UC_FP_XSTATE: u64 = 1;
/// uc_flags: ss is saved, and restored as it is.
const UC_SIGCONTEXT_SS: u64 = 2;
const UC_STRICT_RESTORE_SS: u64 = 4;
/// Software bytes of the FXSAVE area (struct _fpx_sw_bytes).
const SOFTWARE_BYTES_OFFSET: u64 = 464;
const MAGIC1: u32 = 0x4650_5853;
const MAGIC2: u32 = 0x4650_5845;

/// `struct rt_sigframe`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct SignalFrame {
    return_address: u64,
    context: UserContext,
    info: UserSignalInfo,
}

/// `struct ucontext`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct UserContext {
    flags: u64,
    link: u64,
    stack: AlternateStack,
    machine: MachineContext,
    mask: SignalSet,
}

/// `struct sigcontext_64`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct MachineContext {
    r8: u64,
    r9: u64,
    r10: u64,
    r11: u64,
    r12: u64,
    r13: u64,
    r14: u64,
    r15: u64,
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rbx: u64,
    rdx: u64,
    rax: u64,
    rcx: u64,
    rsp: u64,
    rip: u64,
    rflags: u64,
    cs: u16,
    gs: u16,
    fs: u16,
    ss: u16,
    error: u64,
    trap: u64,
    old_mask: u64,
    cr2: u64,
    extended_state: u64,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<MachineContext>() == 256 && size_of::<SignalFrame>() == 440);

/// `struct _fpx_sw_bytes`.
#[repr(C)]
#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
struct SoftwareBytes {
    magic: u32,
    bytes_with_magic: u32,
    features: u64,
    bytes: u32,
    padding: [u32; 7],
}

impl Kernel {
    /// Builds the frame and points the registers at the handler. EFAULT if the stack cannot take it; the
    /// registers are untouched then.
    pub(super) fn push_signal_frame(
        &mut self,
        task: TaskId,
        info: SignalInfo,
        action: Action,
        mask: SignalSet,
    ) -> Result<(), Errno> {
        if !action.has(uapi::SA_RESTORER) {
            return Err(Errno::EFAULT);
        }
        let regs = self.tasks[task].record.regs;
        let (state, frame) = self.place_frame(task, regs.rsp, &action)?;
        self.save_extended_state(task, state)?;
        let content = self.frame_content(task, info, &action, mask, state);
        self.user(task).write(frame, &content)?;

        let task = &mut self.tasks[task];
        if task.signals.alternate_stack.flags & uapi::SS_AUTODISARM != 0 {
            task.signals.alternate_stack = AlternateStack::default();
        }
        task.fpu.reset();
        task.fpu.load();
        let field = |offset: usize| frame + offset as u64;
        task.record.regs = PtRegs {
            rdi: u64::from(info.signal),
            rsi: field(core::mem::offset_of!(SignalFrame, info)),
            rdx: field(core::mem::offset_of!(SignalFrame, context)),
            rax: 0,
            rip: action.handler,
            rsp: frame,
            rflags: regs.rflags & !HANDLER_CLEARS,
            cs: u64::from(selector::USER_CS),
            ss: u64::from(selector::USER_SS),
            orig_rax: u64::MAX,
            ..regs
        };
        Ok(())
    }

    /// rt_sigreturn(2): registers, mask and alternate stack from the frame. EFAULT for a frame that cannot be
    /// read or leads nowhere; the caller then dies of SIGSEGV, as there is nothing to return to.
    pub fn pop_signal_frame(&mut self, task: TaskId) -> Result<(), Errno> {
        let frame = self.tasks[task].record.regs.rsp.wrapping_sub(8);
        let content: SignalFrame = self.user(task).read(frame)?;
        let machine = content.context.machine;
        if machine.rip >= USER_END {
            return Err(Errno::EFAULT);
        }
        self.restore_extended_state(task, machine.extended_state)?;
        self.tasks[task].record.regs = machine.to_registers();
        self.tasks[task].signals.alternate_stack = content.context.stack;
        self.set_signal_mask(task, content.context.mask & !UNBLOCKABLE);
        Ok(())
    }

    /// Least size of an alternate stack (AT_MINSIGSTKSZ): frame, extended registers, alignment.
    pub fn minimum_signal_stack(&self) -> u64 {
        let state = self
            .boot
            .xsave_bytes
            .max(self.boot.native_xsave_bytes)
            .max(512);
        (size_of::<SignalFrame>() as u64 + state + 4 + 64 + 16).next_multiple_of(16)
    }

    /// Addresses of extended state and frame.
    fn place_frame(&self, task: TaskId, rsp: u64, action: &Action) -> Result<(u64, u64), Errno> {
        let task = &self.tasks[task];
        let alternate = task.signals.alternate_stack;
        let on_alternate = alternate.contains(rsp);
        let enters = action.has(uapi::SA_ONSTACK)
            && alternate.flags & uapi::SS_DISABLE == 0
            && !on_alternate;
        let top = if enters {
            alternate.base.wrapping_add(alternate.size)
        } else {
            rsp.wrapping_sub(RED_ZONE)
        };
        let state =
            top.wrapping_sub(task.fpu.frame_bytes() as u64 + size_of_val(&MAGIC2) as u64) & !63;
        let frame = (state.wrapping_sub(size_of::<SignalFrame>() as u64) & !15).wrapping_sub(8);
        // A full alternate stack must not spill into what lies below it.
        if (enters || on_alternate) && !alternate.contains(frame) {
            return Err(Errno::EFAULT);
        }
        Ok((state, frame))
    }

    fn frame_content(
        &self,
        task: TaskId,
        info: SignalInfo,
        action: &Action,
        mask: SignalSet,
        state: u64,
    ) -> SignalFrame {
        let task = &self.tasks[task];
        let xsave = if task.fpu.features() == 0 {
            0
        } else {
            UC_FP_XSTATE
        };
        let mut machine = MachineContext::of(&task.record.regs);
        machine.trap = if task.record.vector < 32 {
            task.record.vector
        } else {
            0
        };
        machine.cr2 = if info.is_fault() { info.value } else { 0 };
        machine.old_mask = mask;
        machine.extended_state = state;
        SignalFrame {
            return_address: action.restorer,
            context: UserContext {
                flags: xsave | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS,
                link: 0,
                stack: task.signals.alternate_stack,
                machine,
                mask,
            },
            info: info.to_user(),
        }
    }

    /// Writes the extended registers, marked as Linux marks them so that a program can find all of them.
    fn save_extended_state(&mut self, task: TaskId, at: u64) -> Result<(), Errno> {
        let features = self.tasks[task].fpu.features();
        let space = self.tasks[task].space.ok_or(Errno::EFAULT)?;
        let area = self.tasks[task].fpu.bytes();
        let mut user = crate::memory::UserMemory {
            space: &mut self.spaces[space],
            frames: &mut self.frames,
        };
        user.write_bytes(at, area)?;
        if features != 0 {
            let bytes = u32::try_from(area.len()).map_err(|_| Errno::EFAULT)?;
            let software = SoftwareBytes {
                magic: MAGIC1,
                bytes_with_magic: bytes + 4,
                features,
                bytes,
                padding: [0; 7],
            };
            user.write(at + SOFTWARE_BYTES_OFFSET, &software)?;
            user.write(at + u64::from(bytes), &MAGIC2)?;
        }
        Ok(())
    }

    /// Reads the extended registers back; address 0 stands for a fresh program's. What the CPU would refuse is corrected.
    fn restore_extended_state(&mut self, task: TaskId, at: u64) -> Result<(), Errno> {
        let space = self.tasks[task].space.ok_or(Errno::EFAULT)?;
        let mut user = crate::memory::UserMemory {
            space: &mut self.spaces[space],
            frames: &mut self.frames,
        };
        let fpu = &mut self.tasks[task].fpu;
        let filled = if at == 0 {
            fpu.reset();
            Ok(())
        } else {
            fpu.replace(|area| user.read_bytes(at, area))
        };
        fpu.load();
        filled
    }
}

impl MachineContext {
    fn of(regs: &PtRegs) -> Self {
        Self {
            r8: regs.r8,
            r9: regs.r9,
            r10: regs.r10,
            r11: regs.r11,
            r12: regs.r12,
            r13: regs.r13,
            r14: regs.r14,
            r15: regs.r15,
            rdi: regs.rdi,
            rsi: regs.rsi,
            rbp: regs.rbp,
            rbx: regs.rbx,
            rdx: regs.rdx,
            rax: regs.rax,
            rcx: regs.rcx,
            rsp: regs.rsp,
            rip: regs.rip,
            rflags: regs.rflags,
            cs: selector::USER_CS,
            gs: 0,
            fs: 0,
            ss: selector::USER_SS,
            error: 0,
            trap: 0,
            old_mask: 0,
            cr2: 0,
            extended_state: 0,
            reserved: [0; 8],
        }
    }

    /// Nothing in them lets the program out of ring 3 or keeps interrupts away.
    fn to_registers(self) -> PtRegs {
        PtRegs {
            r15: self.r15,
            r14: self.r14,
            r13: self.r13,
            r12: self.r12,
            rbp: self.rbp,
            rbx: self.rbx,
            r11: self.r11,
            r10: self.r10,
            r9: self.r9,
            r8: self.r8,
            rax: self.rax,
            rcx: self.rcx,
            rdx: self.rdx,
            rsi: self.rsi,
            rdi: self.rdi,
            orig_rax: u64::MAX,
            rip: self.rip,
            cs: u64::from(selector::USER_CS),
            rflags: self.rflags & USER_RFLAGS | FIXED_RFLAGS,
            rsp: self.rsp,
            ss: u64::from(selector::USER_SS),
        }
    }
}
