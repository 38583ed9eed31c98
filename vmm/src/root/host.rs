//! Files and directories of the host.
//!
//! A directory is walked once, with lstat(2): names of any bytes, links kept as they are. Contents
//! are only named: they are opened when the image maps them. Devices and sockets are left out.

use super::RootError;
use super::tree::{Attributes, Content, Directory, Node, Tree, is_kept};
use forkvm_abi::image::mode::{S_IFDIR, S_IFLNK, S_IFMT, S_IFREG};
use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Puts a file, or a directory with everything in it, at an absolute path of the guest. A link named by the user is followed.
pub(super) fn add(tree: &mut Tree, host: &Path, guest: &[u8]) -> Result<(), RootError> {
    let metadata = host.metadata().map_err(failed(host))?;
    let mut walk = Walk {
        tree,
        known: HashMap::new(),
        start: host.into(),
    };
    if metadata.is_dir() {
        walk.tree.insert(
            guest,
            Node::Directory(Directory::new(attributes(&metadata))),
        )?;
        walk.descend(host.into(), guest.to_vec())
    } else {
        let node = walk.node(host, &metadata)?;
        match node {
            Some(node) => walk.tree.insert(guest, node),
            None => Ok(()),
        }
    }
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> RootError {
    let path = path.to_path_buf();
    |source| RootError::Host { path, source }
}

struct Walk<'a> {
    tree: &'a mut Tree,
    /// Files with several links, by device and inode.
    known: HashMap<(u64, u64), super::FileNode>,
    start: PathBuf,
}

impl Walk<'_> {
    /// Takes in everything below a directory that the tree has already.
    fn descend(&mut self, host: PathBuf, guest: Vec<u8>) -> Result<(), RootError> {
        let mut directories = vec![(host, guest)];
        while let Some((host, guest)) = directories.pop() {
            let entries = match fs::read_dir(&host) {
                Ok(entries) => entries,
                Err(error) => {
                    log::warn!("{}: {error}; empty in the guest", host.display());
                    continue;
                }
            };
            for entry in entries {
                let entry = entry.map_err(failed(&host))?;
                let path = entry.path();
                let metadata = match entry.metadata() {
                    Ok(metadata) => metadata,
                    // Removed in the meantime.
                    Err(error) => {
                        log::info!("{}: {error}; left out", path.display());
                        continue;
                    }
                };
                let mut name = guest.clone();
                name.push(b'/');
                name.extend_from_slice(entry.file_name().as_bytes());
                let Some(node) = self.node(&path, &metadata)? else {
                    continue;
                };
                if matches!(node, Node::Directory(_)) {
                    directories.push((path, name.clone()));
                }
                self.tree.insert(&name, node)?;
            }
        }
        Ok(())
    }

    /// What lstat says, as a node; `None` for what cannot be in the guest.
    fn node(&mut self, path: &Path, metadata: &Metadata) -> Result<Option<Node>, RootError> {
        let mode = metadata.mode();
        if !is_kept(mode) {
            log::info!("{}: a device or socket; left out", path.display());
            return Ok(None);
        }
        if self.tree.is_full() {
            return Err(RootError::TooMany(self.start.clone()));
        }
        let attributes = attributes(metadata);
        Ok(Some(match mode & S_IFMT {
            S_IFDIR => Node::Directory(Directory::new(attributes)),
            S_IFLNK => {
                let target = fs::read_link(path).map_err(failed(path))?;
                Node::Link(target.into_os_string().into_vec(), attributes)
            }
            S_IFREG => self.file(path, metadata, attributes),
            kind => Node::Special(kind, 0, attributes),
        }))
    }

    fn file(&mut self, path: &Path, metadata: &Metadata, attributes: Attributes) -> Node {
        let key = (metadata.dev(), metadata.ino());
        if let Some(known) = self.known.get(&key) {
            return Node::File(known.clone());
        }
        let content = Content::Path(path.into(), metadata.len());
        let node = self.tree.new_file(content, attributes);
        if let Node::File(file) = &node
            && metadata.nlink() > 1
        {
            self.known.insert(key, file.clone());
        }
        node
    }
}

fn attributes(metadata: &Metadata) -> Attributes {
    Attributes {
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: metadata.mtime(),
        nanoseconds: u32::try_from(metadata.mtime_nsec()).unwrap_or(0),
    }
}
