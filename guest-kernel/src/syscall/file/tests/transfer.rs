//! read(2) and write(2) with good, bad and partly good buffers.

use super::*;

#[test]
fn a_file_is_opened_read_and_closed() {
    let mut machine = Machine::new();
    assert_eq!(machine.open("/bin/hello", 0), Ok(3));
    assert_eq!(machine.value(sys_read, &[3, DATA, 5]), Ok(5));
    assert_eq!(machine.peek(DATA, 5), b"hello");
    assert_eq!(machine.value(sys_pread64, &[3, DATA, 100, 7]), Ok(6));
    assert_eq!(machine.value(sys_lseek, &[3, 0, 1]), Ok(5));
    assert_eq!(machine.value(sys_write, &[3, DATA, 5]), Err(Errno::EBADF));
    assert_eq!(
        machine.value(sys_pread64, &[3, DATA, 1, u64::MAX]),
        Err(Errno::EINVAL)
    );
    assert_eq!(machine.value(sys_close, &[3]), Ok(0));
    assert_eq!(machine.value(sys_read, &[3, DATA, 5]), Err(Errno::EBADF));
    assert_eq!(machine.value(sys_close, &[3]), Err(Errno::EBADF));
}

#[test]
fn bad_buffers_are_faults_and_good_parts_of_them_count() {
    let mut machine = Machine::new();
    let zero = machine.open("/dev/zero", 0).expect("it exists");
    assert_eq!(
        machine.value(sys_read, &[zero, 0x10, 5]),
        Err(Errno::EFAULT)
    );
    assert_eq!(
        machine.value(sys_read, &[zero, u64::MAX, 5]),
        Err(Errno::EFAULT)
    );
    assert_eq!(
        machine.value(sys_read, &[zero, 1 << 63, 5]),
        Err(Errno::EFAULT)
    );
    assert_eq!(machine.value(sys_read, &[zero, END - 10, 20]), Ok(10));
    assert_eq!(machine.value(sys_read, &[zero, END, 0]), Ok(0));
    let file = machine.open("/bin/hello", 0).expect("it exists");
    assert_eq!(machine.value(sys_read, &[file, END - 3, 13]), Ok(3));
    assert_eq!(machine.value(sys_lseek, &[file, 0, 1]), Ok(3));
    assert_eq!(
        machine.value(sys_openat, &[fd_cwd(), 0x10, 0]),
        Err(Errno::EFAULT)
    );
}

#[test]
fn vectors_are_read_and_written_in_order() {
    let mut machine = Machine::new();
    let file = machine.open("/bin/hello", 0).expect("it exists");
    let vector = |parts: &[(u64, u64)]| -> Vec<u8> {
        parts
            .iter()
            .flat_map(|(base, len)| [*base, *len])
            .flat_map(u64::to_le_bytes)
            .collect()
    };
    machine.poke(TEXT, &vector(&[(DATA, 3), (0, 0), (DATA + 100, 4)]));
    assert_eq!(machine.value(sys_readv, &[file, TEXT, 3]), Ok(7));
    assert_eq!(
        (machine.peek(DATA, 3), machine.peek(DATA + 100, 4)),
        (b"hel".to_vec(), b"lo, ".to_vec())
    );
    assert_eq!(machine.value(sys_preadv, &[file, TEXT, 3, 7]), Ok(6));
    assert_eq!(
        machine.value(sys_readv, &[file, TEXT, 1025]),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        machine.value(sys_readv, &[file, 0x10, 1]),
        Err(Errno::EFAULT)
    );
    assert_eq!(machine.value(sys_readv, &[file, TEXT, 0]), Ok(0));
    machine.poke(TEXT, &vector(&[(DATA, u64::MAX)]));
    assert_eq!(
        machine.value(sys_readv, &[file, TEXT, 1]),
        Err(Errno::EINVAL)
    );

    machine.poke(DATA, b"one two");
    machine.poke(TEXT, &vector(&[(DATA, 4), (DATA + 4, 3)]));
    assert_eq!(machine.value(sys_writev, &[1, TEXT, 2]), Ok(7));
    assert!(machine.kernel.fs.console_pending() > 0);
}

#[test]
fn console_input_parks_until_the_host_has_some() {
    let mut machine = Machine::new();
    arch::set_answer(WOULD_BLOCK);
    let parked = machine.call(sys_read, &[0, DATA, 10]);
    assert_eq!(
        parked,
        Ok(Completion::Park {
            channel: WaitChannel::NTtyRead,
            deadline: None
        })
    );
    arch::set_answer(0);
    assert_eq!(machine.value(sys_read, &[0, DATA, 10]), Ok(0));
    assert_eq!(machine.value(sys_write, &[0, DATA, 10]), Err(Errno::EBADF));
    assert_eq!(machine.value(sys_read, &[1, DATA, 10]), Err(Errno::EBADF));
}

#[test]
fn sendfile_copies_a_file_into_a_pipe() {
    let mut machine = Machine::new();
    let file = machine.open("/bin/hello", 0).expect("it exists");
    let (reader, writer) = machine.pipe(0);
    assert_eq!(machine.value(sys_sendfile, &[writer, file, 0, 5]), Ok(5));
    machine.poke(TEXT, &7u64.to_le_bytes());
    assert_eq!(
        machine.value(sys_sendfile, &[writer, file, TEXT, 1000]),
        Ok(6)
    );
    assert_eq!(machine.word(TEXT), 13);
    assert_eq!(
        machine.value(sys_sendfile, &[writer, file, TEXT, 1000]),
        Ok(0)
    );
    assert_eq!(machine.value(sys_read, &[reader, DATA, 100]), Ok(11));
    assert_eq!(machine.peek(DATA, 11), b"helloworld\n");
    assert_eq!(
        machine.value(sys_sendfile, &[file, file, 0, 1]),
        Err(Errno::EBADF)
    );
    assert_eq!(
        machine.value(sys_sendfile, &[1, reader, 0, 1]),
        Err(Errno::EINVAL)
    );
}
