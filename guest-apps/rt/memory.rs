//! The memory functions that compiled code calls by name (memcpy(3) and its kin).
//!
//! String instructions: short, and fast on every CPU that has ERMS.

use core::arch::asm;

/// memcpy(3).
///
/// # Safety
/// As in C: `count` bytes valid at both, no overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(target: *mut u8, source: *const u8, count: usize) -> *mut u8 {
    // SAFETY: the caller's promise; the direction flag is clear by the ABI.
    unsafe {
        asm!("rep movsb", inout("rcx") count => _, inout("rdi") target => _, inout("rsi") source => _,
            options(nostack, preserves_flags));
    }
    target
}

/// memmove(3).
///
/// # Safety
/// As in C: `count` bytes valid at both.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(target: *mut u8, source: *const u8, count: usize) -> *mut u8 {
    if target.addr().wrapping_sub(source.addr()) >= count {
        // SAFETY: copying upwards never overwrites what is still to be read.
        return unsafe { memcpy(target, source, count) };
    }
    // SAFETY: the caller's promise; downwards from the last byte, and the direction flag is cleared again.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") count => _,
            inout("rdi") target.wrapping_add(count).wrapping_sub(1) => _,
            inout("rsi") source.wrapping_add(count).wrapping_sub(1) => _, options(nostack));
    }
    target
}

/// memset(3).
///
/// # Safety
/// As in C: `count` bytes valid.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(target: *mut u8, byte: i32, count: usize) -> *mut u8 {
    // SAFETY: the caller's promise; the direction flag is clear by the ABI.
    unsafe {
        asm!("rep stosb", inout("rcx") count => _, inout("rdi") target => _, in("al") byte.to_le_bytes()[0],
            options(nostack, preserves_flags));
    }
    target
}

/// memcmp(3).
///
/// # Safety
/// As in C: `count` bytes valid at both.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    for index in 0..count {
        // SAFETY: index < count.
        let (left, right) = unsafe { (*left.add(index), *right.add(index)) };
        if left != right {
            return i32::from(left) - i32::from(right);
        }
    }
    0
}

/// bcmp(3).
///
/// # Safety
/// As memcmp.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { memcmp(left, right, count) }
}

/// strlen(3).
///
/// # Safety
/// As in C: NUL-terminated.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(string: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: reads up to the NUL and not behind it.
    while unsafe { *string.add(length) } != 0 {
        length += 1;
    }
    length
}
