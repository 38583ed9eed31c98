# The ring-0 monitor, the self-test, and the kernel's side of both.
#
# Section .monitor.text starts at KERNEL_BASE and is mapped supervisor-only in every address
# space. On software-assisted KVM each of its instructions is emulated (about half a microsecond), so
# a trap costs five of them on the way in and six on the way out. Slots have a fixed size, so that the gates of the
# static IDTs are constants.
#
#   page 0   one slot of 64 bytes a vector (monitor platform), then boot_lstar and monitor_syscall
#   page 1   one slot of 32 bytes a vector (ring0 platform), see ring0.S
#   page 2   IDTs, GDT, TSS
#   page 3   iret frames
#   page 4   trap stack
#   page 5   stack for double faults, NMI and machine checks
#   page 6-7 padding

    .section .monitor.text, "ax"
    .globl monitor_text
monitor_text:

# --- Traps on the monitor platform ---------------------------------------------------------------
# On entry the trap stack holds ss, rsp, rflags, cs, rip (at TRAP_TOP-40) and perhaps an error code.
# Out: the kernel at ring 3, in its own address space, at ring3_entry_<vector>; user's rax on the trap
# stack, all other registers as the user left them.

    .macro TO_KERNEL vector
    push %rax
    ENTER_KERNEL \vector
    .endm

    .macro ENTER_KERNEL vector
    mov ${MONITOR_PML4}, %eax
    mov %rax, %cr3
    mov $(iret_frames + \vector * 40), %rsp
    iretq
    .endm

    .set v, 0
    .rept {VECTORS}
    .org monitor_text + v * 64
    .if v == 6                          # undefined opcode: the kernel's way to say "run the user"
    cmpb ${RING3_KERNEL_CS}, 8(%rsp)
    jne 1f
    mov %rax, %cr3                      # the kernel left the user's CR3 in rax
    mov $monitor_user_frame, %rsp
    pop %rax
    iretq
1:
    .elseif v == 13                     # general protection: the kernel's hlt, or a mistake
    cmpb ${RING3_KERNEL_CS}, 16(%rsp)
    jne 1f
    cmpq $ring3_idle_hlt, 8(%rsp)
    je monitor_idle
1:
    .elseif v == 14                     # page fault, or `syscall` on software-assisted KVM
    push %rax
    mov %cr2, %rax
    mov %rax, monitor_cr2
    .endif
    .if v == 14
    ENTER_KERNEL v
    .else
    TO_KERNEL v
    .endif
    .set v, v + 1
    .endr

    .org monitor_text + {VECTORS} * 64

# The kernel has nothing to run. The interrupt that ends this comes in through its own slot.
monitor_idle:
    sti
1:  hlt
    jmp 1b

# `syscall` on hardware KVM with the monitor platform: make the frame that a trap would have made.
    .globl monitor_syscall
monitor_syscall:
    mov %rsp, monitor_scratch
    mov $monitor_trap_top, %rsp
    push ${USER_SS}
    push monitor_scratch
    push %r11
    push ${USER_CS}
    push %rcx
    TO_KERNEL {VECTORS}

# --- Self-test -----------------------------------------------------------------------------------
# boot_entry executes `syscall` in ring 3. Arriving here at all means that it entered ring 0: hardware
# KVM. (On software-assisted KVM the fetch from this supervisor page faults, see ring3_kernel_trap.)
# Touches no page of the kernel proper before CR3 is right: SMAP may be on.
    .globl boot_lstar
boot_lstar:
    mov $0xc0000082, %ecx               # IA32_LSTAR
    mov $0xffffffff, %edx
    cmpl ${CHOICE_MONITOR}, monitor_platform_request
    je 1f
    mov $ring0_syscall, %rax
    wrmsr
    lidt ring0_idt_pointer
    mov ${RING0_PML4}, %eax
    mov %rax, %cr3
    mov ${HOST_HARDWARE}, %edi
    mov ${CHOICE_RING0}, %esi
    jmp kernel_start
1:  mov $monitor_syscall, %rax
    wrmsr
    mov ${HOST_HARDWARE}, %edi
    mov ${CHOICE_MONITOR}, %esi
    mov $monitor_start_frame, %rsp
    iretq

# --- Data ----------------------------------------------------------------------------------------

    .section .monitor.data, "aw"
    .globl monitor_idt, monitor_idt_end, monitor_gdt, monitor_gdt_end, monitor_tss
    .globl monitor_platform_request, monitor_user_frame, monitor_trap_top, monitor_cr2
monitor_data:

# An interrupt gate: offset, ring-0 code selector, IST, type 0xe (interrupt gate), DPL.
    .macro GATE address_low32, ist, dpl
    .word (\address_low32) & 0xffff
    .word {KERNEL_CS}
    .byte \ist
    .byte 0x8e | (\dpl << 5)
    .word ((\address_low32) >> 16) & 0xffff
    .long 0xffffffff                    # KERNEL_BASE is in the top 2 GiB
    .long 0
    .endm

# int3 and into may come from ring 3; double fault, NMI and machine check get a stack of their own.
    .macro IDT base, step
    .set v, 0
    .rept {VECTORS}
    .if v == 3 || v == 4
    GATE (\base + v * \step), 0, 3
    .elseif v == 2 || v == 8 || v == 18
    GATE (\base + v * \step), 1, 0
    .else
    GATE (\base + v * \step), 0, 0
    .endif
    .set v, v + 1
    .endr
    .endm

monitor_idt:
    IDT {KERNEL_BASE_LOW}, 64
monitor_idt_end:
    .org monitor_data + 0x300
ring0_idt:
    IDT ({KERNEL_BASE_LOW} + 0x1000), 32
ring0_idt_end:

    .org monitor_data + 0x600
monitor_gdt:
    .quad 0, 0
    .quad 0x00af9b000000ffff            # 0x10 kernel code
    .quad 0x00cf93000000ffff            # 0x18 kernel data
    .quad 0x00cffb000000ffff            # 0x20 user code, 32-bit (never used; sysret counts from here)
    .quad 0x00cff3000000ffff            # 0x28 user data
    .quad 0x00affb000000ffff            # 0x30 user code
    .quad 0x00affb000000ffff            # 0x38 the kernel at ring 3
    .word 0x67, ({KERNEL_BASE_LOW} + 0x2680) & 0xffff   # 0x40 TSS
    .byte 0, 0x8b, 0, ({KERNEL_BASE_LOW} + 0x2680) >> 24
    .long 0xffffffff, 0
monitor_gdt_end:

    .org monitor_data + 0x680
monitor_tss:
    .long 0
    .quad monitor_trap_top              # RSP0
    .quad 0, 0                          # RSP1, RSP2
    .quad 0
    .quad monitor_fault_top             # IST1
    .fill 6, 8, 0                       # IST2-7
    .quad 0
    .word 0
    .word 0x68                          # I/O bitmap: none, behind the limit

    .org monitor_data + 0x700
ring0_idt_pointer:
    .word ring0_idt_end - ring0_idt - 1
    .quad ring0_idt
monitor_platform_request:
    .long 0
    .balign 8
monitor_cr2:
    .quad 0
monitor_scratch:
    .quad 0
    .balign 16
# What `iretq` to the user pops: rax first, then rip, cs, rflags, rsp, ss. The kernel fills it through the direct map.
monitor_user_frame:
    .quad 0, 0, {USER_CS}, 0, 0, {USER_SS}
monitor_start_frame:
    .quad kernel_start, {RING3_KERNEL_CS}, 2, {KERNEL_STACK_TOP} - 8, {USER_SS}

    .org monitor_data + 0x1000
# Constant iret frames into the kernel at ring 3, one a vector and one for `syscall`. Interrupts are off there.
iret_frames:
    .set v, 0
    .rept {VECTORS} + 1
    .quad ring3_entries + v * 64, {RING3_KERNEL_CS}, 2, {EMERGENCY_STACK_TOP}, {USER_SS}
    .set v, v + 1
    .endr

    .org monitor_data + 0x3000
monitor_trap_top:
    .org monitor_data + 0x4000
monitor_fault_top:
    .org monitor_data + 0x6000          # up to MONITOR_BYTES

# --- The kernel at ring 3 ------------------------------------------------------------------------

    .section .text
    .set ALIAS, {ALIAS_OFFSET}          # from a monitor address to the same byte in the direct map

# The first instruction of the guest: the self-test.
    .globl boot_entry
boot_entry:
    syscall
    ud2

# A trap of the user: one slot of 64 bytes a vector. rax is free, the user's is on the trap stack.
    .balign 64
ring3_entries:
    .set v, 0
    .rept {VECTORS} + 1
    .org ring3_entries + v * 64
    movabs $(monitor_trap_top + ALIAS), %rax
    cmpb ${USER_CS}, -32(%rax)
    push %rdi
    mov $v, %edi
    jne ring3_kernel_trap
    .if v == 8 || v == 10 || v == 11 || v == 12 || v == 13 || v == 14 || v == 17 || v == 21
    jmp ring3_save_with_error
    .else
    jmp ring3_save_without_error
    .endif
    .set v, v + 1
    .endr

# In: rax the trap stack's top, rdi the vector, the user's rdi on the emergency stack.
# Out: returns from ring3_run with the vector; everything else is in the pt_regs.
ring3_save_with_error:
    push -56(%rax)                      # the user's rax
    push -48(%rax)                      # error code
    jmp 1f
ring3_save_without_error:
    push -48(%rax)
    push $0
1:  mov ring3_current(%rip), %rax
    mov %r15, 0*8(%rax)
    mov %r14, 1*8(%rax)
    mov %r13, 2*8(%rax)
    mov %r12, 3*8(%rax)
    mov %rbp, 4*8(%rax)
    mov %rbx, 5*8(%rax)
    mov %r11, 6*8(%rax)
    mov %r10, 7*8(%rax)
    mov %r9, 8*8(%rax)
    mov %r8, 9*8(%rax)
    mov %rcx, 11*8(%rax)
    mov %rdx, 12*8(%rax)
    mov %rsi, 13*8(%rax)
    pop ring3_error(%rip)
    pop %rcx
    mov %rcx, 10*8(%rax)
    movq $-1, 15*8(%rax)
    pop %rcx
    mov %rcx, 14*8(%rax)
    movabs $(monitor_trap_top + ALIAS), %rdx
    mov -40(%rdx), %rcx                 # rip
    mov %rcx, 16*8(%rax)
    mov -24(%rdx), %rcx                 # rflags
    mov %rcx, 18*8(%rax)
    mov -16(%rdx), %rcx                 # rsp
    mov %rcx, 19*8(%rax)
ring3_return:
    mov ring3_kernel_rsp(%rip), %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    mov %edi, %eax
    ret

# extern "C" fn ring3_run(regs: *mut PtRegs, cr3: u64) -> u32
# Runs the user until its next trap; the vector comes back, {VECTORS} for `syscall` on hardware KVM.
    .globl ring3_run
ring3_run:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, ring3_kernel_rsp(%rip)
    mov %rdi, ring3_current(%rip)
    movabs $(monitor_user_frame + ALIAS), %rdx
    mov 10*8(%rdi), %rcx                # rax
    mov %rcx, 0(%rdx)
    mov 16*8(%rdi), %rcx                # rip
    mov %rcx, 8(%rdx)
    mov 18*8(%rdi), %rcx                # rflags
    mov %rcx, 24(%rdx)
    mov 19*8(%rdi), %rcx                # rsp
    mov %rcx, 32(%rdx)
    mov %rsi, %rax                      # for the monitor: the user's CR3
    mov 0*8(%rdi), %r15
    mov 1*8(%rdi), %r14
    mov 2*8(%rdi), %r13
    mov 3*8(%rdi), %r12
    mov 4*8(%rdi), %rbp
    mov 5*8(%rdi), %rbx
    mov 6*8(%rdi), %r11
    mov 7*8(%rdi), %r10
    mov 8*8(%rdi), %r9
    mov 9*8(%rdi), %r8
    mov 11*8(%rdi), %rcx
    mov 12*8(%rdi), %rdx
    mov 13*8(%rdi), %rsi
    mov 14*8(%rdi), %rdi
    ud2

# extern "C" fn ring3_idle() -> u32
# Waits for an interrupt with interrupts on; its vector comes back.
    .globl ring3_idle
ring3_idle:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, ring3_kernel_rsp(%rip)
    movl $1, ring3_idling(%rip)
ring3_idle_hlt:
    hlt
    ud2

# A trap that did not come from the user: the self-test's, the end of idling, or a bug.
# In: rdi the vector, the interrupted rdi on the emergency stack, rax the trap stack's top.
ring3_kernel_trap:
    cmpl $14, %edi
    jne 1f
    cmpl $0, ring3_started(%rip)
    jne 3f
    lea boot_lstar(%rip), %rsi
    cmp %rsi, -40(%rax)
    jne 3f
    mov ${HOST_SOFTWARE}, %edi          # `syscall` went to LSTAR and stayed in ring 3
    mov ${CHOICE_MONITOR}, %esi
    mov ${KERNEL_STACK_TOP} - 8, %rsp
    jmp kernel_start
1:  cmpl $0x20, %edi
    jb 3f
    cmpl $0, ring3_idling(%rip)
    je 3f
    movl $0, ring3_idling(%rip)
    jmp ring3_return
# A bug. Save what is known as pt_regs on the emergency stack and tell the story.
3:  mov -40(%rax), %rsi
    mov -32(%rax), %r8
    push -8(%rax)                       # ss                   [rdi, ss]
    push -16(%rax)                      # rsp
    push -24(%rax)                      # rflags
    push %r8                            # cs
    push %rsi                           # rip
    push -48(%rax)                      # error code or rax
    push 48(%rsp)                       # rdi
    push %rsi
    push %rdx
    push %rcx
    push -56(%rax)                      # rax, where there was an error code
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

    .section .data
    .balign 8
ring3_current:
    .quad 0
ring3_kernel_rsp:
    .quad 0
    .globl ring3_error, ring3_started
ring3_error:
    .quad 0
ring3_started:
    .long 0
ring3_idling:
    .long 0
