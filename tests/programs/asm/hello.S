# One write, one exit.
    .globl _start
    .text
_start:
    mov     $1, %eax
    mov     $1, %edi
    mov     $text, %esi
    mov     $length, %edx
    syscall
    mov     $231, %eax
    xor     %edi, %edi
    syscall
text:   .ascii "hello\n"
    .set length, . - text
    .section .note.GNU-stack, "", @progbits
