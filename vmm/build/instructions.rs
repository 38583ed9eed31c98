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

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 0xffff_ffff_8000_0000;

    /// What is found in one function of that name.
    fn in_function(name: &str, code: &[u8]) -> Vec<String> {
        let functions = [Function {
            name: name.to_owned(),
            start: START,
        }];
        forbidden(code, START, &functions)
    }

    #[test]
    fn integer_code_passes() {
        // mov rax, [rdi]; xchg ax, ax; mfence; pause; popcnt rax, rax; rdfsbase rax; xgetbv; ret
        let code = b"\x48\x8b\x07\x66\x90\x0f\xae\xf0\xf3\x90\xf3\x48\x0f\xb8\xc0\xf3\x48\x0f\xae\xc0\x0f\x01\xd0\xc3";
        assert_eq!(in_function("kernel_main", code), [""; 0]);
    }

    #[test]
    fn a_vector_instruction_is_named_with_its_function() {
        // nop; movaps xmm0, xmm1
        let found = in_function("memory_copy", b"\x90\x0f\x28\xc1");
        assert_eq!(found, ["memory_copy: 0xffffffff80000001: movaps xmm0,xmm1"]);
    }

    #[test]
    fn every_register_file_counts() {
        let cases: [(&[u8], &str); 9] = [
            (b"\xd8\xc1", "fadd st0, st1"),
            (b"\xd9\x07", "fld dword [rdi]"),
            (b"\x0f\x6f\x07", "movq mm0, [rdi]"),
            (b"\x0f\x77", "emms"),
            (b"\xc5\xf8\x77", "vzeroupper"),
            (b"\xc5\xfd\x6f\x07", "vmovdqa ymm0, [rdi]"),
            (b"\x62\xf1\x7c\x48\x28\x07", "vmovaps zmm0, [rdi]"),
            (b"\x0f\xae\x17", "ldmxcsr [rdi]"),
            (b"\xf2\x48\x0f\x2a\xc0", "cvtsi2sd xmm0, rax"),
        ];
        for (code, text) in cases {
            assert_eq!(in_function("f", code).len(), 1, "{text}");
            assert_eq!(
                in_function("fpu_f", code).len(),
                1,
                "{text} even where state is saved"
            );
        }
    }

    #[test]
    fn state_is_moved_in_fpu_functions_only() {
        // xsave64 [rdi]; xrstor64 [rdi]; fxsave64 [rdi]; fxrstor64 [rdi]; fninit
        let code = b"\x48\x0f\xae\x27\x48\x0f\xae\x2f\x48\x0f\xae\x07\x48\x0f\xae\x0f\xdb\xe3";
        assert_eq!(in_function("fpu_save", code), [""; 0]);
        assert_eq!(in_function("save", code).len(), 5);
    }

    #[test]
    fn functions_are_told_apart_by_address() {
        let functions =
            [("a", START), ("fpu_b", START + 1), ("c", START + 3)].map(|(name, start)| Function {
                name: name.to_owned(),
                start,
            });
        // a: nop; fpu_b: fninit; c: fninit
        let found = forbidden(b"\x90\xdb\xe3\xdb\xe3", START, &functions);
        assert_eq!(found, ["c: 0xffffffff80000003: fninit"]);
    }
}
