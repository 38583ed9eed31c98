//! getdents64(2): complete, resumable, honest about room.

use super::*;
use crate::fs::directory::DirentFormat;
use alloc::string::String;
use proptest::prelude::*;

/// Lists with a buffer of `room` bytes per call until the end: names, types, cookies.
fn list(
    fs: &mut FileSystem,
    frames: &mut Frames,
    id: Id<OpenFile>,
    room: usize,
) -> Result<Vec<(String, u8, u64)>, Errno> {
    let processes = TwoProcesses(Inode::ROOT);
    let mut entries = Vec::new();
    loop {
        let mut sink = TestBuffer::to_fill(room, frames);
        let moved = fs.list(id, DirentFormat::Dirent64, &processes, &mut sink)?;
        assert_eq!(moved, sink.bytes.len());
        if moved == 0 {
            return Ok(entries);
        }
        let mut bytes = &sink.bytes[..];
        while !bytes.is_empty() {
            let len = usize::from(u16::from_le_bytes([bytes[16], bytes[17]]));
            let end = bytes[19..]
                .iter()
                .position(|byte| *byte == 0)
                .expect("a NUL ends the name");
            let name =
                String::from_utf8(bytes[19..19 + end].to_vec()).expect("test names are UTF-8");
            let cookie = u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes"));
            entries.push((name, bytes[18], cookie));
            bytes = &bytes[len..];
        }
    }
}

fn names(entries: &[(String, u8, u64)]) -> Vec<&str> {
    entries.iter().map(|(name, _, _)| name.as_str()).collect()
}

#[test]
fn a_directory_lists_everything_in_it() {
    let (mut fs, mut frames) = file_system();
    let directory = open(&mut fs, "/etc", 0).expect("it exists");
    let entries = list(&mut fs, &mut frames, directory, 4096).expect("it is a directory");
    assert_eq!(
        names(&entries),
        [".", "..", "dangling", "deep", "link", "loop", "root", "up"]
    );
    assert_eq!(
        entries.iter().map(|entry| entry.1).collect::<Vec<u8>>(),
        [4, 4, 10, 4, 10, 10, 10, 10]
    );
}

#[test]
fn proc_lists_processes() {
    let (mut fs, mut frames) = file_system();
    let directory = open(&mut fs, "/proc", 0).expect("it exists");
    let entries = list(&mut fs, &mut frames, directory, 48).expect("it is a directory");
    assert_eq!(names(&entries), [".", "..", "self", "7", "9"]);
    let directory = open(&mut fs, "/proc/9", 0).expect("it exists");
    let entries = list(&mut fs, &mut frames, directory, 4096).expect("it is a directory");
    assert_eq!(names(&entries), [".", "..", "exe"]);
}

#[test]
fn a_cookie_leads_back_to_its_place() {
    let (mut fs, mut frames) = file_system();
    let directory = open(&mut fs, "/dev", 0).expect("it exists");
    let all = list(&mut fs, &mut frames, directory, 4096).expect("it is a directory");
    for (position, (_, _, cookie)) in all.iter().enumerate() {
        fs.seek(directory, cookie.cast_signed(), 0)
            .expect("a directory has a position");
        let rest = list(&mut fs, &mut frames, directory, 4096).expect("it is a directory");
        assert_eq!(rest[..], all[position + 1..]);
    }
}

#[test]
fn too_little_room_is_said_so() {
    let (mut fs, mut frames) = file_system();
    let directory = open(&mut fs, "/etc", 0).expect("it exists");
    assert_eq!(
        list(&mut fs, &mut frames, directory, 23),
        Err(Errno::EINVAL)
    );
    let file = open(&mut fs, "/bin/hello", 0).expect("it exists");
    assert_eq!(list(&mut fs, &mut frames, file, 4096), Err(Errno::ENOTDIR));
    let mut sink = TestBuffer::to_fill(4096, &mut frames);
    sink.limit = 10;
    assert_eq!(
        fs.list(
            directory,
            DirentFormat::Old,
            &TwoProcesses(Inode::ROOT),
            &mut sink
        ),
        Err(Errno::EFAULT)
    );
}

#[test]
fn the_old_format_has_the_type_at_the_end() {
    let (mut fs, mut frames) = file_system();
    let directory = open(&mut fs, "/bin", 0).expect("it exists");
    let mut sink = TestBuffer::to_fill(24, &mut frames);
    assert_eq!(
        fs.list(
            directory,
            DirentFormat::Old,
            &TwoProcesses(Inode::ROOT),
            &mut sink
        ),
        Ok(24)
    );
    assert_eq!((&sink.bytes[18..20], sink.bytes[23]), (&b".\0"[..], 4));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The size of the buffer changes how often one asks, not what one gets.
    #[test]
    fn any_buffer_that_holds_an_entry_lists_all(room in 32usize..600) {
        let (mut fs, mut frames) = file_system();
        let directory = open(&mut fs, "/etc", 0).expect("it exists");
        let whole = list(&mut fs, &mut frames, directory, 4096).expect("it is a directory");
        fs.seek(directory, 0, 0).expect("a directory has a position");
        prop_assert_eq!(list(&mut fs, &mut frames, directory, room), Ok(whole));
    }
}
