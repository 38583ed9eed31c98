//! The writable layer: copy-up, whiteouts, holes, and a random walk against a simple model.

use super::*;
use crate::fs::tree::{NewFile, Place};
use crate::kernel::Random;
use alloc::collections::BTreeMap;
use alloc::string::String;
use linux_raw_sys::general::{
    O_APPEND, O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_TMPFILE, O_WRONLY, RENAME_EXCHANGE,
    RENAME_NOREPLACE,
};
use proptest::prelude::*;

fn write(
    fs: &mut FileSystem,
    frames: &mut Frames,
    path: &str,
    flags: u32,
    at: Option<u64>,
    bytes: &[u8],
) {
    let file = open(fs, path, flags | O_WRONLY).expect("it can be opened");
    let mut source = TestBuffer::to_empty(bytes, frames);
    assert_eq!(fs.write(file, at, &mut source), Ok(bytes.len()));
    fs.close_file(file);
}

fn contents(fs: &mut FileSystem, frames: &mut Frames, path: &str) -> Result<Vec<u8>, Errno> {
    let file = open(fs, path, O_RDONLY)?;
    let mut sink = TestBuffer::to_fill(1 << 20, frames);
    fs.read(file, None, &mut sink, &mut Random::new([1; 4]))?;
    let bytes = sink.bytes;
    fs.close_file(file);
    Ok(bytes)
}

fn place(fs: &FileSystem, path: &str) -> Result<Place, Errno> {
    let processes = TwoProcesses(Inode::ROOT);
    let view = Viewpoint {
        start: Inode::ROOT,
        root: Inode::ROOT,
        last_link: LastLink::Keep,
        processes: &processes,
    };
    Place::of(&fs.walk(&view, path.as_bytes())?).ok_or(Errno::EBUSY)
}

fn make(fs: &mut FileSystem, path: &str, mode: u32) -> Result<Inode, Errno> {
    let place = place(fs, path)?;
    if place.inode.is_some() {
        return Err(Errno::EEXIST);
    }
    let new = NewFile {
        mode,
        owner: Owner::default(),
        rdev: 0,
        target: b"target",
    };
    fs.make(place.directory, &place.name, &new)
}

fn unlink(fs: &mut FileSystem, path: &str) -> Result<(), Errno> {
    let place = place(fs, path)?;
    fs.unlink(&place)
}

fn rename(fs: &mut FileSystem, old: &str, new: &str, flags: u32) -> Result<(), Errno> {
    let (old, new) = (place(fs, old)?, place(fs, new)?);
    fs.rename(&old, &new, flags)
}

#[test]
fn a_written_image_file_keeps_its_number_and_its_other_pages() {
    let bytes: &'static [u8] = alloc::vec![7u8; 10_000].leak();
    let (boot, window) = boot(&[("/file", Node::File(bytes))]);
    let (mut fs, mut frames) = (FileSystem::new(&boot, window), Frames::new(window, &boot));
    let before = fs.metadata(fs.resolve(Inode::ROOT, b"/file", true).expect("it exists"));
    let reader = open(&mut fs, "/file", O_RDONLY).expect("it exists");
    write(&mut fs, &mut frames, "/file", 0, Some(5000), b"new");
    let after = fs.metadata(fs.resolve(Inode::ROOT, b"/file", true).expect("it exists"));
    assert_eq!((before.number, before.size), (after.number, after.size));
    // Who had it open before sees the change as well.
    let mut sink = TestBuffer::to_fill(10_001, &mut frames);
    fs.read(reader, None, &mut sink, &mut Random::new([1; 4]))
        .expect("readable");
    let read = sink.bytes;
    assert_eq!(
        (read.len(), &read[4999..5004]),
        (10_000, &b"\x07new\x07"[..])
    );
    assert_eq!(frames.counters.frames_used, 2, "one page and one index");
    // A file that is open outlives its name.
    unlink(&mut fs, "/file").expect("it exists");
    assert_eq!(open(&mut fs, "/file", O_RDONLY).err(), Some(Errno::ENOENT));
    assert_eq!(fs.metadata(fs.files[reader].inode).links, 0);
    assert_eq!(fs.path_of(fs.files[reader].inode), b"/file (deleted)");
    fs.close_file(reader);
    fs.give_back_frames(&mut frames);
    assert_eq!(frames.counters.frames_used, 0);
}

#[test]
fn what_is_cut_off_reads_as_zeros_later() {
    let (mut fs, mut frames) = file_system();
    let file = fs
        .resolve(Inode::ROOT, b"/bin/hello", true)
        .expect("it exists");
    fs.set_size(&mut frames, file, 5).expect("there is room");
    fs.set_size(&mut frames, file, 9000).expect("there is room");
    let read = contents(&mut fs, &mut frames, "/bin/hello").expect("it exists");
    assert_eq!((read.len(), &read[..8]), (9000, &b"hello\0\0\0"[..]));
    write(&mut fs, &mut frames, "/bin/hello", 0, Some(6), b"x");
    let read = contents(&mut fs, &mut frames, "/bin/hello").expect("it exists");
    assert_eq!(&read[..9], b"hello\0x\0\0");
    assert!(read[9..].iter().all(|byte| *byte == 0));
}

#[test]
fn removed_image_names_stay_hidden_and_can_be_used_again() {
    let (mut fs, mut frames) = file_system();
    unlink(&mut fs, "/etc/deep/file").expect("it exists");
    let deep = place(&fs, "/etc/deep").expect("it exists");
    assert_eq!(fs.metadata(deep.inode.expect("it exists")).links, 2);
    fs.remove_directory(&deep).expect("it is empty now");
    assert_eq!(open(&mut fs, "/etc/deep", 0).err(), Some(Errno::ENOENT));
    write(
        &mut fs,
        &mut frames,
        "/etc/deep",
        O_CREAT | O_EXCL,
        None,
        b"a file",
    );
    assert_eq!(
        contents(&mut fs, &mut frames, "/etc/deep").as_deref(),
        Ok(&b"a file"[..])
    );
    make(&mut fs, "/etc/new", mode::S_IFLNK | 0o777).expect("it is free");
    let link = fs
        .resolve(Inode::ROOT, b"/etc/new", false)
        .expect("it exists");
    assert_eq!(
        fs.read_link(link, &TwoProcesses(Inode::ROOT)).as_deref(),
        Ok(&b"target"[..])
    );
}

#[test]
fn a_moved_image_directory_takes_its_children_along() {
    let (mut fs, mut frames) = file_system();
    rename(&mut fs, "/etc", "/bin/etc", 0).expect("nothing is in the way");
    assert_eq!(
        contents(&mut fs, &mut frames, "/bin/etc/deep/file").as_deref(),
        Ok(&b"deep"[..])
    );
    let up = fs
        .resolve(Inode::ROOT, b"/bin/etc/..", true)
        .expect("it exists");
    assert_eq!(fs.path_of(up), b"/bin");
    let deep = fs
        .resolve(Inode::ROOT, b"/bin/etc/deep", true)
        .expect("it exists");
    assert_eq!(fs.path_of(deep), b"/bin/etc/deep");
    assert_eq!(
        rename(&mut fs, "/bin", "/bin/etc/deep/x", 0),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        rename(&mut fs, "/bin/etc/deep", "/bin", 0),
        Err(Errno::ENOTEMPTY)
    );
    assert_eq!(
        rename(&mut fs, "/bin/hello", "/bin/etc", 0),
        Err(Errno::EISDIR)
    );
    assert_eq!(
        rename(&mut fs, "/bin/etc", "/bin/hello", 0),
        Err(Errno::ENOTDIR)
    );
    assert_eq!(
        rename(&mut fs, "/bin/etc", "/dev", 0),
        Err(Errno::ENOTEMPTY)
    );
    assert_eq!(
        rename(&mut fs, "/bin/hello", "/dev/null", RENAME_NOREPLACE),
        Err(Errno::EEXIST)
    );
    rename(&mut fs, "/bin/etc", "/dev/null", RENAME_EXCHANGE).expect("both exist");
    assert!(
        fs.is_directory(
            fs.resolve(Inode::ROOT, b"/dev/null/deep", true)
                .expect("moved")
        )
    );
}

#[test]
fn a_full_file_system_says_so_and_loses_nothing() {
    let (mut fs, mut frames) = file_system();
    let limit = usize::try_from(fs.room().pages).expect("fits") * 4096;
    let file = open(&mut fs, "/tmp/big", O_CREAT | O_RDWR).expect("it can be made");
    let bytes = alloc::vec![1u8; limit + 1];
    let mut source = TestBuffer::to_empty(&bytes, &mut frames);
    let mut written = 0;
    let error = loop {
        match fs.write(file, None, &mut source) {
            Ok(count) => written += count,
            Err(error) => break error,
        }
    };
    assert_eq!(error, Errno::ENOSPC);
    assert_eq!(fs.metadata(fs.files[file].inode).size, written as u64);
    fs.close_file(file);
    unlink(&mut fs, "/tmp/big").expect("it exists");
    fs.give_back_frames(&mut frames);
    assert_eq!(
        (fs.room().pages_free, frames.counters.frames_used),
        (fs.room().pages, 0)
    );
}

#[test]
fn a_nameless_file_can_be_given_a_name() {
    let (mut fs, mut frames) = file_system();
    let file = open(&mut fs, "/tmp", O_TMPFILE | O_RDWR).expect("it can be made");
    let inode = fs.files[file].inode;
    let mut source = TestBuffer::to_empty(b"text", &mut frames);
    fs.write(file, None, &mut source).expect("there is room");
    let to = place(&fs, "/tmp/name").expect("the directory exists");
    fs.link(inode, to.directory, &to.name)
        .expect("it may have one");
    fs.close_file(file);
    assert_eq!(
        contents(&mut fs, &mut frames, "/tmp/name").as_deref(),
        Ok(&b"text"[..])
    );
    let sealed = open(&mut fs, "/tmp", O_TMPFILE | O_EXCL | O_RDWR).expect("it can be made");
    let inode = fs.files[sealed].inode;
    assert_eq!(fs.link(inode, to.directory, b"other"), Err(Errno::ENOENT));
    fs.close_file(sealed);
    assert!(open(&mut fs, "/tmp/name", O_APPEND | O_WRONLY).is_ok());
}

#[test]
fn listing_survives_changes_between_two_calls() {
    use crate::fs::directory::DirentFormat;
    let (mut fs, mut frames) = file_system();
    for name in ["/tmp/a", "/tmp/b", "/tmp/c", "/tmp/d"] {
        make(&mut fs, name, mode::S_IFREG | 0o644).expect("it is free");
    }
    let directory = open(&mut fs, "/tmp", 0).expect("it exists");
    let mut seen = String::new();
    for (remove, add) in [
        ("/tmp/a", "/tmp/e"),
        ("/tmp/c", "/tmp/f"),
        ("/tmp/b", "/tmp/g"),
    ] {
        let mut sink = TestBuffer::to_fill(48, &mut frames);
        fs.list(
            directory,
            DirentFormat::Dirent64,
            &TwoProcesses(Inode::ROOT),
            &mut sink,
        )
        .expect("it fits");
        seen.extend(sink.bytes.chunks(24).map(|record| char::from(record[19])));
        unlink(&mut fs, remove).expect("it exists");
        make(&mut fs, add, mode::S_IFREG | 0o644).expect("it is free");
    }
    let mut sink = TestBuffer::to_fill(4096, &mut frames);
    fs.list(
        directory,
        DirentFormat::Dirent64,
        &TwoProcesses(Inode::ROOT),
        &mut sink,
    )
    .expect("it fits");
    seen.extend(sink.bytes.chunks(24).map(|record| char::from(record[19])));
    assert_eq!(
        seen, "..bcdefg",
        "everything that was there at its turn, once"
    );
}

/// A step of the random walk: names are indices into a few paths.
#[derive(Clone, Copy, Debug)]
enum Step {
    Create(usize),
    Directory(usize),
    Unlink(usize),
    RemoveDirectory(usize),
    Link(usize, usize),
    Rename(usize, usize, u32),
    Write(usize, u64, u8, usize),
    Truncate(usize, u64),
}

const PATHS: [&str; 10] = [
    "/tmp/a",
    "/tmp/b",
    "/tmp/a/c",
    "/tmp/a/d",
    "/tmp/b/c",
    "/tmp/a/c/e",
    "/etc/deep",
    "/etc/deep/file",
    "/etc/up",
    "/bin/hello",
];

fn step() -> impl Strategy<Value = Step> {
    let path = || 0..PATHS.len();
    let flags = prop::sample::select(alloc::vec![0, RENAME_NOREPLACE, RENAME_EXCHANGE]);
    prop_oneof![
        path().prop_map(Step::Create),
        path().prop_map(Step::Directory),
        path().prop_map(Step::Unlink),
        path().prop_map(Step::RemoveDirectory),
        (path(), path()).prop_map(|(old, new)| Step::Link(old, new)),
        (path(), path(), flags).prop_map(|(old, new, flags)| Step::Rename(old, new, flags)),
        (path(), 0u64..20_000, any::<u8>(), 1usize..6000)
            .prop_map(|(path, at, byte, len)| Step::Write(path, at, byte, len)),
        (path(), 0u64..20_000).prop_map(|(path, size)| Step::Truncate(path, size)),
    ]
}

/// The simple file system: names in one flat map, files by number.
#[derive(Clone, Default)]
struct Model {
    names: BTreeMap<String, Thing>,
    files: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Thing {
    Directory,
    /// A symbolic link of the image.
    Link,
    File(usize),
}

impl Model {
    fn new() -> Self {
        let mut model = Self::default();
        for (path, node) in TREE {
            let thing = match node {
                Node::Directory => Thing::Directory,
                Node::Link(_) => Thing::Link,
                Node::File(bytes) => {
                    model.files.push(bytes.to_vec());
                    Thing::File(model.files.len() - 1)
                }
                Node::Device(_) => continue,
            };
            model.names.insert(String::from(*path), thing);
        }
        model
    }

    /// What the directories before the last component say.
    fn parent(&self, path: &str) -> Result<(), Errno> {
        for (at, _) in path.match_indices('/').skip(1) {
            match self.names.get(&path[..at]) {
                None => return Err(Errno::ENOENT),
                Some(Thing::Directory) => {}
                Some(_) => return Err(Errno::ENOTDIR),
            }
        }
        Ok(())
    }

    fn get(&self, path: &str) -> Result<Thing, Errno> {
        self.parent(path)?;
        self.names.get(path).copied().ok_or(Errno::ENOENT)
    }

    fn is_empty(&self, path: &str) -> bool {
        let prefix = alloc::format!("{path}/");
        !self.names.keys().any(|name| name.starts_with(&prefix))
    }

    fn make(&mut self, path: &str, thing: Thing) -> Result<(), Errno> {
        self.parent(path)?;
        if self.names.contains_key(path) {
            return Err(Errno::EEXIST);
        }
        self.names.insert(path.into(), thing);
        Ok(())
    }

    /// Moves a name and everything below it.
    fn relocate(&mut self, old: &str, new: &str) {
        let prefix = alloc::format!("{old}/");
        let moved: Vec<_> = self
            .names
            .iter()
            .filter(|(name, _)| *name == old || name.starts_with(&prefix))
            .map(|(name, thing)| (name.clone(), *thing))
            .collect();
        for (name, thing) in moved {
            self.names.remove(&name);
            self.names
                .insert(alloc::format!("{new}{}", &name[old.len()..]), thing);
        }
    }

    fn rename(&mut self, old: &str, new: &str, flags: u32) -> Result<(), Errno> {
        self.parent(old)?;
        self.parent(new)?;
        let (thing, target) = (self.get(old)?, self.names.get(new).copied());
        let below = |one: &str, two: &str| one.starts_with(&alloc::format!("{two}/"));
        if flags == RENAME_NOREPLACE && target.is_some() {
            return Err(Errno::EEXIST);
        }
        if flags == RENAME_EXCHANGE && target.is_none() {
            return Err(Errno::ENOENT);
        }
        if thing == Thing::Directory && below(new, old) {
            return Err(Errno::EINVAL);
        }
        if target == Some(Thing::Directory) && below(old, new) {
            return Err(if flags == RENAME_EXCHANGE {
                Errno::EINVAL
            } else {
                Errno::ENOTEMPTY
            });
        }
        if old == new || (matches!(thing, Thing::File(_)) && target == Some(thing)) {
            return Ok(());
        }
        if flags == RENAME_EXCHANGE {
            self.relocate(new, "/tmp/model's own");
            self.relocate(old, new);
            self.relocate("/tmp/model's own", old);
            return Ok(());
        }
        match (thing, target) {
            (_, None) => {}
            (Thing::Directory, Some(Thing::Directory)) if self.is_empty(new) => {}
            (Thing::Directory, Some(Thing::Directory)) => return Err(Errno::ENOTEMPTY),
            (Thing::Directory, Some(_)) => return Err(Errno::ENOTDIR),
            (_, Some(Thing::Directory)) => return Err(Errno::EISDIR),
            _ => {}
        }
        self.names.remove(new);
        self.relocate(old, new);
        Ok(())
    }

    fn apply(&mut self, step: Step) -> Result<(), Errno> {
        match step {
            Step::Create(path) => {
                let file = self.files.len();
                self.make(PATHS[path], Thing::File(file))?;
                self.files.push(Vec::new());
                Ok(())
            }
            Step::Directory(path) => self.make(PATHS[path], Thing::Directory),
            Step::Unlink(path) => match self.get(PATHS[path])? {
                Thing::Directory => Err(Errno::EISDIR),
                _ => {
                    self.names.remove(PATHS[path]);
                    Ok(())
                }
            },
            Step::RemoveDirectory(path) => match self.get(PATHS[path])? {
                Thing::Directory if self.is_empty(PATHS[path]) => {
                    self.names.remove(PATHS[path]);
                    Ok(())
                }
                Thing::Directory => Err(Errno::ENOTEMPTY),
                _ => Err(Errno::ENOTDIR),
            },
            Step::Link(old, new) => {
                let thing = self.get(PATHS[old])?;
                self.parent(PATHS[new])?;
                if self.names.contains_key(PATHS[new]) {
                    return Err(Errno::EEXIST);
                }
                if thing == Thing::Directory {
                    return Err(Errno::EPERM);
                }
                self.make(PATHS[new], thing)
            }
            Step::Rename(old, new, flags) => self.rename(PATHS[old], PATHS[new], flags),
            Step::Write(path, at, byte, len) => {
                let Thing::File(file) = self.get(PATHS[path])? else {
                    return Err(Errno::EISDIR);
                };
                let (bytes, at) = (&mut self.files[file], usize::try_from(at).expect("small"));
                bytes.resize(bytes.len().max(at + len), 0);
                bytes[at..at + len].fill(byte);
                Ok(())
            }
            Step::Truncate(path, size) => {
                let Thing::File(file) = self.get(PATHS[path])? else {
                    return Err(Errno::EISDIR);
                };
                self.files[file].resize(usize::try_from(size).expect("small"), 0);
                Ok(())
            }
        }
    }
}

/// The same step on the real thing. Symbolic links are not followed, so that the model need not.
fn apply(fs: &mut FileSystem, frames: &mut Frames, step: Step) -> Result<(), Errno> {
    let file = |fs: &FileSystem, path: &str| {
        let inode = fs.resolve(Inode::ROOT, path.as_bytes(), false)?;
        match fs.metadata(inode).is(mode::S_IFREG) {
            true => Ok(inode),
            false => Err(Errno::EISDIR),
        }
    };
    let result = match step {
        Step::Create(path) => make(fs, PATHS[path], mode::S_IFREG | 0o644).map(|_| ()),
        Step::Directory(path) => make(fs, PATHS[path], mode::S_IFDIR | 0o755).map(|_| ()),
        Step::Unlink(path) => unlink(fs, PATHS[path]),
        Step::RemoveDirectory(path) => {
            let place = place(fs, PATHS[path])?;
            fs.remove_directory(&place)
        }
        Step::Link(old, new) => {
            let inode = fs.resolve(Inode::ROOT, PATHS[old].as_bytes(), false)?;
            let place = place(fs, PATHS[new])?;
            match place.inode {
                Some(_) => Err(Errno::EEXIST),
                None => fs.link(inode, place.directory, &place.name),
            }
        }
        Step::Rename(old, new, flags) => rename(fs, PATHS[old], PATHS[new], flags),
        Step::Write(path, at, byte, len) => {
            file(fs, PATHS[path])?;
            write(
                fs,
                frames,
                PATHS[path],
                0,
                Some(at),
                &alloc::vec![byte; len],
            );
            Ok(())
        }
        Step::Truncate(path, size) => {
            let inode = file(fs, PATHS[path])?;
            fs.set_size(frames, inode, size)
        }
    };
    fs.give_back_frames(frames);
    result
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// The tree does what a flat map of names would do, error by error; link counts and contents agree, and no
    /// frame is lost.
    #[test]
    fn the_tree_agrees_with_a_flat_map(steps in prop::collection::vec(step(), 1..60)) {
        let (mut fs, mut frames) = file_system();
        let mut model = Model::new();
        // A link to a directory on the way is the model's blind spot.
        unlink(&mut fs, "/etc/up").expect("it exists");
        model.names.remove("/etc/up");
        for step in steps {
            prop_assert_eq!(apply(&mut fs, &mut frames, step), model.apply(step), "{:?}", step);
        }
        let mut links: BTreeMap<usize, u32> = BTreeMap::new();
        for thing in model.names.values() {
            if let Thing::File(file) = thing {
                *links.entry(*file).or_default() += 1;
            }
        }
        for (path, thing) in model.names.clone() {
            let inode = fs.resolve(Inode::ROOT, path.as_bytes(), false).expect("the model has it");
            let metadata = fs.metadata(inode);
            match thing {
                Thing::File(file) => {
                    prop_assert_eq!(metadata.links, links[&file], "links of {}", &path);
                    prop_assert_eq!(&contents(&mut fs, &mut frames, &path).expect("readable"), &model.files[file], "{}", &path);
                    continue;
                }
                Thing::Directory => {
                    let below = alloc::format!("{path}/");
                    let children = model.names.iter().filter(|(name, thing)| {
                        **thing == Thing::Directory && name.strip_prefix(&below).is_some_and(|rest| !rest.contains('/'))
                    });
                    let expected = 2 + children.count();
                    if path.starts_with("/tmp") {
                        prop_assert_eq!(metadata.links as usize, expected, "links of {}", &path);
                    }
                }
                Thing::Link => prop_assert!(metadata.is(mode::S_IFLNK)),
            }
            prop_assert_eq!(fs.path_of(inode), path.as_bytes());
        }
        for path in model.names.keys().rev() {
            let place = place(&fs, path).expect("its directories exist");
            if let Some(Thing::File(_)) = model.names.get(path) {
                fs.unlink(&place).expect("it exists");
            }
        }
        fs.give_back_frames(&mut frames);
        prop_assert_eq!(frames.counters.frames_used, 0);
    }
}
