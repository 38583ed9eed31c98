//! The kernel's own accesses to user memory.

use super::*;
use crate::errno::Errno;
use forkvm_abi::layout::KERNEL_HALF;

#[test]
fn bytes_cross_pages_both_ways() {
    let mut frames = guest(64);
    let mut space = space(&mut frames);
    map_at(&mut space, &mut frames, BASE, 3);
    let mut user = UserMemory {
        space: &mut space,
        frames: &mut frames,
    };
    let bytes: Vec<u8> = (0..9000u32).map(|i| i.to_le_bytes()[0] ^ 0x5a).collect();
    user.write_bytes(BASE + 1000, &bytes).expect("mapped");
    let mut back = std::vec![0; bytes.len()];
    user.read_bytes(BASE + 1000, &mut back).expect("mapped");
    assert_eq!(back, bytes);
    user.write(BASE + PAGE_SIZE - 4, &0x1122_3344_5566_7788_u64)
        .expect("mapped");
    assert_eq!(
        user.read::<u64>(BASE + PAGE_SIZE - 4),
        Ok(0x1122_3344_5566_7788)
    );
    assert_eq!(
        user.frames.counters.faults, 0,
        "the kernel's accesses are no faults of the program"
    );
}

#[test]
fn what_lies_before_a_bad_byte_is_copied() {
    let mut frames = guest(64);
    let mut space = space(&mut frames);
    map_at(&mut space, &mut frames, BASE, 1);
    let mut user = UserMemory {
        space: &mut space,
        frames: &mut frames,
    };
    assert_eq!(
        user.write_bytes(BASE + PAGE_SIZE - 2, &[1, 2, 3]),
        Err(Errno::EFAULT)
    );
    assert_eq!(user.read::<u16>(BASE + PAGE_SIZE - 2), Ok(0x0201));
    let mut back = [0xff; 3];
    assert_eq!(
        user.read_bytes(BASE + PAGE_SIZE - 2, &mut back),
        Err(Errno::EFAULT)
    );
    assert_eq!(back, [1, 2, 0xff]);
    assert_eq!(
        user.write_bytes(BASE + PAGE_SIZE, &[]),
        Ok(()),
        "no bytes, no address"
    );
}

#[test]
fn the_kernels_half_and_what_is_no_address_are_out_of_reach() {
    let mut frames = guest(64);
    let mut space = space(&mut frames);
    let mut user = UserMemory {
        space: &mut space,
        frames: &mut frames,
    };
    for address in [0, 0x7fff_ffff_f000, 1 << 47, 1 << 62, KERNEL_HALF, u64::MAX] {
        assert_eq!(user.read::<u8>(address), Err(Errno::EFAULT), "{address:#x}");
        assert_eq!(
            user.write(address, &1u64),
            Err(Errno::EFAULT),
            "{address:#x}"
        );
    }
}

#[test]
fn protection_binds_the_kernel_too() {
    let mut frames = guest(64);
    let mut space = space(&mut frames);
    map_at(&mut space, &mut frames, BASE, 2);
    write(&mut space, &mut frames, BASE, 7);
    space
        .protect(&mut frames, BASE, PAGE_SIZE, READ)
        .expect("mapped");
    let mut user = UserMemory {
        space: &mut space,
        frames: &mut frames,
    };
    assert_eq!(user.write(BASE, &1u8), Err(Errno::EFAULT));
    assert_eq!(user.read::<u8>(BASE), Ok(7));
    user.space
        .protect(user.frames, BASE, PAGE_SIZE, 0)
        .expect("mapped");
    assert_eq!(user.read::<u8>(BASE), Err(Errno::EFAULT));
    user.space
        .protect(user.frames, BASE, PAGE_SIZE, RW)
        .expect("mapped");
    assert_eq!(user.read::<u8>(BASE), Ok(7));
}

#[test]
fn strings_end_at_their_nul_or_are_too_long() {
    let mut frames = guest(64);
    let mut space = space(&mut frames);
    map_at(&mut space, &mut frames, BASE, 2);
    let mut user = UserMemory {
        space: &mut space,
        frames: &mut frames,
    };
    let at = BASE + PAGE_SIZE - 3;
    user.write_bytes(at, b"/bin/ls\0").expect("mapped");
    let mut read = |address, max| user.read_string(address, max, Errno::ENAMETOOLONG);
    assert_eq!(read(at, 4096), Ok(b"/bin/ls".to_vec()));
    assert_eq!(read(at, 8), Ok(b"/bin/ls".to_vec()));
    assert_eq!(read(at, 7), Err(Errno::ENAMETOOLONG));
    assert_eq!(read(at + 7, 1), Ok(Vec::new()));
    assert_eq!(read(BASE + 3 * PAGE_SIZE, 10), Err(Errno::EFAULT));
    user.write_bytes(BASE + 2 * PAGE_SIZE - 2, b"ab")
        .expect("mapped");
    assert_eq!(
        user.read_string(BASE + 2 * PAGE_SIZE - 2, 10, Errno::E2BIG),
        Err(Errno::EFAULT)
    );
}

#[test]
fn a_process_without_memory_left_gets_enomem() {
    let mut frames = guest(64);
    let mut space = space(&mut frames);
    map_at(&mut space, &mut frames, BASE, 1);
    frames.fail_allocation(1);
    assert_eq!(
        UserMemory {
            space: &mut space,
            frames: &mut frames
        }
        .write(BASE, &1u8),
        Err(Errno::ENOMEM)
    );
}
