//! Finds instructions that the kernel must not contain: x87, MMX, SSE, AVX.
//!
//! The kernel is compiled for soft-float, so that a process's extended registers survive a
//! stay in it untouched. Inline assembly or a compiler flag gone astray could break that
//! silently; this check of the linked image makes it loud. Saving and restoring those
//! registers is the one exception, and lives in functions named `fpu_...`.

use iced_x86::{
    CpuidFeature, Decoder, DecoderOptions, Formatter, Instruction, Mnemonic, NasmFormatter, OpKind,
};

/// Functions with this prefix may save, restore and initialise extended state.
const STATE_PREFIX: &str = "fpu_";

/// A function of the image, for messages and for the exception.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) start: u64,
}

/// One line for each forbidden instruction in `code`, which runs at `address`. `functions` are sorted by start.
pub(crate) fn forbidden(code: &[u8], address: u64, functions: &[Function]) -> Vec<String> {
    let mut formatter = NasmFormatter::new();
    let mut found = Vec::new();
    for instruction in Decoder::with_ip(64, code, address, DecoderOptions::NONE).iter() {
        let function = functions
            [..functions.partition_point(|function| function.start <= instruction.ip())]
            .last();
        let name = function.map_or("(no function)", |function| function.name.as_str());
        let moves_state = name.starts_with(STATE_PREFIX) && saves_or_restores(&instruction);
        if uses_extended_state(&instruction) && !moves_state {
            let mut text = String::new();
            formatter.format(&instruction, &mut text);
            found.push(format!("{name}: {:#x}: {text}", instruction.ip()));
        }
    }
    found
}

/// Whether the instruction reads or writes a register of the x87, MMX, SSE or AVX state.
fn uses_extended_state(instruction: &Instruction) -> bool {
    let named = (0..instruction.op_count()).any(|operand| {
        let register = instruction.op_register(operand);
        instruction.op_kind(operand) == OpKind::Register
            && (register.is_vector_register()
                || register.is_st()
                || register.is_mm()
                || register.is_k()
                || register.is_tmm())
    });
    let implied = instruction.cpuid_features().iter().any(|feature| {
        matches!(
            feature,
            CpuidFeature::FPU
                | CpuidFeature::FPU287
                | CpuidFeature::FPU387
                | CpuidFeature::MMX
                | CpuidFeature::FXSR
                | CpuidFeature::AVX
                | CpuidFeature::AVX2
        )
    });
    let control = matches!(
        instruction.mnemonic(),
        Mnemonic::Ldmxcsr | Mnemonic::Stmxcsr
    );
    named || implied || control || is_xsave(instruction)
}

/// Whether the instruction moves extended state as a whole, or sets the x87 unit to its initial state.
fn saves_or_restores(instruction: &Instruction) -> bool {
    is_xsave(instruction)
        || instruction.cpuid_features().contains(&CpuidFeature::FXSR)
        || instruction.mnemonic() == Mnemonic::Fninit
}

fn is_xsave(instruction: &Instruction) -> bool {
    use Mnemonic::{
        Xrstor, Xrstor64, Xrstors, Xrstors64, Xsave, Xsave64, Xsavec, Xsavec64, Xsaveopt,
        Xsaveopt64, Xsaves, Xsaves64,
    };
    matches!(
        instruction.mnemonic(),
        Xrstor
            | Xrstor64
            | Xrstors
            | Xrstors64
            | Xsave
            | Xsave64
            | Xsavec
            | Xsavec64
            | Xsaveopt
            | Xsaveopt64
            | Xsaves
            | Xsaves64
    )
}
