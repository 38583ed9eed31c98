//! Small ELF files made to order, good and bad ones (elf(5)).

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// PT_LOAD.
pub const LOAD: u32 = 1;
/// PT_INTERP.
pub const INTERP: u32 = 3;
/// Where the good program is loaded.
pub const BASE: u64 = 0x40_0000;
/// `mov $60, %eax; mov $7, %edi; syscall`: exits with 7.
const EXIT_7: [u8; 12] = [0xb8, 60, 0, 0, 0, 0xbf, 7, 0, 0, 0, 0x0f, 0x05];
/// Bytes of the file's header and of a program header.
const HEADER: u16 = 64;
const PROGRAM_HEADER: u16 = 56;
/// Where the contents begin: behind the room for four program headers.
const CONTENTS: u16 = HEADER + 4 * PROGRAM_HEADER;

/// A program header.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Segment {
    pub kind: u32,
    pub flags: u32,
    pub offset: u64,
    pub address: u64,
    pub file_size: u64,
    pub memory_size: u64,
    pub align: u64,
}

/// An ELF file; its fields can be changed before it is written.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Elf {
    pub class: u8,
    pub data: u8,
    pub kind: u16,
    pub machine: u16,
    pub entry: u64,
    pub header_offset: u64,
    pub header_size: u16,
    /// `None`: as many as there are segments.
    pub header_count: Option<u16>,
    pub segments: Vec<Segment>,
    pub contents: Vec<u8>,
}

impl Elf {
    /// A program that exits with 7.
    pub fn good() -> Self {
        let code = u64::from(CONTENTS);
        let size = code + EXIT_7.len() as u64;
        Self {
            class: 2,
            data: 1,
            kind: 2,
            machine: 62,
            entry: BASE + code,
            header_offset: HEADER.into(),
            header_size: PROGRAM_HEADER,
            header_count: None,
            segments: vec![Segment {
                kind: LOAD,
                flags: 5,
                offset: 0,
                address: BASE,
                file_size: size,
                memory_size: size,
                align: 0x1000,
            }],
            contents: EXIT_7.to_vec(),
        }
    }

    /// The good program with a second segment, of zeros.
    pub fn with_segment(segment: Segment) -> Self {
        let mut elf = Self::good();
        elf.segments.push(segment);
        elf
    }

    /// The file: header, room for four program headers, contents.
    pub fn bytes(&self) -> Vec<u8> {
        let count = self
            .header_count
            .unwrap_or_else(|| u16::try_from(self.segments.len()).expect("four segments at most"));
        let mut bytes = vec![0x7f, b'E', b'L', b'F', self.class, self.data, 1, 0];
        bytes.resize(16, 0);
        bytes.extend(self.kind.to_le_bytes());
        bytes.extend(self.machine.to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(self.entry.to_le_bytes());
        bytes.extend(self.header_offset.to_le_bytes());
        bytes.extend([0; 12]); // section headers, flags
        bytes.extend(HEADER.to_le_bytes());
        bytes.extend(self.header_size.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.resize(HEADER.into(), 0);
        for segment in &self.segments {
            bytes.extend(segment.kind.to_le_bytes());
            bytes.extend(segment.flags.to_le_bytes());
            let numbers = [
                segment.offset,
                segment.address,
                segment.address,
                segment.file_size,
                segment.memory_size,
                segment.align,
            ];
            bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        }
        bytes.resize(CONTENTS.into(), 0);
        bytes.extend(&self.contents);
        bytes
    }

    /// As an executable file that goes away with the value returned.
    pub fn write(&self) -> TemporaryFile {
        TemporaryFile::executable(&self.bytes())
    }
}

/// A file in the temporary directory, removed at the end.
#[derive(Debug)]
pub struct TemporaryFile(PathBuf);

impl TemporaryFile {
    /// With these contents and mode 0755.
    pub fn executable(contents: &[u8]) -> Self {
        Self::with_mode(contents, 0o755)
    }

    /// With these contents and permissions.
    pub fn with_mode(contents: &[u8], mode: u32) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("forkvm-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(mode)
            .open(&path)
            .expect("a temporary file");
        file.write_all(contents)
            .expect("the temporary directory has room");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
