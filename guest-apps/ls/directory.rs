//! The names in a directory, sorted.

use core::ffi::CStr;
use rt::eprintln;
use rt::syscall::{Errno, getdents64};

/// Names of one directory; what is beyond 1,000 of them or 32 KiB of records is left out, with a message.
pub(crate) struct Directory {
    /// linux_dirent64 records (getdents64(2)): inode u64, offset i64, length u16, type u8, name, NUL.
    records: [u8; 32 * 1024],
    /// Where in the records each name starts, in the names' order.
    starts: [u16; 1000],
    count: usize,
}

impl Directory {
    pub(crate) const fn new() -> Self {
        Self {
            records: [0; 32 * 1024],
            starts: [0; 1000],
            count: 0,
        }
    }

    /// Reads and sorts.
    pub(crate) fn read(&mut self, fd: i32) -> Result<(), Errno> {
        const LONGEST_RECORD: usize = 280;
        let mut end = 0;
        loop {
            let bytes = getdents64(fd, &mut self.records[end..])?;
            self.note_names(end, end + bytes);
            end += bytes;
            if bytes == 0 {
                break;
            }
            if self.records.len() - end < LONGEST_RECORD || self.count == self.starts.len() {
                eprintln!("ls: the directory is too large to be shown as a whole");
                break;
            }
        }
        let Self {
            records,
            starts,
            count,
        } = self;
        starts[..*count].sort_unstable_by_key(|&start| name_at(records, start));
        Ok(())
    }

    fn note_names(&mut self, mut record: usize, end: usize) {
        while record < end && self.count < self.starts.len() {
            if let Ok(start) = u16::try_from(record + 19) {
                self.starts[self.count] = start;
                self.count += 1;
            }
            record += usize::from(u16::from_le_bytes([
                self.records[record + 16],
                self.records[record + 17],
            ]));
        }
    }

    /// In byte order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &CStr> {
        self.starts[..self.count]
            .iter()
            .map(|&start| name_at(&self.records, start))
    }
}

fn name_at(records: &[u8], start: u16) -> &CStr {
    CStr::from_bytes_until_nul(&records[usize::from(start)..]).unwrap_or(c"?")
}
