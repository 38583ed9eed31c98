//! Paths, stat(2), access(2), readlink(2), getdents64(2).

use super::*;

#[test]
fn paths_start_at_a_descriptor_or_the_current_directory() {
    let mut machine = Machine::new();
    let etc = machine
        .open("/etc", O_PATH | O_DIRECTORY)
        .expect("it exists");
    let file = machine.open("/bin/hello", 0).expect("it exists");
    let path = machine.text("deep/file");
    assert_eq!(machine.value(sys_openat, &[etc, path, 0]), Ok(5));
    assert_eq!(
        machine.value(sys_openat, &[fd_cwd(), path, 0]),
        Err(Errno::ENOENT)
    );
    assert_eq!(
        machine.value(sys_openat, &[file, path, 0]),
        Err(Errno::ENOTDIR)
    );
    assert_eq!(machine.value(sys_openat, &[99, path, 0]), Err(Errno::EBADF));
    assert_eq!(machine.value(sys_fchdir, &[etc]), Ok(0));
    assert_eq!(machine.value(sys_openat, &[fd_cwd(), path, 0]), Ok(6));
    assert_eq!(machine.value(sys_getcwd, &[DATA, 100]), Ok(5));
    assert_eq!(machine.peek(DATA, 5), b"/etc\0");
    assert_eq!(machine.value(sys_getcwd, &[DATA, 4]), Err(Errno::ERANGE));
    assert_eq!(machine.value(sys_fchdir, &[file]), Err(Errno::ENOTDIR));
    let absolute = machine.text("/bin/hello");
    assert_eq!(machine.value(sys_openat, &[99, absolute, 0]), Ok(7));
    assert_eq!(machine.value(sys_chdir, &[absolute]), Err(Errno::ENOTDIR));
    let empty = machine.text("");
    assert_eq!(
        machine.value(sys_openat, &[etc, empty, 0]),
        Err(Errno::ENOENT)
    );
    assert_eq!(machine.value(sys_umask, &[0o1077]), Ok(0o022));
    assert_eq!(machine.value(sys_umask, &[0]), Ok(0o077));
}

#[test]
fn stat_tells_type_size_and_numbers() {
    let mut machine = Machine::new();
    let path = machine.text("/bin/sh");
    let mode = |machine: &mut Machine| machine.word(DATA + 24) & 0o170_000;
    assert_eq!(machine.value(sys_stat, &[path, DATA]), Ok(0));
    assert_eq!(
        (mode(&mut machine), machine.word(DATA + 48)),
        (0o100_000, 13)
    );
    let number = machine.word(DATA + 8);
    assert_eq!(machine.value(sys_lstat, &[path, DATA]), Ok(0));
    assert_eq!(
        (mode(&mut machine), machine.word(DATA + 48)),
        (0o120_000, 5)
    );
    let file = machine.open("/bin/hello", 0).expect("it exists");
    assert_eq!(machine.value(sys_fstat, &[file, DATA]), Ok(0));
    assert_eq!(machine.word(DATA + 8), number);
    let empty = machine.text("");
    assert_eq!(
        machine.value(
            sys_newfstatat,
            &[file, empty, DATA, u64::from(uapi::AT_EMPTY_PATH)]
        ),
        Ok(0)
    );
    assert_eq!(machine.word(DATA + 8), number);
    assert_eq!(
        machine.value(sys_newfstatat, &[file, empty, DATA, 0]),
        Err(Errno::ENOENT)
    );
    assert_eq!(
        machine.value(sys_newfstatat, &[file, empty, DATA, 1]),
        Err(Errno::EINVAL)
    );
    assert_eq!(machine.value(sys_fstat, &[1, DATA]), Ok(0));
    assert_eq!(mode(&mut machine), 0o010_000);

    let null = machine.text("/dev/null");
    assert_eq!(machine.value(sys_stat, &[null, DATA]), Ok(0));
    assert_eq!(
        (mode(&mut machine), machine.word(DATA + 40)),
        (0o020_000, 0x103)
    );
    assert_eq!(
        machine.value(sys_statx, &[fd_cwd(), null, 0, 0xfff, DATA]),
        Ok(0)
    );
    assert_eq!(
        (machine.word(DATA) & 0xffff_ffff, machine.word(DATA + 128)),
        (0xfff, 3 << 32 | 1)
    );
    assert_eq!(
        machine.value(sys_statx, &[fd_cwd(), null, 0x6000, 0xfff, DATA]),
        Err(Errno::EINVAL)
    );
    assert_eq!(machine.value(sys_statfs, &[null, DATA]), Ok(0));
    assert_eq!(machine.word(DATA + 64), 255);
}

#[test]
fn access_and_links() {
    let mut machine = Machine::new();
    let path = machine.text("/etc/up");
    assert_eq!(machine.value(sys_access, &[path, 5]), Ok(0));
    assert_eq!(machine.value(sys_access, &[path, 2]), Ok(0));
    assert_eq!(machine.value(sys_access, &[path, 8]), Err(Errno::EINVAL));
    assert_eq!(machine.value(sys_readlink, &[path, DATA, 100]), Ok(6));
    assert_eq!(machine.peek(DATA, 6), b"../bin");
    assert_eq!(machine.value(sys_readlink, &[path, DATA, 3]), Ok(3));
    assert_eq!(
        machine.value(sys_readlink, &[path, DATA, 0]),
        Err(Errno::EINVAL)
    );
    let null = machine.text("/dev/null");
    assert_eq!(machine.value(sys_access, &[null, 6]), Ok(0));
    assert_eq!(machine.value(sys_access, &[null, 1]), Err(Errno::EACCES));
    assert_eq!(
        machine.value(sys_readlink, &[null, DATA, 100]),
        Err(Errno::EINVAL)
    );
    let exe = machine.text("/proc/self/exe");
    assert_eq!(machine.value(sys_readlink, &[exe, DATA, 100]), Ok(12));
    assert_eq!(machine.peek(DATA, 12), b"/bin/program");
    let exe = machine.text("/proc/1/exe");
    assert_eq!(
        machine.value(sys_readlink, &[exe, DATA, 100]),
        Err(Errno::ENOENT)
    );
    let name = machine
        .open("/bin/sh", O_PATH | uapi::O_NOFOLLOW)
        .expect("it exists");
    let empty = machine.text("");
    assert_eq!(
        machine.value(sys_readlinkat, &[name, empty, DATA, 100]),
        Ok(5)
    );
    assert_eq!(
        machine.value(sys_readlinkat, &[1, empty, DATA, 100]),
        Err(Errno::ENOENT)
    );
}

#[test]
fn directories_are_listed() {
    let mut machine = Machine::new();
    let directory = machine.open("/proc", 0).expect("it exists");
    let moved = machine
        .value(sys_getdents64, &[directory, DATA, 4096])
        .expect("it is a directory");
    let listing = machine.peek(DATA, usize::try_from(moved).expect("a page"));
    let mut names = Vec::new();
    let mut at = 0;
    while at < listing.len() {
        names.push(
            listing[at + 19..]
                .split(|byte| *byte == 0)
                .next()
                .expect("a name")
                .to_vec(),
        );
        at += usize::from(listing[at + 16]);
    }
    assert_eq!(names, [&b"."[..], b"..", b"self", b"1", b"2"]);
    assert_eq!(
        machine.value(sys_getdents64, &[directory, DATA, 4096]),
        Ok(0)
    );
    assert_eq!(
        machine.value(sys_getdents64, &[1, DATA, 4096]),
        Err(Errno::ENOTDIR)
    );
}
