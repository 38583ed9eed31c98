# Raw execve of itself with one argument more each time, until there are five; exits with their number.
    .globl _start
    .text
_start:
    mov     (%rsp), %rdi            # argc
    cmp     $5, %rdi
    jae     exit
    lea     8(%rsp), %rsi           # argv; its null pointer becomes an argument, the next one ends it
    lea     (%rsi,%rdi,8), %rax
    movq    $word, (%rax)
    movq    $0, 8(%rax)
    mov     $path, %edi
    xor     %edx, %edx              # no environment
    mov     $59, %eax
    syscall
    mov     $99, %edi               # it came back
exit:
    mov     $60, %eax
    syscall
path:   .asciz "/proc/self/exe"
word:   .asciz "word"
    .section .note.GNU-stack, "", @progbits
