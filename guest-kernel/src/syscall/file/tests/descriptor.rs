//! dup(2), fcntl(2), close_range(2).

use super::*;

#[test]
fn descriptors_are_duplicated_as_dup_says() {
    let mut machine = Machine::new();
    assert_eq!(machine.value(sys_dup, &[0]), Ok(3));
    assert_eq!(machine.value(sys_dup, &[77]), Err(Errno::EBADF));
    assert_eq!(machine.value(sys_dup2, &[1, 9]), Ok(9));
    assert_eq!(machine.value(sys_dup2, &[9, 9]), Ok(9));
    assert_eq!(machine.value(sys_dup2, &[8, 8]), Err(Errno::EBADF));
    assert_eq!(machine.value(sys_dup2, &[1, 1024]), Err(Errno::EBADF));
    assert_eq!(machine.value(sys_dup3, &[1, 1, 0]), Err(Errno::EINVAL));
    assert_eq!(machine.value(sys_dup3, &[1, 5, 1]), Err(Errno::EINVAL));
    assert_eq!(
        machine.value(sys_dup3, &[1, 5, u64::from(O_CLOEXEC)]),
        Ok(5)
    );
    let mut fcntl =
        |fd, command: u32, argument| machine.value(sys_fcntl, &[fd, u64::from(command), argument]);
    assert_eq!(fcntl(5, uapi::F_GETFD, 0), Ok(1));
    assert_eq!(fcntl(5, uapi::F_SETFD, 0), Ok(0));
    assert_eq!(fcntl(5, uapi::F_GETFD, 0), Ok(0));
    assert_eq!(fcntl(5, uapi::F_DUPFD, 20), Ok(20));
    assert_eq!(fcntl(5, uapi::F_DUPFD_CLOEXEC, 20), Ok(21));
    assert_eq!(fcntl(21, uapi::F_GETFD, 0), Ok(1));
    assert_eq!(fcntl(5, uapi::F_DUPFD, 1024), Err(Errno::EINVAL));
    assert_eq!(
        fcntl(5, uapi::F_DUPFD, u64::from(u32::MAX)),
        Err(Errno::EINVAL)
    );
    assert_eq!(fcntl(5, 999, 0), Err(Errno::EINVAL));
    assert_eq!(fcntl(99, uapi::F_GETFD, 0), Err(Errno::EBADF));
    assert_eq!(fcntl(1, uapi::F_GETFL, 0), Ok(1));
    assert_eq!(
        fcntl(1, uapi::F_SETFL, u64::from(O_NONBLOCK | O_DIRECTORY)),
        Ok(0)
    );
    assert_eq!(fcntl(9, uapi::F_GETFL, 0), Ok(u64::from(1 | O_NONBLOCK)));
    assert_eq!(fcntl(1, uapi::F_GETPIPE_SZ, 0), Err(Errno::EBADF));
}

#[test]
fn close_range_closes_or_marks() {
    let mut machine = Machine::new();
    for fd in 3..8 {
        assert_eq!(machine.value(sys_dup, &[0]), Ok(fd));
    }
    assert_eq!(machine.value(sys_close_range, &[4, 5, 0]), Ok(0));
    assert_eq!(
        machine.value(sys_close_range, &[6, u64::from(u32::MAX), 4]),
        Ok(0)
    );
    let mut fcntl = |fd| machine.value(sys_fcntl, &[fd, u64::from(uapi::F_GETFD), 0]);
    assert_eq!(
        [fcntl(3), fcntl(4), fcntl(5), fcntl(6), fcntl(7)],
        [Ok(0), Err(Errno::EBADF), Err(Errno::EBADF), Ok(1), Ok(1)]
    );
    assert_eq!(
        machine.value(sys_close_range, &[5, 4, 0]),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        machine.value(sys_close_range, &[0, 1, 1]),
        Err(Errno::EINVAL)
    );
}

#[test]
fn record_locks_on_read_only_files_never_conflict() {
    let mut machine = Machine::new();
    let file = machine.open("/bin/hello", 0).expect("it exists");
    let mut lock = |command: u32, kind: u8| {
        machine.poke(DATA, &[kind, 0]);
        let result = machine.value(sys_fcntl, &[file, u64::from(command), DATA]);
        result.map(|_| machine.peek(DATA, 1)[0])
    };
    assert_eq!(lock(uapi::F_SETLK, 0), Ok(0));
    assert_eq!(lock(uapi::F_SETLK, 1), Err(Errno::EBADF));
    assert_eq!(lock(uapi::F_SETLKW, 2), Ok(2));
    assert_eq!(lock(uapi::F_SETLK, 7), Err(Errno::EINVAL));
    assert_eq!(lock(uapi::F_GETLK, 1), Ok(2));
    assert_eq!(lock(uapi::F_GETLK, 2), Err(Errno::EINVAL));
}
