//! A file system over an image in a buffer, as the VMM would lay it out, and what its tests share.

mod console;
mod descriptor;
mod directory;
mod file;
mod path;
mod pipe;
mod tree;

use super::io::{Sink, Source};
use super::{FileSystem, Inode, OpenFile};
use crate::arena::Id;
use crate::errno::Errno;
use crate::fs::inode::make_device;
use crate::fs::path::{LastLink, Viewpoint};
use crate::fs::proc::Processes;
use crate::fs::tree::Owner;
use crate::memory::phys::PhysWindow;
use crate::memory::{Frame, Frames, PhysAddr};
use alloc::vec::Vec;
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::boot::{BootInfo, Span};
use forkvm_abi::image::{ImageEntry, mode};
use zerocopy::{FromZeros, IntoBytes};

/// A node of the test image.
#[derive(Clone, Copy)]
pub(crate) enum Node {
    Directory,
    File(&'static [u8]),
    Link(&'static str),
    Device(u64),
}

/// What most tests look at. Parents come before their children.
pub(crate) const TREE: &[(&str, Node)] = &[
    ("/bin", Node::Directory),
    ("/bin/hello", Node::File(b"hello, world\n")),
    ("/bin/sh", Node::Link("hello")),
    ("/dev", Node::Directory),
    ("/dev/null", Node::Device(make_device(1, 3))),
    ("/dev/zero", Node::Device(make_device(1, 5))),
    ("/dev/full", Node::Device(make_device(1, 7))),
    ("/dev/urandom", Node::Device(make_device(1, 9))),
    ("/dev/tty", Node::Device(make_device(5, 0))),
    ("/dev/nobody", Node::Device(make_device(99, 1))),
    ("/etc", Node::Directory),
    ("/etc/deep", Node::Directory),
    ("/etc/deep/file", Node::File(b"deep")),
    ("/etc/link", Node::Link("/etc/deep/")),
    ("/etc/up", Node::Link("../bin")),
    ("/etc/loop", Node::Link("loop")),
    ("/etc/dangling", Node::Link("nowhere")),
    ("/etc/root", Node::Link("/")),
    ("/proc", Node::Directory),
    ("/tmp", Node::Directory),
];

/// Bytes of RAM in the tests.
const RAM: u64 = 4 << 20;
/// Where the fixture puts the index, the names and the contents.
const INDEX: u64 = 0x10_0000;
const NAMES: u64 = 0x12_0000;
const CONTENTS: u64 = 0x14_0000;
const FREE: u64 = 0x20_0000;

/// Boot information and RAM with the tree laid out.
pub(crate) fn boot(tree: &[(&str, Node)]) -> (BootInfo, PhysWindow) {
    let mut window = PhysWindow::hosted(usize::try_from(RAM).expect("fits"));
    let mut builder = Builder {
        entries: Vec::new(),
        names: Vec::new(),
        contents: Vec::new(),
    };
    builder.entries.push(ImageEntry {
        mode: mode::S_IFDIR | 0o755,
        nlink: 2,
        ..ImageEntry::default()
    });
    builder.add_children(tree, 0, "");
    let Builder {
        entries,
        names,
        contents,
    } = builder;
    store(&mut window, INDEX, entries.as_slice().as_bytes());
    store(&mut window, NAMES, &names);
    store(&mut window, CONTENTS, &contents);
    let mut boot = BootInfo::new_zeroed();
    boot.low_ram = Span { start: 0, len: RAM };
    boot.free_start = FREE;
    boot.image_index = Span {
        start: INDEX,
        len: entries.as_slice().as_bytes().len() as u64,
    };
    boot.image_names = Span {
        start: NAMES,
        len: names.len() as u64,
    };
    boot.image = Span {
        start: CONTENTS,
        len: contents.len() as u64,
    };
    boot.tsc_khz = 1_000_000;
    (boot, window)
}

struct Builder {
    entries: Vec<ImageEntry>,
    names: Vec<u8>,
    contents: Vec<u8>,
}

impl Builder {
    fn add_children(&mut self, tree: &[(&str, Node)], directory: u32, prefix: &str) {
        let mut children: Vec<_> = tree
            .iter()
            .filter_map(|(path, node)| {
                let name = path.strip_prefix(prefix)?.strip_prefix('/')?;
                (!name.is_empty() && !name.contains('/')).then_some((name, *path, *node))
            })
            .collect();
        children.sort_by_key(|(name, _, _)| name.as_bytes());
        let first = u32::try_from(self.entries.len()).expect("a small tree");
        for (name, _, node) in &children {
            let entry = self.entry(name, directory, *node);
            self.entries.push(entry);
        }
        let parent = &mut self.entries[directory as usize];
        (parent.data, parent.size) = (u64::from(first), children.len() as u64);
        let below = children
            .iter()
            .filter(|(_, _, node)| matches!(node, Node::Directory));
        parent.nlink = 2 + u32::try_from(below.count()).expect("a small tree");
        for (number, (_, path, node)) in (first..).zip(&children) {
            if matches!(node, Node::Directory) {
                self.add_children(tree, number, path);
            }
        }
    }

    fn entry(&mut self, name: &str, parent: u32, node: Node) -> ImageEntry {
        let name_start = self.name(name);
        let name_len = u32::try_from(name.len()).expect("a short name");
        let (mode, data, size) = match node {
            Node::Directory => (mode::S_IFDIR | 0o755, 0, 0),
            Node::File(bytes) => {
                let start = self.contents.len();
                self.contents.extend_from_slice(bytes);
                self.contents
                    .resize(self.contents.len().next_multiple_of(4096), 0);
                (mode::S_IFREG | 0o755, CONTENTS + start as u64, bytes.len())
            }
            Node::Link(target) => (
                mode::S_IFLNK | 0o777,
                u64::from(self.name(target)),
                target.len(),
            ),
            Node::Device(rdev) => (mode::S_IFCHR | 0o666, rdev, 0),
        };
        ImageEntry {
            mode,
            parent,
            name_start,
            name_len,
            data,
            size: size as u64,
            mtime: 1,
            nlink: 1,
            ..ImageEntry::default()
        }
    }

    fn name(&mut self, name: &str) -> u32 {
        let start = u32::try_from(self.names.len()).expect("few names");
        self.names.extend_from_slice(name.as_bytes());
        start
    }
}

pub(crate) fn store(window: &mut PhysWindow, at: u64, bytes: &[u8]) {
    for (page, chunk) in (0u64..).zip(bytes.chunks(4096)) {
        window.page_mut(Frame::containing(PhysAddr(at + page * PAGE_SIZE)))[..chunk.len()]
            .copy_from_slice(chunk);
    }
}

/// A file system over the usual tree, and frames for it.
fn file_system() -> (FileSystem, Frames) {
    file_system_with_flags(0)
}

/// The same with some streams being terminals.
fn file_system_with_flags(flags: u64) -> (FileSystem, Frames) {
    let (mut boot, window) = boot(TREE);
    boot.flags = flags;
    (FileSystem::new(&boot, window), Frames::new(window, &boot))
}

/// Two processes: 7 runs /bin/hello and looks; 9 has no program.
#[derive(Debug)]
struct TwoProcesses(Inode);

impl Processes for TwoProcesses {
    fn current(&self) -> u32 {
        7
    }

    fn program(&self, pid: u32) -> Option<Option<Inode>> {
        match pid {
            7 => Some(Some(self.0)),
            9 => Some(None),
            _ => None,
        }
    }

    fn next_after(&self, pid: u32) -> Option<u32> {
        [7, 9].into_iter().find(|candidate| *candidate > pid)
    }
}

/// Opens a path from the root.
fn open(fs: &mut FileSystem, path: &str, flags: u32) -> Result<Id<OpenFile>, Errno> {
    let processes = TwoProcesses(Inode::ROOT);
    fs.open(
        &Viewpoint {
            start: Inode::ROOT,
            root: Inode::ROOT,
            last_link: LastLink::Follow,
            processes: &processes,
        },
        path.as_bytes(),
        flags,
        0o644,
        Owner::default(),
    )
}

/// A buffer of the test's as a program's: `limit` bytes of it can be accessed, the rest faults.
struct TestBuffer<'a> {
    bytes: Vec<u8>,
    room: usize,
    limit: usize,
    frames: &'a mut Frames,
}

impl<'a> TestBuffer<'a> {
    fn to_fill(room: usize, frames: &'a mut Frames) -> Self {
        Self {
            bytes: Vec::new(),
            room,
            limit: room,
            frames,
        }
    }

    fn to_empty(bytes: &[u8], frames: &'a mut Frames) -> Self {
        Self {
            bytes: bytes.to_vec(),
            room: 0,
            limit: bytes.len(),
            frames,
        }
    }
}

impl Sink for TestBuffer<'_> {
    fn room(&self) -> usize {
        self.room
    }

    fn put(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.limit);
        self.bytes.extend_from_slice(&bytes[..count]);
        self.room -= count;
        self.limit -= count;
        count
    }

    fn frames(&mut self) -> &mut Frames {
        self.frames
    }
}

impl Source for TestBuffer<'_> {
    fn left(&self) -> usize {
        self.bytes.len()
    }

    fn take(&mut self, into: &mut [u8]) -> usize {
        let count = into.len().min(self.limit);
        into[..count].copy_from_slice(&self.bytes[..count]);
        self.skip(count);
        count
    }

    fn skip(&mut self, count: usize) {
        self.bytes.drain(..count);
        self.limit -= count;
    }

    fn frames(&mut self) -> &mut Frames {
        self.frames
    }
}
