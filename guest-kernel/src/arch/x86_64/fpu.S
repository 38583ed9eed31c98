# Extended register state. The only instructions in the kernel that name it; the build checks that.

    .section .text
# extern "C" fn fpu_xsave(area: *mut u8, mask: u64)
    .globl fpu_xsave
fpu_xsave:
    mov %esi, %eax
    mov %rsi, %rdx
    shr $32, %rdx
    xsave64 (%rdi)
    ret

# extern "C" fn fpu_xrstor(area: *const u8, mask: u64)
    .globl fpu_xrstor
fpu_xrstor:
    mov %esi, %eax
    mov %rsi, %rdx
    shr $32, %rdx
    xrstor64 (%rdi)
    ret

# extern "C" fn fpu_fxsave(area: *mut u8)
    .globl fpu_fxsave
fpu_fxsave:
    fxsave64 (%rdi)
    ret

# extern "C" fn fpu_fxrstor(area: *const u8)
    .globl fpu_fxrstor
fpu_fxrstor:
    fxrstor64 (%rdi)
    ret
