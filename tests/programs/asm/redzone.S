# The 128 bytes below the stack pointer belong to the program: page faults, preemption and system calls leave them.
    .globl _start
    .text
_start:
    mov     $16, %ecx
1:  mov     %rcx, -136(%rsp,%rcx,8)
    dec     %ecx
    jnz     1b
    movl    $1, page                # a fault
    mov     $24, %eax               # sched_yield
    syscall
    rdtsc
    mov     %eax, %ebx
2:  rdtsc                           # about 20 ms, several time slices
    sub     %ebx, %eax
    cmp     $40000000, %eax
    jb      2b
    xor     %edi, %edi
    mov     $16, %ecx
3:  cmp     %rcx, -136(%rsp,%rcx,8)
    je      4f
    inc     %edi
4:  dec     %ecx
    jnz     3b
    mov     $60, %eax
    syscall
    .bss
    .balign 4096
page:   .skip 4096
    .section .note.GNU-stack, "", @progbits
