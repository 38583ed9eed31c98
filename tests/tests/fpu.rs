//! x87, SSE, AVX and AVX-512 registers: each process has its own.
//!
//! Each test runs one case of `programs/c/fpu.c` natively and under forkvm and compares.

use forkvm_tests::comparisons;

comparisons! { "fpu":
    x87_registers_survive_preemption => "x87_survives_preemption";
    sse_registers_survive_preemption => "sse_survives_preemption";
    avx_registers_survive_preemption => "avx_survives_preemption";
    avx512_registers_survive_preemption => "avx512_survives_preemption";
    processes_with_different_registers_do_not_meet => "all_kinds_at_once";
    fork_copies_the_registers => "registers_are_inherited_by_fork";
    system_calls_leave_vector_registers_alone => "system_calls_leave_registers_alone";
    signal_handlers_have_registers_of_their_own => "handlers_have_registers_of_their_own";
    execve_resets_the_control_words => "exec_starts_afresh";
    the_c_library_computes_and_prints_floating_point => "floating_point_of_the_c_library";
}
