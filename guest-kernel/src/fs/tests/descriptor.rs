//! Descriptor tables: lowest numbers first, limits, who closes what.

use super::*;
use crate::fs::table::MAX_DESCRIPTORS;
use linux_raw_sys::general::{O_CLOEXEC, O_PATH, O_RDONLY};

#[test]
fn the_lowest_free_number_is_given() {
    let (mut fs, _) = file_system();
    let table = fs.first_table();
    let mut file = || open(&mut fs, "/bin/hello", O_RDONLY).expect("it exists");
    let (first, second, third) = (file(), file(), file());
    assert_eq!(fs.install(table, first, false, 10), Ok(3));
    assert_eq!(fs.install(table, second, false, 10), Ok(4));
    assert_eq!(fs.close(table, 1), Ok(()));
    assert_eq!(fs.close(table, 1), Err(Errno::EBADF));
    assert_eq!(fs.install(table, third, false, 10), Ok(1));
    assert_eq!(fs.duplicate(table, 3, 0, false, 10), Ok(5));
    assert_eq!(fs.duplicate(table, 3, 8, false, 10), Ok(8));
    assert_eq!(fs.duplicate(table, 3, 0, false, 10), Ok(6));
    assert_eq!(fs.duplicate(table, 77, 0, false, 10), Err(Errno::EBADF));
    assert_eq!(fs.duplicate(table, -1, 0, false, 10), Err(Errno::EBADF));
}

#[test]
fn limits_hold_and_nothing_is_left_open() {
    let (mut fs, _) = file_system();
    let table = fs.first_table();
    let file = open(&mut fs, "/bin/hello", O_RDONLY).expect("it exists");
    assert_eq!(fs.install(table, file, false, 3), Err(Errno::EMFILE));
    assert_eq!(fs.files.len(), 3);
    assert_eq!(fs.duplicate(table, 0, 0, false, 3), Err(Errno::EMFILE));
    assert_eq!(fs.duplicate_to(table, 0, 3, false, 3), Err(Errno::EBADF));
    assert_eq!(fs.duplicate_to(table, 0, -1, false, 3), Err(Errno::EBADF));
    assert_eq!(fs.make_pipe(table, 0, 4), Err(Errno::EMFILE));
    assert_eq!((fs.files.len(), fs.pipes.len()), (3, 0));
    let last = i32::try_from(MAX_DESCRIPTORS).expect("a small number");
    assert_eq!(
        fs.duplicate_to(table, 0, last - 1, false, u32::MAX),
        Ok(last - 1)
    );
    assert_eq!(
        fs.duplicate_to(table, 0, last, false, u32::MAX),
        Err(Errno::EBADF)
    );
    // Gaps below are used before the end is.
    assert_eq!(fs.duplicate(table, 0, 0, false, u32::MAX), Ok(3));
}

#[test]
fn open_files_are_bounded() {
    let (mut fs, _) = file_system();
    while let Ok(_file) = open(&mut fs, "/dev/null", O_RDONLY) {}
    assert_eq!(fs.files.len(), crate::fs::file::MAX_OPEN_FILES);
    assert_eq!(open(&mut fs, "/dev/null", O_RDONLY), Err(Errno::ENFILE));
    let table = fs.tables.insert(crate::fs::FdTable::new());
    assert_eq!(fs.make_pipe(table, 0, 64), Err(Errno::ENFILE));
    assert_eq!(fs.pipes.len(), 0);
}

#[test]
fn dup2_closes_what_it_replaces() {
    let (mut fs, _) = file_system();
    let table = fs.first_table();
    let (read_end, write_end) = fs.make_pipe(table, 0, 64).expect("there is room");
    assert_eq!(
        fs.duplicate_to(table, 0, write_end, false, 64),
        Ok(write_end)
    );
    let file = fs.file(table, read_end).expect("it is open");
    assert_eq!(
        fs.pipe_of(file).map(|pipe| (pipe.readers, pipe.writers)),
        Some((1, 0))
    );
}

#[test]
fn fork_shares_open_files_and_the_last_close_counts() {
    let (mut fs, _) = file_system();
    let parent = fs.first_table();
    let (read_end, _) = fs.make_pipe(parent, 0, 64).expect("there is room");
    let child = fs.copy_table(parent);
    let file = fs.file(child, read_end).expect("it is open");
    assert_eq!((fs.files.len(), fs.files.references(file)), (5, 2));
    fs.release_table(parent);
    assert_eq!((fs.files.len(), fs.pipes.len()), (5, 1));
    assert!(fs.output_is_held());
    fs.release_table(child);
    assert_eq!((fs.files.len(), fs.pipes.len(), fs.tables.len()), (0, 0, 0));
    assert!(!fs.output_is_held());
}

#[test]
fn a_shared_table_lives_as_long_as_an_owner() {
    let (mut fs, _) = file_system();
    let table = fs.first_table();
    fs.tables.share(table);
    fs.release_table(table);
    assert_eq!(fs.files.len(), 3);
    fs.release_table(table);
    assert_eq!(fs.files.len(), 0);
}

#[test]
fn exec_closes_what_is_marked() {
    let (mut fs, _) = file_system();
    let table = fs.first_table();
    fs.make_pipe(table, O_CLOEXEC, 64).expect("there is room");
    fs.duplicate(table, 3, 10, false, 64)
        .expect("there is room");
    fs.tables[table]
        .set_close_on_exec(1, true)
        .expect("it is open");
    fs.close_on_exec(table);
    let still_open: Vec<i32> = (0..64)
        .filter(|fd| fs.tables[table].get(*fd).is_ok())
        .collect();
    assert_eq!(still_open, [0, 2, 10]);
    assert_eq!(fs.duplicate(table, 0, 0, false, 64), Ok(1));
}

#[test]
fn a_name_is_no_file() {
    let (mut fs, _) = file_system();
    let table = fs.first_table();
    let name = open(&mut fs, "/etc/deep", O_PATH).expect("it exists");
    let fd = fs.install(table, name, false, 64).expect("there is room");
    assert_eq!(fs.file(table, fd), Err(Errno::EBADF));
    assert!(
        fs.inode_of(table, fd)
            .is_ok_and(|inode| fs.is_directory(inode))
    );
}
