# The ring0 platform: the kernel runs in ring 0 and is mapped in every address space.
#
# A trap of the user makes the CPU push straight into the task's pt_regs (TSS.RSP0 points behind them),
# the stub pushes the rest there, and ring0_run returns to its caller with the vector.

    .set CALL_VECTOR, {VECTORS}

# --- Traps -------------------------------------------------------------------------------------
# Page 1 of the monitor's text: 32-byte slots, so that the gates are constants.

    .section .monitor.text, "ax"
    .org monitor_text + 0x1000
    .set v, 0
    .rept {VECTORS}
    .org monitor_text + 0x1000 + v * 32
    .if v == 8 || v == 10 || v == 11 || v == 12 || v == 13 || v == 14 || v == 17 || v == 21
    .else
    push $-1                            # in place of an error code
    .endif
    push %rdi
    mov $v, %edi
    testb $3, 24(%rsp)                  # cs: from ring 3?
    jz ring0_kernel_trap
    jmp ring0_user_trap
    .set v, v + 1
    .endr
    .org monitor_text + 0x1000 + {VECTORS} * 32

ring0_user_trap:
    cld
    push %rsi
    push %rdx
    push %rcx
    push %rax
    push %r8
    push %r9
    push %r10
    push %r11
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    swapgs
ring0_return:
    mov %gs:{KERNEL_RSP}, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    mov %edi, %eax
    ret

# `syscall`: rcx is the user's rip, r11 its rflags, rsp still the user's.
    .globl ring0_syscall
ring0_syscall:
    swapgs
    mov %rsp, %gs:{USER_RSP}
    mov %gs:{REGS_END}, %rsp
    push ${USER_SS}
    push %gs:{USER_RSP}
    push %r11
    push ${USER_CS}
    push %rcx
    push %rax                           # orig_rax: the number
    push %rdi
    push %rsi
    push %rdx
    push %rcx
    push %rax
    push %r8
    push %r9
    push %r10
    push %r11
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov $CALL_VECTOR, %edi
    jmp ring0_return

# From ring 0: the interrupt that ends idling, or a bug. Stack: rdi, error, rip, cs, rflags, rsp, ss.
ring0_kernel_trap:
    cmp $0x20, %edi
    jb 1f
    mov %edi, ring0_idle_vector
    pop %rdi
    add $8, %rsp
    iretq
1:  push %rsi
    push %rdx
    push %rcx
    push %rax
    push %r8
    push %r9
    push %r10
    push %r11
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, %rsi
    and $-16, %rsp
    call kernel_crash

# --- Into ring 3 ---------------------------------------------------------------------------------

    .section .text
# extern "C" fn ring0_run(regs: *mut PtRegs, use_sysret: u32) -> u32
# Runs the user until its next trap; the vector comes back, CALL_VECTOR for a system call.
    .globl ring0_run
ring0_run:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, %gs:{KERNEL_RSP}
    lea 21*8(%rdi), %rax
    mov %rax, %gs:{REGS_END}
    mov %rax, monitor_tss + 4           # RSP0
    mov %rdi, %rsp
    test %esi, %esi
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rax
    pop %rcx
    pop %rdx
    pop %rsi
    pop %rdi
    jz 1f
    mov 4*8(%rsp), %rsp
    swapgs
    sysretq
1:  add $8, %rsp
    swapgs
    iretq

# extern "C" fn ring0_idle() -> u32
    .globl ring0_idle
ring0_idle:
    movl $0, ring0_idle_vector
1:  sti
    hlt
    cli
    mov ring0_idle_vector, %eax
    test %eax, %eax
    jz 1b
    ret

    .section .data
    .balign 8
    .globl per_cpu                      # GS.base in the kernel; the VMM loads it
per_cpu:
    .fill {PER_CPU_BYTES}, 1, 0
ring0_idle_vector:
    .long 0
