//! Which error comes first when several would do.

use super::*;

#[test]
fn what_would_modify_finds_its_error_in_linuxs_order() {
    let mut machine = Machine::new();
    let mut error = |handler: Handler, path: &str| {
        let path = machine.text(path);
        machine.value(handler, &[path, path]).err()
    };
    assert_eq!(error(sys_mkdir, "/new"), None);
    assert_eq!(error(sys_mkdir, "/new"), Some(Errno::EEXIST));
    assert_eq!(error(sys_mkdir, "/newer/"), None);
    assert_eq!(error(sys_mkdir, "/etc"), Some(Errno::EEXIST));
    assert_eq!(error(sys_mkdir, "/"), Some(Errno::EEXIST));
    assert_eq!(error(sys_mkdir, "/etc/dangling/"), Some(Errno::EEXIST));
    assert_eq!(error(sys_mkdir, "/proc/new"), Some(Errno::ENOENT));
    assert_eq!(error(sys_rmdir, "/etc/dangling/"), Some(Errno::ENOTDIR));
    assert_eq!(error(sys_mkdir, "/no/new"), Some(Errno::ENOENT));
    assert_eq!(error(sys_rmdir, "/nothing"), Some(Errno::ENOENT));
    assert_eq!(error(sys_rmdir, "/etc/."), Some(Errno::EINVAL));
    assert_eq!(error(sys_rmdir, "/etc/.."), Some(Errno::ENOTEMPTY));
    assert_eq!(error(sys_rmdir, "/etc"), Some(Errno::ENOTEMPTY));
    assert_eq!(error(sys_rmdir, "/new"), None);
    assert_eq!(error(sys_rmdir, "/"), Some(Errno::EBUSY));
    assert_eq!(error(sys_rmdir, "/proc"), Some(Errno::EBUSY));
    assert_eq!(error(sys_rmdir, "/bin/hello"), Some(Errno::ENOTDIR));
    assert_eq!(error(sys_unlink, "/bin/hello/"), Some(Errno::ENOTDIR));
    assert_eq!(error(sys_unlink, "/etc"), Some(Errno::EISDIR));
    assert_eq!(error(sys_unlink, "/etc/."), Some(Errno::EISDIR));
    assert_eq!(error(sys_unlink, "/proc/self/exe"), Some(Errno::EPERM));
    assert_eq!(error(sys_rename, "/bin/hello"), None);
    assert_eq!(error(sys_rename, "/etc/.."), Some(Errno::EBUSY));
    assert_eq!(error(sys_link, "/nothing"), Some(Errno::ENOENT));
    assert_eq!(error(sys_link, "/bin/hello"), Some(Errno::EEXIST));
    assert_eq!(error(sys_symlink, "/new/"), Some(Errno::ENOENT));
    assert_eq!(error(sys_symlink, "/new"), None);
    assert_eq!(error(sys_symlink, ""), Some(Errno::ENOENT));
    assert_eq!(error(sys_chmod, "/nothing"), Some(Errno::ENOENT));
    assert_eq!(error(sys_truncate, "/etc"), Some(Errno::EISDIR));
    assert_eq!(error(sys_truncate, "/bin/program"), Some(Errno::ETXTBSY));
    assert_eq!(error(sys_creat, "/made"), None);
    assert_eq!(error(sys_creat, "/bin"), Some(Errno::EISDIR));
    assert_eq!(error(sys_unlink, "/bin/hello"), None);
    assert_eq!(error(sys_unlink, "/bin/hello"), Some(Errno::ENOENT));
}

#[test]
fn arguments_are_checked_before_descriptors_where_linux_does() {
    let mut machine = Machine::new();
    let path = machine.text("/new");
    for (mode, error) in [
        (uapi::S_IFDIR, Errno::EPERM),
        (uapi::S_IFLNK, Errno::EINVAL),
        (0o777_777, Errno::EINVAL),
    ] {
        assert_eq!(
            machine.value(sys_mknod, &[path, u64::from(mode), 0]),
            Err(error),
            "{mode:o}"
        );
    }
    let (reader, writer) = machine.pipe(0);
    assert_eq!(
        machine.value(sys_lseek, &[reader, 0, 9]),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        machine.value(sys_lseek, &[reader, 0, 0]),
        Err(Errno::ESPIPE)
    );
    assert_eq!(
        machine.value(sys_pread64, &[writer, DATA, 1, 0]),
        Err(Errno::ESPIPE)
    );
    assert_eq!(
        machine.value(sys_pread64, &[99, DATA, 1, u64::MAX]),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        machine.value(sys_ftruncate, &[99, u64::MAX]),
        Err(Errno::EINVAL)
    );
    assert_eq!(machine.value(sys_ftruncate, &[99, 0]), Err(Errno::EBADF));
    assert_eq!(
        machine.value(sys_ftruncate, &[writer, 0]),
        Err(Errno::EINVAL)
    );
    assert_eq!(machine.value(sys_fsync, &[writer]), Err(Errno::EINVAL));
    assert_eq!(
        machine.value(sys_fallocate, &[writer, 0, 0, 1]),
        Err(Errno::ESPIPE)
    );
    assert_eq!(machine.value(sys_fchmod, &[writer, 0o600]), Ok(0));
    let full = machine.open("/dev/full", uapi::O_RDWR).expect("it exists");
    assert_eq!(
        machine.value(sys_write, &[full, DATA, 0]),
        Err(Errno::ENOSPC)
    );
    assert_eq!(machine.value(sys_fchmod, &[full, 0o600]), Ok(0));
    let name = machine.open("/etc", O_PATH).expect("it exists");
    assert_eq!(
        machine.value(sys_getdents64, &[name, DATA, 23]),
        Err(Errno::EBADF)
    );
    assert_eq!(machine.value(sys_fchmod, &[name, 0o600]), Err(Errno::EBADF));
    let directory = machine.open("/etc", 0).expect("it exists");
    assert_eq!(
        machine.value(sys_read, &[directory, DATA, 1]),
        Err(Errno::EISDIR)
    );
    assert_eq!(
        machine.value(sys_read, &[directory, u64::MAX, 1]),
        Err(Errno::EFAULT)
    );
    assert_eq!(
        machine.value(sys_lseek, &[directory, 0, 2]),
        Err(Errno::EINVAL)
    );
}
