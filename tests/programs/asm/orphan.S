# An orphan by raw calls: once its parent has been reaped, its getppid must name another. The first process
# reads the orphan's verdict from a pipe and exits with it: 0, or 1 if the parent was still the old one.
    .globl _start
    .text
_start:
    mov     $22, %eax               # pipe(verdict)
    mov     $verdict, %edi
    syscall
    mov     $22, %eax               # pipe(gone)
    mov     $gone, %edi
    syscall
    mov     $57, %eax
    syscall
    test    %eax, %eax
    jz      middle
    mov     %eax, %edi
    xor     %esi, %esi
    xor     %edx, %edx
    xor     %r10d, %r10d
    mov     $61, %eax               # wait4(middle)
    syscall
    mov     $1, %eax                # write(gone): the orphan goes on
    mov     gone + 4, %edi
    mov     $text, %esi
    mov     $1, %edx
    syscall
    xor     %eax, %eax              # read(verdict)
    mov     verdict, %edi
    mov     $byte, %esi
    mov     $1, %edx
    syscall
    movzbl  byte, %edi
    jmp     exit

middle:
    mov     $39, %eax
    syscall
    mov     %eax, %ebx              # its pid, for the orphan to compare with
    mov     $57, %eax
    syscall
    test    %eax, %eax
    jz      orphan
    xor     %edi, %edi
    jmp     exit

orphan:
    xor     %eax, %eax              # read(gone)
    mov     gone, %edi
    mov     $byte, %esi
    mov     $1, %edx
    syscall
    mov     $110, %eax              # getppid
    syscall
    cmp     %ebx, %eax
    sete    byte                    # 1: still the old parent
    mov     $1, %eax                # write(verdict)
    mov     verdict + 4, %edi
    mov     $byte, %esi
    mov     $1, %edx
    syscall
    xor     %edi, %edi
exit:
    mov     $60, %eax
    syscall
text:   .ascii "."
    .bss
verdict: .quad 0
gone:    .quad 0
byte:    .byte 0
    .section .note.GNU-stack, "", @progbits
