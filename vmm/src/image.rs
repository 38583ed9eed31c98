//! The root image: what the guest sees as `/` at the start.
//!
//! In:  the embedded programs and the host's program.
//! Out: an [`Image`]: file contents in one range of host memory, which becomes a KVM memory slot
//!      above RAM (private: what a guest might write there stays its own), and the index and names that the guest kernel reads in place
//!      (see `forkvm_abi::image`).
//!
//! The host's file is mapped, not copied: the guest's text pages are the host's page cache. Only a small one is
//! copied, page by page as the mapping is private: that costs less than the faults it saves.

use crate::embedded::APPS;
use crate::memory::{LARGE_PAGE, make_resident, native};
use crate::program::{HostFile, Program, Source, in_bin};
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::image::{ImageEntry, mode};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::AsRawFd;

/// Files up to this size are copied at once.
const COPIED: usize = 2 << 20;

/// Why the image cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The program's path runs through something that is no directory.
    #[error("{0}: the guest has something else at that path; run the program under another name")]
    PathTaken(String),
    /// A name is longer than Linux allows.
    #[error("{0}: a name of more than 255 bytes cannot be in the guest")]
    NameTooLong(String),
    /// The host has no room.
    #[error("cannot map {what} into the guest: {source}")]
    Map {
        /// What was to be mapped.
        what: &'static str,
        /// What the host said.
        source: io::Error,
    },
}

/// Names and contents of the root image.
#[derive(Debug)]
pub struct Image {
    /// Entry 0 is `/`.
    pub index: Vec<ImageEntry>,
    /// Bytes of all names, one behind the other.
    pub names: Vec<u8>,
    /// Contents of the files.
    pub contents: Contents,
}

impl Image {
    /// The standard tree with the embedded programs, and the host's program at its path. Contents will stand at `base`.
    pub fn build(program: Option<&Program>, base: u64) -> Result<Self, ImageError> {
        let mut root = standard_tree();
        for app in APPS {
            root.insert(
                &in_bin(app.name),
                Node::File {
                    content: Content::Embedded(app.elf),
                    mode: 0o755,
                    mtime: 0,
                },
            )?;
        }
        if let Some(Program {
            path,
            source: Source::Host(file),
        }) = program
        {
            root.insert(
                path,
                Node::File {
                    content: Content::Host(file),
                    mode: file.mode,
                    mtime: file.mtime,
                },
            )?;
        }
        let mut layout = Layout {
            base,
            next: 0,
            pieces: Vec::new(),
        };
        let (index, names) = write_index(&root, &mut layout);
        Ok(Self {
            index,
            names,
            contents: Contents::map(&layout)?,
        })
    }
}

/// A directory's children, in name order.
#[derive(Debug, Default)]
struct Directory<'a> {
    children: BTreeMap<Vec<u8>, Node<'a>>,
    mode: u32,
}

#[derive(Debug)]
enum Node<'a> {
    Directory(Directory<'a>),
    File {
        content: Content<'a>,
        mode: u32,
        mtime: i64,
    },
    Device {
        major: u64,
        minor: u64,
    },
}

#[derive(Clone, Copy, Debug)]
enum Content<'a> {
    Embedded(&'static [u8]),
    Host(&'a HostFile),
}

impl Content<'_> {
    fn len(self) -> u64 {
        match self {
            Self::Embedded(bytes) => bytes.len() as u64,
            Self::Host(file) => file.len,
        }
    }
}

/// Directories and device nodes that programs expect (null(4), random(4), tty(4)).
fn standard_tree<'a>() -> Directory<'a> {
    let devices = [
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("random", 1, 8),
        ("urandom", 1, 9),
        ("tty", 5, 0),
        ("console", 5, 1),
    ];
    let mut dev = Directory::new(0o755);
    for (name, major, minor) in devices {
        dev.children
            .insert(name.into(), Node::Device { major, minor });
    }
    let mut root = Directory::new(0o755);
    for (name, mode) in [
        ("bin", 0o755),
        ("etc", 0o755),
        ("proc", 0o555),
        ("tmp", 0o1777),
    ] {
        root.children
            .insert(name.into(), Node::Directory(Directory::new(mode)));
    }
    root.children.insert("dev".into(), Node::Directory(dev));
    root
}

impl<'a> Directory<'a> {
    fn new(mode: u32) -> Self {
        Self {
            children: BTreeMap::new(),
            mode,
        }
    }

    /// Puts a file at an absolute path; directories on the way are made, a file there is replaced.
    fn insert(&mut self, path: &[u8], file: Node<'a>) -> Result<(), ImageError> {
        let shown = || String::from_utf8_lossy(path).into_owned();
        let mut parts: Vec<&[u8]> = path
            .split(|byte| *byte == b'/')
            .filter(|part| !part.is_empty())
            .collect();
        if parts.iter().any(|part| part.len() > 255) {
            return Err(ImageError::NameTooLong(shown()));
        }
        let name = parts.pop().ok_or_else(|| ImageError::PathTaken(shown()))?;
        let mut directory = self;
        for part in parts {
            let child = directory
                .children
                .entry(part.to_vec())
                .or_insert_with(|| Node::Directory(Directory::new(0o755)));
            let Node::Directory(below) = child else {
                return Err(ImageError::PathTaken(shown()));
            };
            directory = below;
        }
        if !matches!(directory.children.get(name), None | Some(Node::File { .. })) {
            return Err(ImageError::PathTaken(shown()));
        }
        directory.children.insert(name.to_vec(), file);
        Ok(())
    }

    fn subdirectories(&self) -> usize {
        self.children
            .values()
            .filter(|child| matches!(child, Node::Directory(_)))
            .count()
    }
}

/// Gives each file its pages.
#[derive(Debug)]
struct Layout<'a> {
    base: u64,
    next: u64,
    pieces: Vec<(u64, Content<'a>)>,
}

impl<'a> Layout<'a> {
    /// GPA of the content's first page.
    fn place(&mut self, content: Content<'a>) -> u64 {
        let offset = self.next;
        self.pieces.push((offset, content));
        self.next += content.len().next_multiple_of(PAGE_SIZE);
        self.base + offset
    }
}

/// Writes the entries level by level, so that the children of a directory stand side by side.
#[expect(
    clippy::cast_possible_truncation,
    reason = "entries and names of one program and the embedded ones, far below 4 Gi"
)]
fn write_index<'a>(root: &Directory<'a>, layout: &mut Layout<'a>) -> (Vec<ImageEntry>, Vec<u8>) {
    let mut names = Vec::new();
    let mut index = vec![ImageEntry {
        mode: mode::S_IFDIR | root.mode,
        nlink: 2 + root.subdirectories() as u32,
        ..ImageEntry::default()
    }];
    let mut directories = VecDeque::from([(0, root)]);
    while let Some((number, directory)) = directories.pop_front() {
        index[number].data = index.len() as u64;
        index[number].size = directory.children.len() as u64;
        for (name, node) in &directory.children {
            let mut entry = ImageEntry {
                parent: number as u32,
                name_start: names.len() as u32,
                name_len: name.len() as u32,
                nlink: 1,
                ..Default::default()
            };
            names.extend_from_slice(name);
            match node {
                Node::Directory(below) => {
                    entry.mode = mode::S_IFDIR | below.mode;
                    entry.nlink = 2 + below.subdirectories() as u32;
                    directories.push_back((index.len(), below));
                }
                Node::File {
                    content,
                    mode: permissions,
                    mtime,
                } => {
                    (entry.mode, entry.mtime) = (mode::S_IFREG | permissions, *mtime);
                    (entry.data, entry.size) = (layout.place(*content), content.len());
                }
                Node::Device { major, minor } => {
                    entry.mode = mode::S_IFCHR | 0o666;
                    entry.data = major << 8 | minor;
                }
            }
            index.push(entry);
        }
    }
    (index, names)
}

/// The files' pages in host memory.
#[derive(Debug)]
pub struct Contents {
    address: *mut u8,
    len: usize,
}

impl Contents {
    /// Host address, for KVM's memory slot.
    pub fn address(&self) -> *mut u8 {
        self.address
    }

    /// Bytes, a multiple of [`LARGE_PAGE`].
    pub fn len(&self) -> u64 {
        self.len as u64
    }

    /// Never: even an empty image has one large page.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reserves a range of zeros, copies the embedded files into it and maps the host's files over it.
    fn map(layout: &Layout<'_>) -> Result<Self, ImageError> {
        let len = native(layout.next.next_multiple_of(LARGE_PAGE).max(LARGE_PAGE));
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: (1) a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(ImageError::Map {
                what: "the root image",
                source: io::Error::last_os_error(),
            });
        }
        let contents = Self {
            address: address.cast(),
            len,
        };
        for (offset, content) in &layout.pieces {
            match content {
                Content::Embedded(bytes) => contents.copy(native(*offset), bytes),
                Content::Host(file) => contents.map_file(native(*offset), file)?,
            }
        }
        Ok(contents)
    }

    fn copy(&self, offset: usize, bytes: &[u8]) {
        assert!(
            offset + bytes.len() <= self.len,
            "the layout counted every piece"
        );
        // SAFETY: (1) the assertion keeps the range inside the mapping; (2) the mapping is new, so nobody else refers to it.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.address.add(offset), bytes.len())
        };
    }

    fn map_file(&self, offset: usize, file: &HostFile) -> Result<(), ImageError> {
        let len = native(file.len);
        if len == 0 {
            return Ok(());
        }
        assert!(offset + len <= self.len, "the layout counted every piece");
        // SAFETY: (1) the assertion keeps the replaced range inside our own mapping; (2) the VMM never
        // dereferences it, so a file that shrinks meanwhile cannot fault here (KVM_RUN reports it).
        let mapped = unsafe {
            let target = self.address.add(offset).cast();
            libc::mmap(
                target,
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_FIXED,
                file.file.as_raw_fd(),
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            return Err(ImageError::Map {
                what: "the program",
                source: io::Error::last_os_error(),
            });
        }
        if len <= COPIED {
            // SAFETY: (1) the range has just been mapped, privately.
            unsafe { make_resident(mapped.cast(), len) };
        }
        Ok(())
    }
}

impl Drop for Contents {
    fn drop(&mut self) {
        // SAFETY: (1) the range is ours; (2) the VM that used it is dropped first (see `Vm`).
        unsafe { libc::munmap(self.address.cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    const BASE: u64 = 0x1_0000_0000;

    fn host_program(path: &str, bytes: &[u8]) -> Program {
        // SAFETY: (1) the name is a C string; (2) the descriptor is new and ours.
        let file = unsafe {
            std::os::fd::FromRawFd::from_raw_fd(libc::memfd_create(c"program".as_ptr(), 0))
        };
        let file: std::fs::File = file;
        file.write_all_at(bytes, 0).unwrap();
        Program {
            path: path.into(),
            source: Source::Host(HostFile {
                file,
                len: bytes.len() as u64,
                mode: 0o751,
                mtime: 42,
            }),
        }
    }

    /// Looks a path up as the guest kernel does: by binary search among a directory's children.
    fn look_up(image: &Image, path: &str) -> Option<ImageEntry> {
        let mut entry = image.index[0];
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let children = &image.index[native(entry.data)..][..native(entry.size)];
            let name = |entry: &ImageEntry| {
                &image.names[entry.name_start as usize..][..entry.name_len as usize]
            };
            entry = children[children
                .binary_search_by(|child| name(child).cmp(part.as_bytes()))
                .ok()?];
        }
        Some(entry)
    }

    fn bytes(image: &Image, entry: ImageEntry) -> Vec<u8> {
        let offset = native(entry.data - BASE);
        let padded = native(entry.size.next_multiple_of(PAGE_SIZE));
        assert!(offset.is_multiple_of(native(PAGE_SIZE)) && offset + padded <= image.contents.len);
        // SAFETY: (1) the assertion keeps the range inside the mapping, which nobody writes.
        unsafe { std::slice::from_raw_parts(image.contents.address.add(offset), padded) }.to_vec()
    }

    #[test]
    fn embedded_programs_are_in_bin() {
        let image = Image::build(None, BASE).unwrap();
        for app in APPS {
            let entry = look_up(&image, &format!("/bin/{}", app.name)).unwrap();
            assert_eq!(
                (entry.mode, entry.size, entry.nlink),
                (mode::S_IFREG | 0o755, app.elf.len() as u64, 1)
            );
            let content = bytes(&image, entry);
            assert_eq!(&content[..app.elf.len()], app.elf);
            assert!(content[app.elf.len()..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn directories_and_devices_are_as_linux_has_them() {
        let image = Image::build(None, BASE).unwrap();
        let root = image.index[0];
        assert_eq!(
            (root.mode, root.parent, root.name_len, root.nlink),
            (mode::S_IFDIR | 0o755, 0, 0, 7)
        );
        assert_eq!(
            look_up(&image, "/tmp").unwrap().mode,
            mode::S_IFDIR | 0o1777
        );
        let null = look_up(&image, "/dev/null").unwrap();
        assert_eq!((null.mode, null.data), (mode::S_IFCHR | 0o666, 0x103));
        assert_eq!(look_up(&image, "/dev/console").unwrap().data, 0x501);
        assert!(look_up(&image, "/nosuch").is_none());
    }

    #[test]
    fn the_hosts_program_is_mapped_at_its_path() {
        let text = vec![7; 5000];
        let image = Image::build(Some(&host_program("/home/me/a.out", &text)), BASE).unwrap();
        let entry = look_up(&image, "/home/me/a.out").unwrap();
        assert_eq!(
            (entry.mode, entry.size, entry.mtime),
            (mode::S_IFREG | 0o751, 5000, 42)
        );
        let content = bytes(&image, entry);
        assert_eq!(content.len(), 8192);
        assert_eq!(
            (&content[..5000], &content[5000..]),
            (&text[..], &[0; 3192][..])
        );
        let home = look_up(&image, "/home").unwrap();
        assert_eq!((home.mode, home.nlink), (mode::S_IFDIR | 0o755, 3));
        assert_eq!(
            image.index[look_up(&image, "/home/me").unwrap().parent as usize],
            home
        );
    }

    #[test]
    fn the_hosts_program_may_replace_a_file_but_nothing_else() {
        let build = |path: &str| Image::build(Some(&host_program(path, b"x")), BASE);
        let name = format!("/bin/{}", APPS[0].name);
        assert_eq!(look_up(&build(&name).unwrap(), &name).unwrap().size, 1);
        for taken in ["/bin", "/dev/null", "/dev/null/x", &format!("{name}/x")] {
            assert!(
                matches!(build(taken), Err(ImageError::PathTaken(_))),
                "{taken}"
            );
        }
        assert!(matches!(
            build(&"n".repeat(256)),
            Err(ImageError::NameTooLong(_))
        ));
        assert!(build(&"n".repeat(255)).is_ok());
    }

    #[test]
    fn an_empty_file_needs_no_page() {
        let image = Image::build(Some(&host_program("/empty", b"")), BASE).unwrap();
        assert_eq!(look_up(&image, "/empty").unwrap().size, 0);
    }
}
