//! Tar files, as `docker export` and tar(1) write them.
//!
//! Only the headers are read. A file's bytes stay where they are in the archive, which the image
//! maps as a whole; the kernel copes with contents that do not begin at a page. Sparse files,
//! which lie in pieces, are copied.

use super::RootError;
use super::tree::{Attributes, Content, Directory, Node, Tree};
use forkvm_abi::image::mode::{S_IFCHR, S_IFIFO};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use tar::{Archive, Entry, EntryType};

/// Puts everything in the archive at `/`.
pub(super) fn add(tree: &mut Tree, path: &Path) -> Result<(), RootError> {
    let failed = |source| RootError::Archive {
        path: path.into(),
        source,
    };
    let file = File::open(path).map_err(|source| RootError::Host {
        path: path.into(),
        source,
    })?;
    check_start(&file, path)?;
    // The archive has a position of its own, so that the mapped one stays as it is.
    let shared = Arc::new(file.try_clone().map_err(failed)?);
    let len = shared.metadata().map_err(failed)?.len();
    let mut archive = Archive::new(file);
    for entry in archive.entries_with_seek().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        if tree.is_full() {
            return Err(RootError::TooMany(path.into()));
        }
        let name = absolute(&entry.path_bytes());
        if entry
            .raw_file_position()
            .checked_add(entry.size())
            .is_none_or(|end| end > len)
        {
            return Err(failed(io::Error::other("it ends in the middle of a file")));
        }
        if let Some(node) = node(tree, &mut entry, &shared).map_err(failed)? {
            replace(tree, &name, node)?;
        }
    }
    Ok(())
}

/// Says what a file is that is no tar file, as far as its first bytes tell.
fn check_start(file: &File, path: &Path) -> Result<(), RootError> {
    use std::os::unix::fs::FileExt;
    let mut start = [0; 512];
    let len = file.read_at(&mut start, 0).unwrap_or(0);
    let compressed: [&[u8]; 4] = [b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"];
    if compressed.iter().any(|magic| start.starts_with(magic)) {
        return Err(RootError::Compressed(path.into()));
    }
    // `ustar` in the header, or the zeros that end an archive.
    if len < 512 || (&start[257..262] != b"ustar" && start.iter().any(|byte| *byte != 0)) {
        return Err(RootError::NoRoot(path.into()));
    }
    Ok(())
}

/// A later entry of the same name takes the place of an earlier one, as when the archive is unpacked.
fn replace(tree: &mut Tree, name: &[u8], node: Node) -> Result<(), RootError> {
    match tree.insert(name, node) {
        Err(RootError::PathTaken(_)) => {
            log::info!(
                "{}: stands in the way of something else in the archive; left out",
                String::from_utf8_lossy(name)
            );
            Ok(())
        }
        result => result,
    }
}

/// The entry as a node; `None` for what cannot be in the guest.
fn node(
    tree: &mut Tree,
    entry: &mut Entry<'_, File>,
    archive: &Arc<File>,
) -> io::Result<Option<Node>> {
    let attributes = attributes(entry)?;
    let header = entry.header();
    Ok(Some(match header.entry_type() {
        EntryType::Regular | EntryType::Continuous => {
            let content =
                Content::Part(Arc::clone(archive), entry.raw_file_position(), entry.size());
            tree.new_file(content, attributes)
        }
        EntryType::GNUSparse => {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            tree.new_file(Content::Bytes(bytes.into()), attributes)
        }
        EntryType::Directory => Node::Directory(Directory::new(attributes)),
        EntryType::Symlink => {
            let target = entry.link_name_bytes().unwrap_or_default().into_owned();
            let mode = Attributes {
                mode: 0o777,
                ..attributes
            };
            Node::Link(target, mode)
        }
        EntryType::Link => {
            let target = absolute(&entry.link_name_bytes().unwrap_or_default());
            match tree.entry(&target) {
                Some(Node::File(file)) => Node::File(file.clone()),
                Some(Node::Link(target, attributes)) => Node::Link(target.clone(), *attributes),
                _ => {
                    let target = String::from_utf8_lossy(&target).into_owned();
                    let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
                    log::info!("{name}: a hard link to {target}, which is not there; left out");
                    return Ok(None);
                }
            }
        }
        EntryType::Char => {
            let major = u64::from(header.device_major()?.unwrap_or(0));
            let minor = u64::from(header.device_minor()?.unwrap_or(0));
            Node::Special(S_IFCHR, major << 8 | minor & 0xff, attributes)
        }
        EntryType::Fifo => Node::Special(S_IFIFO, 0, attributes),
        _ => return Ok(None),
    }))
}

fn attributes(entry: &Entry<'_, File>) -> io::Result<Attributes> {
    let header = entry.header();
    let id = |value: u64| u32::try_from(value).unwrap_or(65534);
    Ok(Attributes {
        mode: header.mode()? & 0o7777,
        uid: id(header.uid()?),
        gid: id(header.gid()?),
        mtime: header.mtime()?.cast_signed(),
        nanoseconds: 0,
    })
}

fn absolute(name: &[u8]) -> Vec<u8> {
    [b"/", name].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Tree;
    use tar::{Builder, Header};

    fn header(kind: EntryType, mode: u32, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(9);
        header
    }

    fn load(archive: &[u8]) -> Result<Tree, RootError> {
        let path = std::env::temp_dir().join(format!(
            "forkvm-tar-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::write(&path, archive).unwrap();
        let mut tree = Tree::default();
        let result = add(&mut tree, &path);
        std::fs::remove_file(&path).unwrap();
        result.map(|()| tree)
    }

    #[test]
    fn entries_keep_names_links_and_owners() {
        let long = "d/".repeat(60) + "file";
        let mut builder = Builder::new(Vec::new());
        builder
            .append_data(
                &mut header(EntryType::Directory, 0o750, 0),
                "etc/",
                io::empty(),
            )
            .unwrap();
        builder
            .append_data(
                &mut header(EntryType::Regular, 0o4755, 5),
                "etc/a",
                &b"hello"[..],
            )
            .unwrap();
        builder
            .append_link(&mut header(EntryType::Link, 0o644, 0), "b", "etc/a")
            .unwrap();
        builder
            .append_link(&mut header(EntryType::Symlink, 0o777, 0), "c", "/etc")
            .unwrap();
        builder
            .append_data(&mut header(EntryType::Regular, 0o644, 1), &long, &b"x"[..])
            .unwrap();
        builder
            .append_link(&mut header(EntryType::Link, 0o644, 0), "none", "nowhere")
            .unwrap();
        let tree = load(&builder.into_inner().unwrap()).unwrap();
        let Some(Node::File(one)) = tree.entry(b"/etc/a") else {
            panic!("no file")
        };
        let Some(Node::File(two)) = tree.get(b"/c/../b") else {
            panic!("no link")
        };
        assert_eq!(one.number, two.number);
        assert!(matches!(one.content, Content::Part(_, 1024, 5)));
        let expected = Attributes {
            mode: 0o4755,
            uid: 7,
            gid: 8,
            mtime: 9,
            nanoseconds: 0,
        };
        assert_eq!(one.attributes, expected);
        assert_eq!(tree.entry(b"/etc").unwrap().attributes().mode, 0o750);
        assert!(tree.entry(format!("/{long}").as_bytes()).is_some());
        assert!(tree.entry(b"/none").is_none());
    }

    #[test]
    fn what_is_no_archive_is_named() {
        assert!(matches!(
            load(b"\x1f\x8b\x08rest"),
            Err(RootError::Compressed(_))
        ));
        assert!(matches!(load(&[b'x'; 2000]), Err(RootError::NoRoot(_))));
        assert!(matches!(load(b""), Err(RootError::NoRoot(_))));
        let mut cut = Builder::new(Vec::new());
        cut.append_data(
            &mut header(EntryType::Regular, 0o644, 5000),
            "a",
            &[b'x'; 5000][..],
        )
        .unwrap();
        let bytes = cut.into_inner().unwrap();
        assert!(matches!(
            load(&bytes[..1000]),
            Err(RootError::Archive { .. })
        ));
    }
}
