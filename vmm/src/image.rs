//! The root image: the tree that the guest sees as `/`, laid out for it.
//!
//! In:  a [`Tree`].
//! Out: an [`Image`]: file contents in one range of host memory, which becomes a KVM memory slot
//!      above RAM (private: what a guest might write there stays its own), and the index and names that the guest kernel reads in place
//!      (see `forkvm_abi::image`).
//!
//! Files of the host are mapped, not copied: the guest's text pages are the host's page cache, and a start costs the
//! same however large the files are. Only a small program is copied, page by page as the mapping is private: that
//! costs less than the faults it saves. An archive is mapped once, and its files lie in it where they lie.

use crate::memory::{LARGE_PAGE, make_resident, native};
use crate::root::{Content, Directory, FileNode, Node, Tree};
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::image::{ImageEntry, mode};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Programs up to this size are copied at once.
const COPIED: usize = 2 << 20;
/// Mappings at most; Linux allows a process 65530 (vm.max_map_count). Files beyond are copied.
const MAX_MAPPINGS: usize = 60_000;
/// Contents of all files at most: the kernel's direct map holds 512 GiB, RAM included.
const MAX_CONTENTS: u64 = 400 << 30;

/// Why the image cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The host has no room.
    #[error("cannot map {what} into the guest: {source}")]
    Map {
        /// What was to be mapped.
        what: String,
        /// What the host said.
        source: io::Error,
    },
    /// The guest-physical space has no room.
    #[error("the root has more than {} GiB of files, the most that fits into a guest", MAX_CONTENTS >> 30)]
    TooLarge,
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
    /// Lays a tree out; the contents will stand at `base`.
    pub fn build(tree: &Tree, base: u64) -> Result<Self, ImageError> {
        let mut layout = Layout {
            base,
            next: 0,
            pieces: Vec::new(),
            archives: HashMap::new(),
        };
        let (index, names) = Index::write(&tree.root, &mut layout);
        if layout.next > MAX_CONTENTS {
            return Err(ImageError::TooLarge);
        }
        Ok(Self {
            index,
            names,
            contents: Contents::map(&layout)?,
        })
    }
}

/// Gives each file its place among the contents.
#[derive(Debug)]
struct Layout<'a> {
    base: u64,
    next: u64,
    pieces: Vec<(u64, Piece<'a>)>,
    /// Where the archives are, by the address of their `Arc`.
    archives: HashMap<*const File, u64>,
}

/// What is mapped or copied in one go.
#[derive(Debug)]
enum Piece<'a> {
    Bytes(&'a [u8]),
    /// An open file, and whether the guest will need all of it.
    File(&'a File, u64, bool),
    Path(&'a Path, u64),
}

impl<'a> Layout<'a> {
    /// GPA of the content's first byte.
    fn place(&mut self, content: &'a Content) -> u64 {
        let len = content.size();
        match content {
            Content::Embedded(bytes) => self.add(Piece::Bytes(bytes), len),
            Content::Bytes(bytes) => self.add(Piece::Bytes(bytes), len),
            Content::Open(file, _) => self.add(Piece::File(file, len, true), len),
            Content::Path(path, _) => self.add(Piece::Path(path, len), len),
            Content::Part(archive, offset, _) => {
                let start = match self.archives.get(&Arc::as_ptr(archive)) {
                    Some(start) => *start,
                    None => {
                        let len = archive.metadata().map_or(0, |metadata| metadata.len());
                        let start = self.add(Piece::File(archive, len, false), len);
                        self.archives.insert(Arc::as_ptr(archive), start);
                        start
                    }
                };
                start + offset
            }
        }
    }

    fn add(&mut self, piece: Piece<'a>, len: u64) -> u64 {
        let offset = self.next;
        self.pieces.push((offset, piece));
        self.next = self
            .next
            .saturating_add(len.checked_next_multiple_of(PAGE_SIZE).unwrap_or(u64::MAX));
        self.base.saturating_add(offset)
    }
}

/// The index while it is written, level by level, so that the children of a directory stand side by side.
#[derive(Debug, Default)]
struct Index<'a> {
    entries: Vec<ImageEntry>,
    names: Vec<u8>,
    directories: VecDeque<(usize, &'a Directory)>,
    /// Entries of each regular file, by its number: the first stands for the file.
    files: HashMap<u32, Vec<usize>>,
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a tree has at most MAX_FILES entries, with names of at most 255 bytes and link targets of at most 4096"
)]
impl<'a> Index<'a> {
    fn write(root: &'a Directory, layout: &mut Layout<'a>) -> (Vec<ImageEntry>, Vec<u8>) {
        let mut index = Self::default();
        let mut entry = index.directory(0, root);
        (entry.name_start, entry.name_len) = (0, 0);
        index.entries.push(entry);
        while let Some((number, directory)) = index.directories.pop_front() {
            index.entries[number].data = index.entries.len() as u64;
            index.entries[number].size = directory.children.len() as u64;
            for (name, node) in &directory.children {
                let mut entry = index.entry(node, layout);
                entry.parent = number as u32;
                (entry.name_start, entry.name_len) = (index.name(name), name.len() as u32);
                index.entries.push(entry);
            }
        }
        index.count_links();
        (index.entries, index.names)
    }

    /// The entry of a node that will be the next one.
    fn entry(&mut self, node: &'a Node, layout: &mut Layout<'a>) -> ImageEntry {
        let number = self.entries.len();
        let attributes = node.attributes();
        let mut entry = match node {
            Node::Directory(below) => self.directory(number, below),
            Node::File(file) => self.file(number, file, layout),
            Node::Link(target, _) => ImageEntry {
                data: self.name(target).into(),
                size: target.len() as u64,
                ..ImageEntry::default()
            },
            Node::Special(_, rdev, _) => ImageEntry {
                data: *rdev,
                ..ImageEntry::default()
            },
        };
        entry.mode = node.mode();
        entry.nlink = entry.nlink.max(1);
        (entry.uid, entry.gid) = (attributes.uid, attributes.gid);
        (entry.mtime, entry.mtime_nanoseconds) = (attributes.mtime, attributes.nanoseconds);
        entry
    }

    fn directory(&mut self, number: usize, directory: &'a Directory) -> ImageEntry {
        self.directories.push_back((number, directory));
        let attributes = directory.attributes;
        ImageEntry {
            mode: mode::S_IFDIR | attributes.mode,
            nlink: 2 + directory.subdirectories() as u32,
            uid: attributes.uid,
            gid: attributes.gid,
            mtime: attributes.mtime,
            mtime_nanoseconds: attributes.nanoseconds,
            ..ImageEntry::default()
        }
    }

    /// The contents are placed once, however many links there are.
    fn file(&mut self, number: usize, file: &'a FileNode, layout: &mut Layout<'a>) -> ImageEntry {
        let links = self.files.entry(file.number).or_default();
        links.push(number);
        match links[0] {
            first if first != number => ImageEntry {
                same_as: first as u32,
                ..self.entries[first]
            },
            _ => ImageEntry {
                data: layout.place(&file.content),
                size: file.content.size(),
                ..ImageEntry::default()
            },
        }
    }

    fn count_links(&mut self) {
        for links in self.files.values().filter(|links| links.len() > 1) {
            for number in links {
                self.entries[*number].nlink = links.len() as u32;
            }
        }
    }

    /// Where a name stands among the names.
    fn name(&mut self, name: &[u8]) -> u32 {
        let start = self.names.len() as u32;
        self.names.extend_from_slice(name);
        start
    }
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
                what: "the root image".into(),
                source: io::Error::last_os_error(),
            });
        }
        let contents = Self {
            address: address.cast(),
            len,
        };
        let mut mappings = 0;
        for (offset, piece) in &layout.pieces {
            let offset = native(*offset);
            match piece {
                Piece::Bytes(bytes) => contents.copy(offset, bytes),
                Piece::File(file, len, all) => {
                    contents
                        .map_file(offset, file, native(*len))
                        .map_err(|source| ImageError::Map {
                            what: "the program".into(),
                            source,
                        })?;
                    if *all && native(*len) <= COPIED {
                        // SAFETY: (1) the range has just been mapped, privately.
                        unsafe { make_resident(contents.address.add(offset), native(*len)) };
                    }
                }
                Piece::Path(path, len) => {
                    if let Err(error) = contents.fetch(offset, path, native(*len), &mut mappings) {
                        log::warn!("{}: {error}; only zeros in the guest", path.display());
                    }
                }
            }
        }
        Ok(contents)
    }

    /// Maps a file by its name; one of a page or less is read, which saves the mapping.
    fn fetch(
        &self,
        offset: usize,
        path: &Path,
        len: usize,
        mappings: &mut usize,
    ) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        let file = File::open(path)?;
        if file.metadata()?.len() < len as u64 {
            return Err(io::Error::other("became shorter since it was found"));
        }
        if len > native(PAGE_SIZE) && *mappings < MAX_MAPPINGS {
            *mappings += 1;
            return self.map_file(offset, &file, len);
        }
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, 0)?;
        self.copy(offset, &bytes);
        Ok(())
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

    fn map_file(&self, offset: usize, file: &File, len: usize) -> io::Result<()> {
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
                file.as_raw_fd(),
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
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
    use crate::embedded::APPS;
    use crate::root::{self, Attributes, RootError};

    const BASE: u64 = 0x1_0000_0000;

    /// The standard tree with a file of the host at a path.
    fn tree_with(path: &str, bytes: &[u8]) -> Result<Tree, RootError> {
        // SAFETY: (1) the name is a C string; (2) the descriptor is new and ours.
        let file = unsafe {
            std::os::fd::FromRawFd::from_raw_fd(libc::memfd_create(c"program".as_ptr(), 0))
        };
        let file: File = file;
        file.write_all_at(bytes, 0).unwrap();
        let mut tree = root::build(None, &[]).unwrap();
        let attributes = Attributes {
            mtime: 42,
            uid: 7,
            ..Attributes::of_mode(0o751)
        };
        let node = tree.new_file(
            Content::Open(Arc::new(file), bytes.len() as u64),
            attributes,
        );
        tree.insert(path.as_bytes(), node)?;
        Ok(tree)
    }

    fn standard() -> Image {
        Image::build(&root::build(None, &[]).unwrap(), BASE).unwrap()
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
        let image = standard();
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
        let image = standard();
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
        let image = Image::build(&tree_with("/home/me/a.out", &text).unwrap(), BASE).unwrap();
        let entry = look_up(&image, "/home/me/a.out").unwrap();
        assert_eq!(
            (entry.mode, entry.size, entry.mtime, entry.uid),
            (mode::S_IFREG | 0o751, 5000, 42, 7)
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
        let build = |path: &str| tree_with(path, b"x");
        let name = format!("/bin/{}", APPS[0].name);
        let image = Image::build(&build(&name).unwrap(), BASE).unwrap();
        assert_eq!(look_up(&image, &name).unwrap().size, 1);
        for taken in ["/bin", "/dev/null", "/dev/null/x", &format!("{name}/x")] {
            assert!(
                matches!(build(taken), Err(RootError::PathTaken(_))),
                "{taken}"
            );
        }
        assert!(matches!(
            build(&"n".repeat(256)),
            Err(RootError::NameTooLong(_))
        ));
        assert!(build(&"n".repeat(255)).is_ok());
    }

    #[test]
    fn an_empty_file_needs_no_page() {
        let image = Image::build(&tree_with("/empty", b"").unwrap(), BASE).unwrap();
        assert_eq!(look_up(&image, "/empty").unwrap().size, 0);
    }

    #[test]
    fn hard_links_are_one_file() {
        let mut tree = tree_with("/b", b"text").unwrap();
        let Some(Node::File(file)) = tree.entry(b"/b") else {
            panic!("it is a file")
        };
        let other = Node::File(file.clone());
        tree.insert(b"/a", other).unwrap();
        let image = Image::build(&tree, BASE).unwrap();
        let (a, b) = (
            look_up(&image, "/a").unwrap(),
            look_up(&image, "/b").unwrap(),
        );
        assert_eq!((a.data, a.nlink, b.data, b.nlink), (b.data, 2, a.data, 2));
        assert_eq!(
            image.index[b.same_as as usize], a,
            "the first stands for both"
        );
        assert_eq!(a.same_as, 0);
    }

    #[test]
    fn files_in_an_archive_stay_where_they_lie() {
        let mut tree = tree_with("/whole", &[b'x'; 9000]).unwrap();
        let Some(Node::File(FileNode {
            content: Content::Open(archive, _),
            ..
        })) = tree.entry(b"/whole")
        else {
            panic!("it is a file")
        };
        let archive = Arc::clone(archive);
        for (name, offset) in [(&b"/one"[..], 512), (b"/two", 5000)] {
            let content = Content::Part(Arc::clone(&archive), offset, 10);
            let node = tree.new_file(content, Attributes::default());
            tree.insert(name, node).unwrap();
        }
        let image = Image::build(&tree, BASE).unwrap();
        let (one, two) = (
            look_up(&image, "/one").unwrap(),
            look_up(&image, "/two").unwrap(),
        );
        assert_eq!(two.data - one.data, 4488);
        assert_eq!(one.data % PAGE_SIZE, 512);
    }
}
