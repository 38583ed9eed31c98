# Raw vfork: the child changes the parent's variable and its red zone; the parent sees it at once.
    .globl _start
    .text
_start:
    movq    $1, -64(%rsp)
    mov     $58, %eax               # vfork
    syscall
    test    %eax, %eax
    jnz     parent
    movl    $7, shared
    movq    $30, -64(%rsp)
    xor     %edi, %edi
    mov     $60, %eax
    syscall
parent:
    mov     shared, %edi
    add     -64(%rsp), %edi         # 37
    mov     $60, %eax
    syscall
    .bss
shared: .long 0
    .section .note.GNU-stack, "", @progbits
