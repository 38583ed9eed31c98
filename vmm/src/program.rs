//! Finds the program to run, and says what is wrong with it before a VM is made.
//!
//! In:  the word on the command line, and the tree of the guest's files.
//! Out: a [`Program`], or a [`ProgramError`] whose kind decides between exit status 126 and 127.
//!
//! The checks are those a static program must pass for the guest's execve to succeed
//! (elf(5); Linux: fs/binfmt_elf.c); the guest kernel does its own and trusts none of these.

use crate::embedded::{App, app};
use crate::root::{Attributes, Content, Node, RootError, Tree, guest_path};
use forkvm_abi::layout::USER_END;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

/// A program of the guest.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    /// Absolute path in the guest.
    pub path: Vec<u8>,
}

/// An open regular file of the host that can be run.
#[derive(Debug)]
struct HostFile {
    file: File,
    len: u64,
    attributes: Attributes,
}

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// Exit status 127.
    #[error(
        "{program}: not found: no such file, and no program of that name inside forkvm ({known})"
    )]
    NotFound {
        /// As typed.
        program: String,
        /// Names of the embedded programs.
        known: String,
    },
    /// Exit status 127.
    #[error("{program}: not found in the guest's root")]
    NotInRoot {
        /// As typed.
        program: String,
    },
    /// There is no room for it in the guest.
    #[error(transparent)]
    Root(#[from] RootError),
    /// Exit status 126.
    #[error("{program}: {reason}")]
    NotRunnable {
        /// As typed.
        program: String,
        /// What is wrong.
        reason: NotRunnable,
    },
}

/// What is wrong with a file that was found.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum NotRunnable {
    #[error("cannot be opened: {0}")]
    Unreadable(io::Error),
    #[error("is not a regular file; give the program's own path")]
    NotAFile,
    #[error("is not executable; chmod +x it")]
    NotExecutable,
    #[error("is larger than {} GiB, the most forkvm puts into a guest", MAX_FILE >> 30)]
    TooLarge,
    #[error("is not an ELF program; forkvm runs static x86-64 Linux programs")]
    NotElf,
    #[error("is a 32-bit program; compile it for x86-64 (gcc -m64 -static)")]
    Not64Bit,
    #[error("is a program for another machine (ELF machine {0}); compile it for x86-64")]
    OtherMachine(u16),
    #[error("is an ELF file but not a program (ELF type {0}); link it")]
    NotAProgram(u16),
    #[error("is truncated: its headers speak of bytes behind its end; build or copy it again")]
    Truncated,
    #[error(
        "is dynamically linked, needs {0}; link it with -static, or run it in a root that has its libraries (--root)"
    )]
    Dynamic(String),
    #[error("has nothing to load; link it again")]
    NothingToLoad,
    #[error("has a malformed segment at {0:#x} (sizes, order or overlap); link it again")]
    BadSegment(u64),
    #[error("wants to be loaded at {0:#x}, outside of user space; link it at a lower address")]
    OutsideUserSpace(u64),
    #[error("is a script for {0}, which is not in the guest; bring it with --file {0}")]
    Interpreter(String),
    #[error("has no name left to give it in the guest")]
    NoName,
}

/// Files are mapped into the guest-physical space; this bounds it.
const MAX_FILE: u64 = 4 << 30;
/// Linux reads at most this much of the program headers (fs/binfmt_elf.c, load_elf_phdrs).
const MAX_HEADERS: usize = 65536;
/// Bytes of an ELF header and of a program header.
const ELF_HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
/// Linux looks at the first 256 bytes of a script (BINPRM_BUF_SIZE).
const SCRIPT_HEADER: usize = 256;

impl Program {
    /// The program that `word` names: `guest-apps/NAME` or `NAME` of an embedded program, a file of the host, which is put into the
    /// tree, or else a file that is in the tree already.
    pub fn resolve(word: &OsStr, tree: &mut Tree) -> Result<Self, ProgramError> {
        if let Some(app) = embedded(word) {
            let path = in_bin(app.name);
            return Ok(Self { path });
        }
        let shown = || word.to_string_lossy().into_owned();
        let refused = |reason| ProgramError::NotRunnable {
            program: shown(),
            reason,
        };
        let file = match File::open(word) {
            Ok(file) => file,
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => {
                    return Self::in_tree(word, &[b"/bin"], tree).ok_or_else(|| {
                        ProgramError::NotFound {
                            program: shown(),
                            known: known_names(),
                        }
                    });
                }
                _ => return Err(refused(NotRunnable::Unreadable(error))),
            },
        };
        let is_there = |path: &[u8]| matches!(tree.get(path), Some(Node::File(_)));
        let HostFile {
            file,
            len,
            attributes,
        } = HostFile::check(file, &is_there).map_err(refused)?;
        let path = guest_path(word).ok_or_else(|| refused(NotRunnable::NoName))?;
        let node = tree.new_file(Content::Open(Arc::new(file), len), attributes);
        tree.insert(&path, node)?;
        Ok(Self { path })
    }

    /// The program that `word` names in a root: a path, or a name that is looked for where `directories` (as in PATH) say.
    pub fn resolve_in_root(
        word: &OsStr,
        directories: &[u8],
        tree: &Tree,
    ) -> Result<Self, ProgramError> {
        let directories: Vec<&[u8]> = directories.split(|byte| *byte == b':').collect();
        Self::in_tree(word, &directories, tree).ok_or_else(|| ProgramError::NotInRoot {
            program: word.to_string_lossy().into_owned(),
        })
    }

    fn in_tree(word: &OsStr, directories: &[&[u8]], tree: &Tree) -> Option<Self> {
        let word = word.as_bytes();
        let is_file = |path: &Vec<u8>| matches!(tree.get(path), Some(Node::File(_)));
        let path = if word.contains(&b'/') {
            Some([b"/", word].concat()).filter(is_file)
        } else {
            let mut paths = directories
                .iter()
                .map(|directory| [directory, word].join(&b'/'));
            paths.find(is_file)
        };
        path.and_then(|path| guest_path(OsStr::from_bytes(&path)))
            .map(|path| Self { path })
    }
}

/// Path of an embedded program in the guest.
pub fn in_bin(name: &str) -> Vec<u8> {
    [b"/bin/", name.as_bytes()].concat()
}

/// The embedded program, if the word is its name or its folder.
fn embedded(word: &OsStr) -> Option<&'static App> {
    let path = Path::new(word);
    let name = path.file_name()?.to_str()?;
    let bare = !word.as_bytes().contains(&b'/');
    let folder = path
        .parent()
        .is_some_and(|parent| parent.ends_with("guest-apps"))
        && !path.is_file();
    if bare || folder { app(name) } else { None }
}

fn known_names() -> String {
    crate::embedded::APPS
        .iter()
        .map(|app| app.name)
        .collect::<Vec<_>>()
        .join(", ")
}

impl HostFile {
    /// Looks at a file as execve(2) would.
    fn check(file: File, is_there: &dyn Fn(&[u8]) -> bool) -> Result<Self, NotRunnable> {
        let metadata = file.metadata().map_err(NotRunnable::Unreadable)?;
        if !metadata.is_file() {
            return Err(NotRunnable::NotAFile);
        }
        if metadata.mode() & 0o111 == 0 {
            return Err(NotRunnable::NotExecutable);
        }
        if metadata.len() > MAX_FILE {
            return Err(NotRunnable::TooLarge);
        }
        let file = Self {
            file,
            len: metadata.len(),
            attributes: Attributes {
                mode: metadata.mode() & 0o7777,
                uid: metadata.uid(),
                gid: metadata.gid(),
                mtime: metadata.mtime(),
                nanoseconds: u32::try_from(metadata.mtime_nsec()).unwrap_or(0),
            },
        };
        let start = file.read(
            0,
            SCRIPT_HEADER.min(usize::try_from(file.len).unwrap_or(SCRIPT_HEADER)),
        )?;
        if start.starts_with(b"#!") {
            check_script(&start, is_there)?
        } else {
            file.check_elf(&start, is_there)?
        }
        Ok(file)
    }

    fn check_elf(&self, start: &[u8], is_there: &dyn Fn(&[u8]) -> bool) -> Result<(), NotRunnable> {
        const EM_X86_64: u16 = 62;
        const ET_EXEC: u16 = 2;
        const ET_DYN: u16 = 3;
        if !start.starts_with(b"\x7fELF") {
            return Err(NotRunnable::NotElf);
        }
        match start.get(4) {
            Some(2) => {}
            Some(1) => return Err(NotRunnable::Not64Bit),
            Some(_) => return Err(NotRunnable::NotElf),
            None => return Err(NotRunnable::Truncated),
        }
        if start.len() < ELF_HEADER {
            return Err(NotRunnable::Truncated);
        }
        let (kind, machine) = (u16_at(start, 16), u16_at(start, 18));
        if machine != EM_X86_64 || start[5] != 1 {
            return Err(NotRunnable::OtherMachine(machine));
        }
        if kind != ET_EXEC && kind != ET_DYN {
            return Err(NotRunnable::NotAProgram(kind));
        }
        let (count, size) = (
            usize::from(u16_at(start, 56)),
            usize::from(u16_at(start, 54)),
        );
        if count == 0 {
            return Err(NotRunnable::NothingToLoad);
        }
        if size != PROGRAM_HEADER || count * size > MAX_HEADERS {
            return Err(NotRunnable::NotElf);
        }
        self.check_segments(&self.read(u64_at(start, 32), count * size)?, is_there)
    }

    fn check_segments(
        &self,
        headers: &[u8],
        is_there: &dyn Fn(&[u8]) -> bool,
    ) -> Result<(), NotRunnable> {
        const PT_LOAD: u32 = 1;
        const PT_INTERP: u32 = 3;
        let mut end = 0;
        for header in headers.chunks_exact(PROGRAM_HEADER) {
            let kind = u32::from(u16_at(header, 0)) | u32::from(u16_at(header, 2)) << 16;
            let [offset, address, _, in_file, in_memory] =
                [8, 16, 24, 32, 40].map(|at| u64_at(header, at));
            match kind {
                PT_INTERP => {
                    let name =
                        self.read(offset, usize::try_from(in_file.min(4096)).unwrap_or(4096))?;
                    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                    if !is_there(name) {
                        return Err(NotRunnable::Dynamic(
                            String::from_utf8_lossy(name).escape_debug().to_string(),
                        ));
                    }
                }
                PT_LOAD => {
                    if offset.checked_add(in_file).is_none_or(|end| end > self.len) {
                        return Err(NotRunnable::Truncated);
                    }
                    let last = address
                        .checked_add(in_memory)
                        .ok_or(NotRunnable::OutsideUserSpace(address))?;
                    if last > USER_END {
                        return Err(NotRunnable::OutsideUserSpace(address));
                    }
                    if in_memory < in_file || address < end || address % 4096 != offset % 4096 {
                        return Err(NotRunnable::BadSegment(address));
                    }
                    end = last;
                }
                _ => {}
            }
        }
        if end == 0 {
            Err(NotRunnable::NothingToLoad)
        } else {
            Ok(())
        }
    }

    fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, NotRunnable> {
        if offset
            .checked_add(len as u64)
            .is_none_or(|end| end > self.len)
        {
            return Err(NotRunnable::Truncated);
        }
        let mut bytes = vec![0; len];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(NotRunnable::Unreadable)?;
        Ok(bytes)
    }
}

/// A script needs its interpreter in the guest.
fn check_script(start: &[u8], is_there: &dyn Fn(&[u8]) -> bool) -> Result<(), NotRunnable> {
    let line = start[2..]
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let interpreter = line
        .split(|byte| *byte == b' ' || *byte == b'\t')
        .find(|word| !word.is_empty())
        .unwrap_or_default();
    if is_there(interpreter) {
        return Ok(());
    }
    let shown = String::from_utf8_lossy(interpreter);
    Err(NotRunnable::Interpreter(shown.escape_debug().to_string()))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8]
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root;
    use proptest::prelude::*;
    use std::fs::Permissions;
    use std::os::fd::FromRawFd;
    use std::os::unix::fs::PermissionsExt;

    /// A file in memory, executable unless told otherwise.
    fn file(bytes: &[u8]) -> File {
        // SAFETY: (1) the name is a C string; (2) the descriptor is new and ours.
        let file = unsafe { File::from_raw_fd(libc::memfd_create(c"program".as_ptr(), 0)) };
        file.write_all_at(bytes, 0).unwrap();
        file.set_permissions(Permissions::from_mode(0o755)).unwrap();
        file
    }

    /// What is wrong with a file of these bytes, in words.
    fn verdict(bytes: &[u8]) -> String {
        let tree = root::build(None, &[]).unwrap();
        HostFile::check(file(bytes), &|path| tree.get(path).is_some())
            .map_or_else(|reason| reason.to_string(), |_| "runnable".to_owned())
    }

    /// Type, offset, address, bytes in the file, bytes in memory of a program header.
    type Header = (u32, u64, u64, u64, u64);

    /// A static program with these segments.
    fn elf(headers: &[Header]) -> Vec<u8> {
        let mut bytes = vec![0; 0x2000];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(16, &2u16.to_le_bytes());
        put(18, &62u16.to_le_bytes());
        put(32, &64u64.to_le_bytes());
        put(54, &56u16.to_le_bytes());
        put(56, &u16::try_from(headers.len()).unwrap().to_le_bytes());
        for (number, (kind, offset, address, in_file, in_memory)) in headers.iter().enumerate() {
            let at = 64 + 56 * number;
            put(at, &kind.to_le_bytes());
            for (field, value) in [(8, offset), (16, address), (32, in_file), (40, in_memory)] {
                put(at + field, &value.to_le_bytes());
            }
        }
        bytes
    }

    const TEXT: Header = (1, 0, 0x40_0000, 0x1000, 0x1000);

    fn patched(at: usize, value: &[u8]) -> String {
        let mut bytes = elf(&[TEXT]);
        bytes[at..at + value.len()].copy_from_slice(value);
        verdict(&bytes)
    }

    #[test]
    fn a_static_program_is_runnable() {
        assert_eq!(
            verdict(&elf(&[TEXT, (1, 0x1000, 0x40_1000, 0x800, 0x9000)])),
            "runnable"
        );
        assert_eq!(patched(16, &[3, 0]), "runnable", "static-PIE");
    }

    #[test]
    fn headers_that_promise_too_much_are_named() {
        assert!(verdict(b"").contains("not an ELF"));
        assert!(verdict(b"hello, world").contains("not an ELF"));
        assert!(verdict(b"\x7fELF").contains("truncated"));
        assert!(verdict(&elf(&[TEXT])[..60]).contains("truncated"));
        assert!(verdict(&elf(&[TEXT])[..100]).contains("truncated"));
        assert!(verdict(&elf(&[TEXT])[..0x800]).contains("truncated"));
        assert!(patched(4, &[1]).contains("32-bit"));
        assert!(patched(18, &[183, 0]).contains("another machine (ELF machine 183)"));
        assert!(patched(16, &[1, 0]).contains("not a program (ELF type 1)"));
        assert!(patched(32, &u64::MAX.to_le_bytes()).contains("truncated"));
        assert!(patched(54, &[32, 0]).contains("not an ELF"));
        assert!(patched(56, &[0, 0]).contains("nothing to load"));
        assert!(patched(56, &[0xff, 0xff]).contains("not an ELF"));
    }

    #[test]
    fn segments_that_cannot_be_loaded_are_named() {
        assert!(
            verdict(&elf(&[TEXT, TEXT])).contains("malformed segment at 0x400000"),
            "overlap"
        );
        assert!(verdict(&elf(&[(1, 0, 0x40_0000, 0x1000, 0x800)])).contains("malformed"));
        assert!(verdict(&elf(&[(1, 8, 0x40_0000, 0x100, 0x100)])).contains("malformed"));
        assert!(
            verdict(&elf(&[(1, 0, 0xffff_8000_0000_0000, 0x100, 0x100)]))
                .contains("outside of user space")
        );
        assert!(
            verdict(&elf(&[(1, 0, 0x7fff_ffff_e000, 0x100, 0x2000)]))
                .contains("outside of user space")
        );
        assert!(
            verdict(&elf(&[(1, 0, 0x40_0000, 0x100, u64::MAX)])).contains("outside of user space")
        );
        assert!(verdict(&elf(&[(1, 0, 0x40_0000, u64::MAX, u64::MAX)])).contains("truncated"));
        assert!(verdict(&elf(&[(2, 0, 0, 0, 0)])).contains("nothing to load"));
    }

    #[test]
    fn a_dynamic_program_names_its_interpreter() {
        let mut bytes = elf(&[(3, 0x1000, 0, 8, 8), TEXT]);
        bytes[0x1000..0x1008].copy_from_slice(b"/lib/ld\0");
        assert_eq!(
            verdict(&bytes),
            "is dynamically linked, needs /lib/ld; link it with -static, or run it in a root that has its libraries (--root)"
        );
    }

    #[test]
    fn scripts_need_an_interpreter_of_the_guest() {
        let name = crate::embedded::APPS[0].name;
        assert_eq!(
            verdict(format!("#! /bin/{name} -x\n").as_bytes()),
            "runnable"
        );
        assert!(
            verdict(b"#!/bin/no-such-shell\n").starts_with("is a script for /bin/no-such-shell")
        );
        assert!(verdict(b"#!").starts_with("is a script for "));
    }

    #[test]
    fn files_must_be_executable_and_regular() {
        let plain = file(&elf(&[TEXT]));
        plain
            .set_permissions(Permissions::from_mode(0o644))
            .unwrap();
        assert!(matches!(
            HostFile::check(plain, &|_| false),
            Err(NotRunnable::NotExecutable)
        ));
        assert!(matches!(
            HostFile::check(File::open("/").unwrap(), &|_| false),
            Err(NotRunnable::NotAFile)
        ));
    }

    #[test]
    fn words_are_names_folders_or_files() {
        let mut tree = root::build(None, &[]).unwrap();
        let name = crate::embedded::APPS[0].name;
        for word in [
            name.to_owned(),
            format!("guest-apps/{name}"),
            format!("./guest-apps/{name}/"),
            format!("/no/guest-apps/{name}"),
        ] {
            let program = Program::resolve(OsStr::new(&word), &mut tree).unwrap();
            assert_eq!(program.path, in_bin(name), "{word}");
        }
        let mut status = |word: &str| Program::resolve(OsStr::new(word), &mut tree);
        assert!(matches!(
            status(&format!("./{name}-nosuch")),
            Err(ProgramError::NotFound { .. })
        ));
        assert!(matches!(
            status("/etc/passwd/x"),
            Err(ProgramError::NotFound { .. })
        ));
        assert!(matches!(
            status("/etc"),
            Err(ProgramError::NotRunnable { .. })
        ));
    }

    #[test]
    fn a_root_is_searched_as_a_shell_would() {
        let tree = root::build(None, &[]).unwrap();
        let name = crate::embedded::APPS[0].name;
        let find = |word: &str| {
            let found = Program::resolve_in_root(OsStr::new(word), b"/usr/bin:/bin", &tree);
            found.map(|program| program.path)
        };
        for word in [
            name.to_owned(),
            format!("bin/{name}"),
            format!("/bin/./{name}"),
        ] {
            assert_eq!(find(&word).unwrap(), in_bin(name), "{word}");
        }
        for word in ["nosuch", "/bin", "", "/"] {
            assert!(
                matches!(find(word), Err(ProgramError::NotInRoot { .. })),
                "{word}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_file_is_too_strange(patches in prop::collection::vec((0usize..300, any::<u8>()), 0..8), len in 0usize..0x2000) {
            let mut bytes = elf(&[TEXT, (3, 0x1000, 0, 8, 8)]);
            for (at, value) in patches {
                bytes[at] = value;
            }
            let _ = verdict(&bytes[..len]);
        }
    }
}
