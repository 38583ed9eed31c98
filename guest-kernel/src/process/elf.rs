//! ELF programs: the headers, checked field by field (elf(5); Linux: fs/binfmt_elf.c).
//!
//! In:  the bytes of a file. Out: a [`Program`]: what to map where, relative to a bias that
//! execve chooses for position-independent programs. Nothing in it points outside the file or
//! outside user space, whatever the headers claim.

use crate::errno::Errno;
use crate::memory::address::{page_down, page_up};
use crate::memory::space::Protection;
use alloc::vec::Vec;
use core::ops::Range;
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::inspect::vma;
use forkvm_abi::layout::USER_END;
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// First bytes of every ELF file.
pub const MAGIC: [u8; 4] = *b"\x7fELF";
/// Program headers at most: Linux reads no more than a page of them.
const MAX_HEADERS: u64 = PAGE_SIZE / PROGRAM_HEADER_BYTES;
/// Bytes of an interpreter's path, its NUL included.
const INTERPRETER_MAX: u64 = 4096;

const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const MACHINE_X86_64: u16 = 62;
const TYPE_EXEC: u16 = 2;
const TYPE_DYN: u16 = 3;

const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_PHDR: u32 = 6;
const PT_GNU_STACK: u32 = 0x6474_e551;

const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;

/// `Elf64_Ehdr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
struct FileHeader {
    magic: [u8; 4],
    class: u8,
    data: u8,
    version: u8,
    padding: [u8; 9],
    kind: u16,
    machine: u16,
    object_version: u32,
    entry: u64,
    headers_offset: u64,
    sections_offset: u64,
    flags: u32,
    header_bytes: u16,
    program_header_bytes: u16,
    program_headers: u16,
    section_fields: [u16; 3],
}

const _: () = assert!(size_of::<FileHeader>() == 64);

/// `Elf64_Phdr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
struct ProgramHeader {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    physical_address: u64,
    file_bytes: u64,
    memory_bytes: u64,
    alignment: u64,
}

/// Bytes of one program header (AT_PHENT).
pub const PROGRAM_HEADER_BYTES: u64 = size_of::<ProgramHeader>() as u64;

/// What a checked file asks for. Addresses are without the bias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// May be loaded anywhere (ET_DYN: static-PIE, dynamic programs, interpreters).
    pub relocatable: bool,
    /// First instruction.
    pub entry: u64,
    /// Where the program headers are found in memory (AT_PHDR); 0 if they are not mapped.
    pub headers: u64,
    /// Number of program headers (AT_PHNUM).
    pub header_count: u64,
    /// PT_LOAD, in ascending order, not overlapping, at least one.
    pub segments: Vec<Segment>,
    /// Where in the file the interpreter's path stands, without its NUL (PT_INTERP).
    pub interpreter: Option<Range<usize>>,
    /// PT_GNU_STACK asks for an executable stack.
    pub executable_stack: bool,
    /// Largest alignment of a segment, a power of two and at least a page.
    pub alignment: u64,
}

/// A PT_LOAD segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Address of its first byte; congruent to `offset` modulo the page size.
    pub address: u64,
    /// Offset of that byte in the file.
    pub offset: u64,
    /// Bytes from the file.
    pub file_bytes: u64,
    /// Bytes in memory; those behind `file_bytes` are zero.
    pub memory_bytes: u64,
    /// READ, WRITE, EXEC.
    pub protection: Protection,
}

impl Segment {
    /// First address behind it.
    pub const fn end(&self) -> u64 {
        self.address + self.memory_bytes
    }
}

impl Program {
    /// Checks all headers. ENOEXEC if it is no program for this machine, EINVAL for impossible segments.
    pub fn parse(file: &[u8]) -> Result<Self, Errno> {
        Self::parse_head(file, file.len() as u64)
    }

    /// The same for the first bytes of a file of `file_len` bytes; ENOEXEC also if headers or interpreter lie behind them.
    pub fn parse_head(file: &[u8], file_len: u64) -> Result<Self, Errno> {
        let header = file_header(file)?;
        let table = program_headers(file, &header)?;
        let mut program = Self {
            relocatable: header.kind == TYPE_DYN,
            entry: header.entry,
            headers: 0,
            header_count: u64::from(header.program_headers),
            segments: Vec::with_capacity(8),
            interpreter: None,
            executable_stack: false,
            alignment: PAGE_SIZE,
        };
        let mut announced_headers = 0;
        for entry in table.chunks_exact(size_of::<ProgramHeader>()) {
            let entry = ProgramHeader::read_from_bytes(entry).map_err(|_| Errno::ENOEXEC)?;
            match entry.kind {
                PT_LOAD => program.add_segment(file_len, &entry)?,
                PT_INTERP if program.interpreter.is_none() => {
                    program.interpreter = Some(interpreter(file, &entry)?)
                }
                PT_PHDR => announced_headers = entry.address,
                PT_GNU_STACK => program.executable_stack = entry.flags & PF_X != 0,
                _ => {}
            }
        }
        if program.segments.is_empty() {
            return Err(Errno::ENOEXEC);
        }
        if program.entry >= USER_END {
            return Err(Errno::EINVAL);
        }
        program.headers = program
            .address_of_offset(header.headers_offset)
            .unwrap_or(announced_headers);
        Ok(program)
    }

    /// First page and first byte behind the last page, both page-aligned.
    pub fn span(&self) -> Range<u64> {
        let first = self
            .segments
            .first()
            .map_or(0, |segment| page_down(segment.address));
        let last = self.segments.last().map_or(0, Segment::end);
        first..page_up(last).unwrap_or(last)
    }

    /// Takes a PT_LOAD in. EINVAL as Linux for sizes and addresses that cannot be; ENOEXEC for a truncated file
    /// and for segments that overlap or are out of order.
    fn add_segment(&mut self, file_len: u64, entry: &ProgramHeader) -> Result<(), Errno> {
        let end = entry
            .address
            .checked_add(entry.memory_bytes)
            .ok_or(Errno::EINVAL)?;
        if entry.file_bytes > entry.memory_bytes || end > USER_END {
            return Err(Errno::EINVAL);
        }
        if entry.address % PAGE_SIZE != entry.offset % PAGE_SIZE {
            return Err(Errno::EINVAL);
        }
        let file_end = entry
            .offset
            .checked_add(entry.file_bytes)
            .ok_or(Errno::EINVAL)?;
        if entry.file_bytes > 0 && file_end > file_len {
            return Err(Errno::ENOEXEC);
        }
        if self
            .segments
            .last()
            .is_some_and(|previous| previous.end() > entry.address)
        {
            return Err(Errno::ENOEXEC);
        }
        // Linux, too, takes no notice of an alignment that is no power of two.
        if entry.alignment.is_power_of_two() {
            self.alignment = self.alignment.max(entry.alignment);
        }
        if entry.memory_bytes > 0 {
            self.segments.push(Segment {
                address: entry.address,
                offset: entry.offset,
                file_bytes: entry.file_bytes,
                memory_bytes: entry.memory_bytes,
                protection: protection(entry.flags),
            });
        }
        Ok(())
    }

    /// Where a byte of the file is found in memory.
    fn address_of_offset(&self, offset: u64) -> Option<u64> {
        let holds = |segment: &&Segment| {
            offset >= segment.offset && offset - segment.offset < segment.file_bytes
        };
        self.segments
            .iter()
            .find(holds)
            .map(|segment| segment.address + (offset - segment.offset))
    }
}

fn file_header(file: &[u8]) -> Result<FileHeader, Errno> {
    let (header, _) = FileHeader::read_from_prefix(file).map_err(|_| Errno::ENOEXEC)?;
    let fits = header.magic == MAGIC
        && header.class == CLASS_64
        && header.data == LITTLE_ENDIAN
        && header.machine == MACHINE_X86_64
        && (header.kind == TYPE_EXEC || header.kind == TYPE_DYN)
        && usize::from(header.program_header_bytes) == size_of::<ProgramHeader>()
        && (1..=MAX_HEADERS).contains(&u64::from(header.program_headers));
    if fits {
        Ok(header)
    } else {
        Err(Errno::ENOEXEC)
    }
}

fn program_headers<'a>(file: &'a [u8], header: &FileHeader) -> Result<&'a [u8], Errno> {
    let bytes = usize::from(header.program_headers) * size_of::<ProgramHeader>();
    let start = usize::try_from(header.headers_offset).map_err(|_| Errno::ENOEXEC)?;
    let end = start.checked_add(bytes).ok_or(Errno::ENOEXEC)?;
    file.get(start..end).ok_or(Errno::ENOEXEC)
}

/// The path in a PT_INTERP segment: at least one byte and a NUL at the end.
fn interpreter(file: &[u8], entry: &ProgramHeader) -> Result<Range<usize>, Errno> {
    if !(2..=INTERPRETER_MAX).contains(&entry.file_bytes) {
        return Err(Errno::ENOEXEC);
    }
    let start = usize::try_from(entry.offset).map_err(|_| Errno::ENOEXEC)?;
    let len = usize::try_from(entry.file_bytes).map_err(|_| Errno::ENOEXEC)?;
    let end = start.checked_add(len).ok_or(Errno::ENOEXEC)?;
    let path = file.get(start..end).ok_or(Errno::ENOEXEC)?;
    if path.last() != Some(&0) {
        return Err(Errno::ENOEXEC);
    }
    let text = path.iter().position(|byte| *byte == 0).unwrap_or(len);
    Ok(start..start + text)
}

fn protection(flags: u32) -> Protection {
    [(PF_R, vma::READ), (PF_W, vma::WRITE), (PF_X, vma::EXEC)]
        .into_iter()
        .filter(|(flag, _)| flags & flag != 0)
        .map(|(_, protection)| protection)
        .sum()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A header as little-endian bytes.
    pub(crate) fn program_header(
        kind: u32,
        flags: u32,
        offset: u64,
        address: u64,
        file: u64,
        memory: u64,
    ) -> Vec<u8> {
        let mut bytes = [kind.to_le_bytes(), flags.to_le_bytes()].concat();
        for field in [offset, address, address, file, memory, PAGE_SIZE] {
            bytes.extend(field.to_le_bytes());
        }
        bytes
    }

    /// A file of `len` bytes with these program headers behind the file header.
    pub(crate) fn file(kind: u16, entry: u64, headers: &[Vec<u8>], len: usize) -> Vec<u8> {
        let mut bytes = [&MAGIC[..], &[CLASS_64, LITTLE_ENDIAN, 1, 0], &[0; 8]].concat();
        bytes.extend(kind.to_le_bytes());
        bytes.extend(MACHINE_X86_64.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(entry.to_le_bytes());
        bytes.extend(64u64.to_le_bytes());
        bytes.extend([0; 12]);
        for field in [64, 56, u16::try_from(headers.len()).unwrap(), 0, 0, 0] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend(headers.concat());
        bytes.resize(len.max(bytes.len()), 0x90);
        bytes
    }

    /// Text and data with bss, as a linker lays them out.
    pub(crate) fn ordinary() -> Vec<u8> {
        let headers = [
            program_header(PT_LOAD, PF_R | PF_X, 0, 0x40_0000, 0x1800, 0x1800),
            program_header(PT_LOAD, PF_R | PF_W, 0x1800, 0x40_2800, 0x100, 0x3000),
            program_header(PT_GNU_STACK, PF_R | PF_W, 0, 0, 0, 0),
        ];
        file(TYPE_EXEC, 0x40_1000, &headers, 0x1900)
    }

    #[test]
    fn an_ordinary_program_is_understood() {
        let program = Program::parse(&ordinary()).unwrap();
        assert!(!program.relocatable && !program.executable_stack && program.interpreter.is_none());
        assert_eq!(
            (program.entry, program.headers, program.header_count),
            (0x40_1000, 0x40_0040, 3)
        );
        assert_eq!(program.span(), 0x40_0000..0x40_6000);
        let protections: Vec<_> = program
            .segments
            .iter()
            .map(|segment| segment.protection)
            .collect();
        assert_eq!(protections, [vma::READ | vma::EXEC, vma::READ | vma::WRITE]);
    }

    #[test]
    fn the_interpreter_is_found() {
        let load = program_header(PT_LOAD, PF_R, 0, 0, 0x1000, 0x1000);
        let mut dynamic = file(
            TYPE_DYN,
            0,
            &[
                load.clone(),
                program_header(PT_INTERP, PF_R, 0x200, 0x200, 8, 8),
            ],
            0x1000,
        );
        dynamic[0x200..0x208].copy_from_slice(b"/lib/ld\0");
        let program = Program::parse(&dynamic).unwrap();
        assert_eq!(
            program.interpreter.map(|path| &dynamic[path]),
            Some(&b"/lib/ld"[..])
        );
        dynamic[0x207] = b'x';
        assert_eq!(Program::parse(&dynamic), Err(Errno::ENOEXEC));
    }

    #[test]
    fn what_is_no_program_for_this_machine_is_enoexec() {
        for (offset, value) in [
            (0, 0),
            (4, 1),
            (5, 2),
            (16, 1),
            (18, 3),
            (54, 32),
            (56, 0),
            (56, 200),
        ] {
            let mut bytes = ordinary();
            bytes[offset] = value;
            assert_eq!(
                Program::parse(&bytes),
                Err(Errno::ENOEXEC),
                "byte {offset} = {value}"
            );
        }
        assert_eq!(Program::parse(b"\x7fELF"), Err(Errno::ENOEXEC));
        assert_eq!(
            Program::parse(&ordinary()[..0x1800]),
            Err(Errno::ENOEXEC),
            "truncated"
        );
        assert_eq!(
            Program::parse(&file(
                TYPE_EXEC,
                0,
                &[program_header(PT_GNU_STACK, 0, 0, 0, 0, 0)],
                0
            )),
            Err(Errno::ENOEXEC)
        );
    }

    #[test]
    fn impossible_segments_are_refused() {
        let with = |offset, address, file_bytes, memory| {
            let load = program_header(PT_LOAD, PF_R, offset, address, file_bytes, memory);
            Program::parse(&file(TYPE_EXEC, 0x1_0000, &[load], 0x2000)).map(|_| ())
        };
        assert_eq!(with(0, 0x1_0000, 0x1000, 0x1000), Ok(()));
        assert_eq!(
            with(0, 0x1_0000, 0x1000, 0xfff),
            Err(Errno::EINVAL),
            "more in the file than in memory"
        );
        assert_eq!(with(1, 0x1_0000, 1, 1), Err(Errno::EINVAL), "not congruent");
        assert_eq!(
            with(0, 0xffff_8000_0000_0000, 1, 1),
            Err(Errno::EINVAL),
            "in the kernel's half"
        );
        assert_eq!(
            with(0, USER_END - 0x1000, 1, 0x1001),
            Err(Errno::EINVAL),
            "over the end of user space"
        );
        assert_eq!(
            with(0, 0x1_0000, 1, u64::MAX),
            Err(Errno::EINVAL),
            "absurd size"
        );
        assert_eq!(
            with(u64::MAX - 0xfff, 0x1_0000, 0x1000, 0x1000),
            Err(Errno::EINVAL),
            "offset overflows"
        );
    }

    #[test]
    fn overlapping_segments_are_refused() {
        let one = program_header(PT_LOAD, PF_R, 0, 0x1_0000, 0x1000, 0x1001);
        let two = program_header(PT_LOAD, PF_R, 0x1000, 0x1_1000, 0x1000, 0x1000);
        assert_eq!(
            Program::parse(&file(TYPE_EXEC, 0, &[one, two], 0x2000)),
            Err(Errno::ENOEXEC)
        );
    }

    proptest! {
        /// Whatever the headers say: no panic, and what is accepted lies inside the file and inside user space.
        #[test]
        fn mutated_headers_are_refused_or_harmless(changes in prop::collection::vec((0usize..232, any::<u8>()), 1..12)) {
            let mut bytes = ordinary();
            for (offset, value) in changes {
                bytes[offset] = value;
            }
            if let Ok(program) = Program::parse(&bytes) {
                let mut end = 0;
                for segment in &program.segments {
                    prop_assert!(segment.address >= end && segment.end() <= USER_END);
                    prop_assert!(segment.file_bytes <= segment.memory_bytes);
                    prop_assert!(segment.file_bytes == 0 || segment.offset + segment.file_bytes <= bytes.len() as u64);
                    end = segment.end();
                }
                prop_assert!(program.span().end <= USER_END && program.entry < USER_END);
                if let Some(path) = program.interpreter {
                    prop_assert!(path.end < bytes.len());
                }
            }
        }
    }
}
