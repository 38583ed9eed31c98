//! open(2)'s checks, and what reading, writing and seeking do to each kind of file.

use super::*;
use crate::fs::program::Contents;
use crate::kernel::Random;
use crate::memory::space::Backing;
use linux_raw_sys::general::{
    O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_RDONLY, O_RDWR, O_TMPFILE, O_TRUNC,
    O_WRONLY,
};
use linux_raw_sys::general::{SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET};

fn read(
    fs: &mut FileSystem,
    frames: &mut Frames,
    file: Id<OpenFile>,
    at: Option<u64>,
    room: usize,
) -> Result<Vec<u8>, Errno> {
    let mut sink = TestBuffer::to_fill(room, frames);
    fs.read(file, at, &mut sink, &mut Random::new([1; 4]))?;
    Ok(sink.bytes)
}

#[test]
fn open_checks_in_linuxs_order() {
    let (mut fs, _) = file_system();
    for (path, flags, error) in [
        ("/nothing", O_RDONLY, Errno::ENOENT),
        ("/nothing/", O_CREAT | O_RDONLY, Errno::EISDIR),
        ("/nothing/more", O_CREAT | O_WRONLY, Errno::ENOENT),
        ("/bin/hello", O_CREAT | O_EXCL, Errno::EEXIST),
        ("/etc/dangling", O_CREAT | O_EXCL, Errno::EEXIST),
        ("/etc", O_CREAT, Errno::EISDIR),
        ("/etc", O_CREAT | O_DIRECTORY, Errno::EINVAL),
        ("/etc", O_WRONLY, Errno::EISDIR),
        ("/etc", O_RDONLY | O_TRUNC, Errno::EISDIR),
        ("/etc", O_TMPFILE | O_RDONLY, Errno::EINVAL),
        ("/bin/hello", O_TMPFILE | O_RDWR, Errno::ENOTDIR),
        ("/bin/hello", O_DIRECTORY, Errno::ENOTDIR),
        ("/bin/hello/", O_RDONLY, Errno::ENOTDIR),
        ("/bin/sh", O_NOFOLLOW, Errno::ELOOP),
        ("/etc/link", O_NOFOLLOW | O_DIRECTORY, Errno::ENOTDIR),
        ("/etc/loop", O_RDONLY, Errno::ELOOP),
        ("/dev/nobody", O_RDONLY, Errno::ENXIO),
    ] {
        assert_eq!(
            open(&mut fs, path, flags).err(),
            Some(error),
            "{path} {flags:#x}"
        );
    }
    assert_eq!(fs.files.len(), 0);
    for (path, flags) in [
        ("/bin/hello", O_CREAT),
        ("/etc/link/", O_NOFOLLOW | O_DIRECTORY),
        ("/bin/sh", O_NOFOLLOW | O_PATH),
        ("/dev/nobody", O_PATH),
        ("/dev/null", O_RDWR | O_TRUNC | O_CREAT),
    ] {
        assert!(open(&mut fs, path, flags).is_ok(), "{path} {flags:#x}");
    }
}

#[test]
fn an_image_file_is_read_from_its_position_or_another() {
    let (mut fs, mut frames) = file_system();
    let file = open(&mut fs, "/bin/hello", O_RDONLY).expect("it exists");
    assert_eq!(
        read(&mut fs, &mut frames, file, None, 5).as_deref(),
        Ok(&b"hello"[..])
    );
    assert_eq!(
        read(&mut fs, &mut frames, file, Some(7), 100).as_deref(),
        Ok(&b"world\n"[..])
    );
    assert_eq!(
        read(&mut fs, &mut frames, file, None, 2).as_deref(),
        Ok(&b", "[..])
    );
    assert_eq!(
        read(&mut fs, &mut frames, file, Some(1 << 62), 2).as_deref(),
        Ok(&b""[..])
    );
    let mut sink = TestBuffer::to_fill(4, &mut frames);
    sink.limit = 2;
    assert_eq!(
        fs.read(file, None, &mut sink, &mut Random::new([1; 4])),
        Ok(2)
    );
    let mut sink = TestBuffer::to_fill(4, &mut frames);
    sink.limit = 0;
    assert_eq!(
        fs.read(file, None, &mut sink, &mut Random::new([1; 4])),
        Err(Errno::EFAULT)
    );
    assert_eq!(fs.files[file].offset, 9);
}

#[test]
fn positions_move_as_lseek_says() {
    let (mut fs, _) = file_system();
    let file = open(&mut fs, "/bin/hello", O_RDONLY).expect("it exists");
    for (offset, whence, result) in [
        (4, SEEK_SET, Ok(4)),
        (-1, SEEK_CUR, Ok(3)),
        (-4, SEEK_CUR, Err(Errno::EINVAL)),
        (-1, SEEK_END, Ok(12)),
        (5, SEEK_END, Ok(18)),
        (i64::MAX, SEEK_CUR, Err(Errno::EINVAL)),
        (-1, SEEK_SET, Err(Errno::EINVAL)),
        (3, SEEK_DATA, Ok(3)),
        (3, SEEK_HOLE, Ok(13)),
        (13, SEEK_DATA, Err(Errno::ENXIO)),
        (0, 9, Err(Errno::EINVAL)),
    ] {
        assert_eq!(fs.seek(file, offset, whence), result, "{offset} {whence}");
    }
    let null = open(&mut fs, "/dev/null", O_RDONLY).expect("it exists");
    assert_eq!(fs.seek(null, 9, SEEK_SET), Ok(0));
    let table = fs.first_table();
    let (pipe, _) = fs.make_pipe(table, 0, 64).expect("there is room");
    let pipe = fs.file(table, pipe).expect("it is open");
    assert_eq!(fs.seek(pipe, 0, SEEK_SET), Err(Errno::ESPIPE));
}

#[test]
fn devices_do_what_mem_4_says() {
    let (mut fs, mut frames) = file_system();
    let mut device = |name| open(&mut fs, name, O_RDWR).expect("it exists");
    let (null, zero, full, random) = (
        device("/dev/null"),
        device("/dev/zero"),
        device("/dev/full"),
        device("/dev/urandom"),
    );
    assert_eq!(
        read(&mut fs, &mut frames, null, None, 5).as_deref(),
        Ok(&b""[..])
    );
    assert_eq!(
        read(&mut fs, &mut frames, zero, None, 9000),
        Ok(alloc::vec![0; 9000])
    );
    assert_eq!(
        read(&mut fs, &mut frames, full, None, 3),
        Ok(alloc::vec![0; 3])
    );
    let (one, two) = (
        read(&mut fs, &mut frames, random, None, 600),
        read(&mut fs, &mut frames, random, Some(0), 0),
    );
    assert!(
        one.is_ok_and(|bytes| bytes.len() == 600 && bytes.iter().any(|byte| *byte != bytes[0]))
    );
    assert_eq!(two, Ok(Vec::new()));
    let mut write = |file| {
        let mut source = TestBuffer::to_empty(b"bytes", &mut frames);
        source.limit = 5;
        fs.write(file, None, &mut source)
    };
    assert_eq!(
        (write(null), write(zero), write(random)),
        (Ok(5), Ok(5), Ok(5))
    );
    assert_eq!(write(full), Err(Errno::ENOSPC));
}

#[test]
fn a_directory_cannot_be_read_nor_a_stream_at_a_position() {
    let (mut fs, mut frames) = file_system();
    let directory = open(&mut fs, "/etc", O_RDONLY).expect("it exists");
    assert_eq!(
        read(&mut fs, &mut frames, directory, None, 5),
        Err(Errno::EISDIR)
    );
    let table = fs.first_table();
    let input = fs.file(table, 0).expect("it is open");
    assert_eq!(
        read(&mut fs, &mut frames, input, Some(0), 5),
        Err(Errno::ESPIPE)
    );
}

#[test]
fn mmap_gets_files_and_zeros() {
    let (mut fs, _) = file_system();
    let table = fs.first_table();
    let mut fd = |path| {
        let file = open(&mut fs, path, O_RDONLY).expect("it exists");
        fs.install(table, file, false, 64).expect("there is room")
    };
    let (file, zero, null, directory) = (
        fd("/etc/deep/file"),
        fd("/dev/zero"),
        fd("/dev/null"),
        fd("/etc"),
    );
    let inode = fs
        .inode_of(table, file)
        .map(|inode| fs.metadata(inode).number)
        .expect("it is open");
    let program = fs
        .inode_of(table, file)
        .and_then(|inode| fs.program(inode))
        .expect("a regular file");
    let backing = fs
        .mapping(table, file, 0, false)
        .expect("it can be mapped")
        .0;
    assert_eq!(
        backing,
        Backing::Image {
            inode,
            data: match program.contents {
                Contents::Image(data) => data.0,
                Contents::Pages(_) => 0,
            },
            size: 4,
            offset: 0
        }
    );
    assert_eq!(
        fs.mapping(table, zero, 0, false)
            .map(|(backing, _)| backing),
        Ok(Backing::Anonymous)
    );
    assert_eq!(fs.mapping(table, null, 0, false), Err(Errno::ENODEV));
    assert_eq!(fs.mapping(table, directory, 0, false), Err(Errno::ENODEV));
    assert_eq!(fs.mapping(table, 99, 0, false), Err(Errno::EBADF));
    let mut of = |fd| {
        fs.inode_of(table, fd)
            .and_then(|inode| fs.program(inode))
            .err()
    };
    assert_eq!(
        (of(null), of(directory), of(0)),
        (
            Some(Errno::EACCES),
            Some(Errno::EACCES),
            Some(Errno::EACCES)
        )
    );
}
