# fork keeps every register but rax, rcx and r11 in both processes; so does the write after it.
# The child exits with 0 and the parent with the child's status if all of them are right.
    .globl _start
    .text
    .macro load
    mov     $0x1111111111111111, %rbx
    mov     $0x2222222222222222, %rdx
    mov     $0x3333333333333333, %rsi
    mov     $0x4444444444444444, %rdi
    mov     $0x5555555555555555, %rbp
    mov     $0x6666666666666666, %r8
    mov     $0x7777777777777777, %r9
    mov     $0x8888888888888888, %r10
    mov     $0x9999999999999999, %r12
    mov     $0xaaaaaaaaaaaaaaaa, %r13
    mov     $0xbbbbbbbbbbbbbbbb, %r14
    mov     $0xcccccccccccccccc, %r15
    mov     %rsp, saved_rsp
    stc
    std
    .endm

    .macro expect register, value
    mov     $\value, %rax
    cmp     %rax, \register
    jne     wrong
    .endm

    .macro check
    pushf
    pop     %rax
    cld
    and     $0x401, %eax            # direction and carry
    cmp     $0x401, %eax
    jne     wrong
    cmp     saved_rsp, %rsp
    jne     wrong
    expect  %rbx, 0x1111111111111111
    expect  %rdx, 0x2222222222222222
    expect  %rsi, 0x3333333333333333
    expect  %rdi, 0x4444444444444444
    expect  %rbp, 0x5555555555555555
    expect  %r8,  0x6666666666666666
    expect  %r9,  0x7777777777777777
    expect  %r10, 0x8888888888888888
    expect  %r12, 0x9999999999999999
    expect  %r13, 0xaaaaaaaaaaaaaaaa
    expect  %r14, 0xbbbbbbbbbbbbbbbb
    expect  %r15, 0xcccccccccccccccc
    .endm

_start:
    load
    mov     $39, %eax               # getpid
    syscall
    check
    load
    mov     $57, %eax               # fork
    syscall
    mov     %rax, forked
    check
    mov     forked, %eax
    test    %eax, %eax
    jz      right
    mov     %eax, %edi
    mov     $status, %esi
    xor     %edx, %edx
    xor     %r10d, %r10d
    mov     $61, %eax
    syscall
    mov     status, %edi
    shr     $8, %edi
    jmp     exit
wrong:
    mov     $1, %edi
    jmp     exit
right:
    xor     %edi, %edi
exit:
    mov     $60, %eax
    syscall

    .bss
saved_rsp:  .quad 0
forked:     .quad 0
status:     .quad 0
    .section .note.GNU-stack, "", @progbits
