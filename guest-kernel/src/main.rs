//! The freestanding kernel binary: the allocator and the panic handler around the library.
//! The entry point is `boot_entry` in arch/x86_64/monitor.S.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[global_allocator]
static HEAP: forkvm_kernel::arch::KernelHeap = forkvm_kernel::arch::KernelHeap;

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    forkvm_kernel::arch::panic(info)
}

#[cfg(not(target_os = "none"))]
fn main() {
    println!(
        "This is forkvm's guest kernel; `cargo build --release` builds it into target/release/forkvm."
    );
}
