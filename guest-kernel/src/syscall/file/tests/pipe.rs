//! Pipes as calls see them: parking, EAGAIN, SIGPIPE.

use super::*;

#[test]
fn a_full_pipe_parks_the_writer_and_it_goes_on_where_it_stopped() {
    let mut machine = Machine::new();
    let (reader, writer) = machine.pipe(0);
    machine
        .call(sys_fcntl, &[writer, u64::from(uapi::F_SETPIPE_SZ), 4096])
        .expect("it is a pipe");
    let text: Vec<u8> = (0..10_000u32).map(|byte| byte.to_le_bytes()[0]).collect();
    machine.poke(DATA, &text);
    let park = |channel| {
        Ok(Completion::Park {
            channel,
            deadline: None,
        })
    };
    let mut received = Vec::new();
    assert_eq!(
        machine.call(sys_write, &[writer, DATA, 10_000]),
        park(WaitChannel::PipeWrite)
    );
    assert_eq!(
        machine.value(sys_read, &[reader, DATA + 0x4000, 9000]),
        Ok(4096)
    );
    received.extend(machine.peek(DATA + 0x4000, 4096));
    assert_eq!(
        machine.call(sys_write, &[writer, DATA, 10_000]),
        park(WaitChannel::PipeWrite)
    );
    assert_eq!(
        machine.value(sys_read, &[reader, DATA + 0x4000, 9000]),
        Ok(4096)
    );
    received.extend(machine.peek(DATA + 0x4000, 4096));
    assert_eq!(
        machine.value(sys_write, &[writer, DATA, 10_000]),
        Ok(10_000)
    );
    assert_eq!(
        machine.value(sys_read, &[reader, DATA + 0x4000, 9000]),
        Ok(1808)
    );
    received.extend(machine.peek(DATA + 0x4000, 1808));
    assert_eq!(received, text);
    assert_eq!(
        machine.call(sys_read, &[reader, DATA, 1]),
        park(WaitChannel::PipeRead)
    );
    assert_eq!(machine.value(sys_close, &[writer]), Ok(0));
    assert_eq!(machine.value(sys_read, &[reader, DATA, 1]), Ok(0));
}

#[test]
fn nonblocking_ends_say_so_and_a_lost_reader_is_a_signal() {
    let mut machine = Machine::new();
    let (reader, writer) = machine.pipe(O_NONBLOCK);
    assert_eq!(
        machine.value(sys_read, &[reader, DATA, 1]),
        Err(Errno::EAGAIN)
    );
    assert_eq!(
        machine.value(sys_write, &[writer, DATA, 0xe000]),
        Ok(0xe000)
    );
    assert_eq!(
        machine.value(sys_write, &[writer, DATA, 0xe000]),
        Ok(0x2000)
    );
    assert_eq!(
        machine.value(sys_write, &[writer, DATA, 1]),
        Err(Errno::EAGAIN)
    );
    assert_eq!(machine.value(sys_close, &[reader]), Ok(0));
    assert!(!machine.kernel.signal_pending(machine.task));
    assert_eq!(
        machine.value(sys_write, &[writer, DATA, 1]),
        Err(Errno::EPIPE)
    );
    assert!(machine.kernel.signal_pending(machine.task));
    let (_, _) = (machine.value(sys_close, &[writer]), machine.pipe(0));
    assert_eq!(machine.value(sys_pipe2, &[DATA, 1]), Err(Errno::EINVAL));
    let open = machine.kernel.fs.files.len();
    assert_eq!(machine.value(sys_pipe, &[0x10]), Err(Errno::EFAULT));
    assert_eq!(machine.kernel.fs.files.len(), open);
}
