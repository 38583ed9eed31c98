# What a program finds at its first instruction: argc on an aligned stack, registers and SSE state cleared.
# Exits with argc, or with 200 and more where something is not as Linux leaves it.
    .globl _start
    .text
_start:
    pushf
    or      %rbx, %rax
    or      %rcx, %rax
    or      %rdx, %rax
    or      %rsi, %rax
    or      %rdi, %rax
    or      %rbp, %rax
    or      %r8, %rax
    or      %r9, %rax
    or      %r10, %rax
    or      %r11, %rax
    or      %r12, %rax
    or      %r13, %rax
    or      %r14, %rax
    or      %r15, %rax
    mov     $200, %edi
    test    %rax, %rax
    jnz     exit

    .irp register, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    por     %xmm\register, %xmm0
    .endr
    movq    %xmm0, %rax
    psrldq  $8, %xmm0
    movq    %xmm0, %rcx
    or      %rcx, %rax
    mov     $201, %edi
    jnz     exit

    pop     %rax
    mov     $202, %edi
    cmp     $0x202, %rax            # interrupts on, nothing else (bit 1 is always set)
    jne     exit

    mov     $203, %edi
    test    $15, %spl
    jnz     exit

    mov     (%rsp), %edi
exit:
    mov     $60, %eax
    syscall
    .section .note.GNU-stack, "", @progbits
