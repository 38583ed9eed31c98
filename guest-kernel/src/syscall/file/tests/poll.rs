//! poll(2) and select(2): readiness, deadlines, masks.

use super::*;

#[test]
fn poll_looks_waits_and_gives_up() {
    arch::set_tsc(0);
    let mut machine = Machine::new();
    let (reader, writer) = machine.pipe(0);
    let entry = |fd: u64, events: u16| fd | u64::from(events) << 32;
    let found = |machine: &mut Machine, index: u64| machine.word(DATA + index * 8) >> 48;
    machine.poke(DATA, &entry(reader, 1).to_le_bytes());
    machine.poke(DATA + 8, &entry(writer, 4).to_le_bytes());
    machine.poke(DATA + 16, &entry(99, 1).to_le_bytes());
    machine.poke(DATA + 24, &entry(u64::from(u32::MAX), 1).to_le_bytes());
    assert_eq!(machine.value(sys_poll, &[DATA, 4, u64::MAX]), Ok(2));
    assert_eq!(
        [0, 1, 2, 3].map(|index| found(&mut machine, index)),
        [0, 4, 0x20, 0]
    );

    // The clock runs at a nanosecond a tick.
    let park = |deadline| {
        Ok(Completion::Park {
            channel: WaitChannel::DoPoll,
            deadline,
        })
    };
    assert_eq!(machine.value(sys_poll, &[DATA, 1, 0]), Ok(0));
    assert_eq!(machine.call(sys_poll, &[DATA, 1, 5]), park(Some(5_000_000)));
    arch::set_tsc(1_000_000);
    assert_eq!(machine.call(sys_poll, &[DATA, 1, 5]), park(Some(5_000_000)));
    machine
        .value(sys_write, &[writer, DATA, 1])
        .expect("there is room");
    assert_eq!(machine.value(sys_poll, &[DATA, 1, 5]), Ok(1));
    machine
        .value(sys_read, &[reader, TEXT, 1])
        .expect("there is a byte");
    arch::set_tsc(6_000_000);
    assert_eq!(machine.value(sys_poll, &[DATA, 1, 5]), Ok(0));
    machine.kernel.tasks[machine.task].progress = crate::process::task::Progress::None;
    assert_eq!(machine.call(sys_poll, &[DATA, 1, u64::MAX]), park(None));
    assert_eq!(
        machine.value(sys_poll, &[DATA, 1025, 0]),
        Err(Errno::EINVAL)
    );
    machine.poke(TEXT, &[0; 8]);
    machine.poke(TEXT + 8, &1_000_000_000u64.to_le_bytes());
    assert_eq!(
        machine.value(sys_ppoll, &[DATA, 1, TEXT, 0, 8]),
        Err(Errno::EINVAL)
    );
}

#[test]
fn ppoll_puts_the_mask_back() {
    let mut machine = Machine::new();
    let (_, writer) = machine.pipe(0);
    machine.poke(TEXT, &0x800u64.to_le_bytes());
    machine.poke(DATA, &(writer | 1 << 32).to_le_bytes());
    let mask = |machine: &Machine| machine.kernel.tasks[machine.task].signals.mask;
    assert_eq!(
        machine.value(sys_ppoll, &[DATA, 1, 0, TEXT, 4]),
        Err(Errno::EINVAL)
    );
    assert!(matches!(
        machine.call(sys_ppoll, &[DATA, 1, 0, TEXT, 8]),
        Ok(Completion::Park { .. })
    ));
    assert_eq!(mask(&machine), 0x800);
    machine.poke(DATA, &(writer | 4 << 32).to_le_bytes());
    assert_eq!(machine.value(sys_ppoll, &[DATA, 1, 0, TEXT, 8]), Ok(1));
    assert_eq!(mask(&machine), 0);
}

#[test]
fn select_counts_bits_and_tells_the_time_left() {
    arch::set_tsc(0);
    let mut machine = Machine::new();
    let (reader, writer) = machine.pipe(0);
    let (read_set, write_set, time) = (DATA, DATA + 128, DATA + 256);
    machine.poke(read_set, &(1u64 << reader).to_le_bytes());
    machine.poke(write_set, &(1u64 << writer).to_le_bytes());
    machine.poke(time, &[0; 16]);
    assert_eq!(
        machine.value(sys_select, &[5, read_set, write_set, 0, time]),
        Ok(1)
    );
    assert_eq!(
        (machine.word(read_set), machine.word(write_set)),
        (0, 1 << writer)
    );
    machine.poke(read_set, &(1u64 << reader).to_le_bytes());
    machine.poke(time, &2u64.to_le_bytes());
    let parked = machine.call(sys_select, &[5, read_set, 0, 0, time]);
    assert_eq!(
        parked,
        Ok(Completion::Park {
            channel: WaitChannel::DoPoll,
            deadline: Some(2_000_000_000)
        })
    );
    machine
        .value(sys_write, &[writer, TEXT, 1])
        .expect("there is room");
    arch::set_tsc(500_000_000);
    assert_eq!(machine.value(sys_select, &[5, read_set, 0, 0, time]), Ok(1));
    assert_eq!((machine.word(time), machine.word(time + 8)), (1, 500_000));
    machine.poke(read_set, &(1u64 << 60).to_le_bytes());
    assert_eq!(
        machine.value(sys_select, &[64, read_set, 0, 0, 0]),
        Err(Errno::EBADF)
    );
    assert_eq!(
        machine.value(sys_select, &[u64::MAX, read_set, 0, 0, 0]),
        Err(Errno::EINVAL)
    );
}
