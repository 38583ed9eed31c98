# The first fork anyone writes: the raw call, a jump on zero, wait, exit.
    .globl _start
    .text
_start:
    mov     $57, %eax               # fork
    syscall
    test    %eax, %eax
    jz      child
    js      failed

    mov     %eax, %ebx
    mov     %eax, %edi
    lea     -8(%rsp), %rsi
    xor     %edx, %edx
    xor     %r10d, %r10d
    mov     $61, %eax               # wait4(child, &status, 0, NULL)
    syscall
    cmp     %ebx, %eax
    jne     failed
    mov     -8(%rsp), %ebx          # the status word: 42 << 8
    mov     $parent_text, %esi
    mov     $parent_length, %edx
    call    print
    shr     $8, %ebx
    mov     %ebx, %edi
    jmp     exit

child:
    mov     $child_text, %esi
    mov     $child_length, %edx
    call    print
    mov     $42, %edi
    jmp     exit

failed:
    mov     $1, %edi
exit:
    mov     $60, %eax
    syscall

print:
    mov     $1, %edi
    mov     $1, %eax
    syscall
    ret

    .section .rodata
child_text:     .ascii "child: fork returned 0\n"
    .set child_length, . - child_text
parent_text:    .ascii "parent: fork returned the child that wait returned\n"
    .set parent_length, . - parent_text
    .section .note.GNU-stack, "", @progbits
