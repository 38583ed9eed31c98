//! ioctl(2) on terminals, pipes and the rest.

use super::*;

#[test]
fn terminals_answer_and_others_are_none() {
    let mut machine = Machine::with_flags(flag::STDIN_TTY | flag::STDOUT_TTY);
    let mut request = |fd, request: u32| machine.value(sys_ioctl, &[fd, u64::from(request), DATA]);
    assert_eq!(request(0, ioctl::TCGETS), Ok(0));
    assert_eq!(request(2, ioctl::TCGETS), Err(Errno::ENOTTY));
    assert_eq!(request(9, ioctl::TCGETS), Err(Errno::EBADF));
    assert_eq!(request(0, 0xdead), Err(Errno::ENOTTY));
    assert_eq!(request(0, ioctl::TCSETS), Ok(0));
    assert_eq!(request(1, ioctl::TIOCGWINSZ), Ok(0));
    assert_eq!(machine.peek(DATA, 4), [24, 0, 80, 0]);
    assert_eq!(
        machine.value(sys_ioctl, &[1, u64::from(ioctl::TIOCGPGRP), DATA]),
        Ok(0)
    );
    assert_eq!(machine.peek(DATA, 4), [2, 0, 0, 0]);
    machine.poke(DATA, &[7, 0, 0, 0]);
    assert_eq!(
        machine.value(sys_ioctl, &[1, u64::from(ioctl::TIOCSPGRP), DATA]),
        Ok(0)
    );
    assert_eq!(machine.kernel.fs.foreground_group(), 7);
    let (reader, writer) = machine.pipe(0);
    machine
        .value(sys_write, &[writer, DATA, 300])
        .expect("there is room");
    assert_eq!(
        machine.value(sys_ioctl, &[reader, u64::from(ioctl::FIONREAD), DATA]),
        Ok(0)
    );
    assert_eq!(machine.peek(DATA, 4), 300u32.to_le_bytes());
    assert_eq!(
        machine.value(sys_ioctl, &[reader, u64::from(ioctl::TCGETS), DATA]),
        Err(Errno::ENOTTY)
    );
}
