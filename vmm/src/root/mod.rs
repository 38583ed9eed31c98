//! What the guest sees as `/`: a tree of names, made before there is a VM.
//!
//! In:  `--root` (a directory of the host, or a tar file), `--file`, the programs inside forkvm.
//! Out: a [`Tree`], which `image` lays out. Nothing here reads the contents of files: a tree knows
//!      where they are, and the image maps them.

mod archive;
mod host;
mod tree;

pub use tree::{Attributes, Content, Directory, FileNode, Node, Tree};

use crate::embedded::APPS;
use crate::program::in_bin;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Why there is no root file system.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum RootError {
    #[error("{0}: the guest has something else at that path; put the file somewhere else")]
    PathTaken(String),
    #[error("{0}: a name of more than 255 bytes cannot be in the guest")]
    NameTooLong(String),
    #[error("{}: {source}", path.display())]
    Host { path: PathBuf, source: io::Error },
    #[error("{}: is neither a directory nor a tar file", .0.display())]
    NoRoot(PathBuf),
    #[error("{}: is compressed; unpack it first (for example with gzip -d)", .0.display())]
    Compressed(PathBuf),
    #[error("{}: is no tar file that can be read: {source}", path.display())]
    Archive { path: PathBuf, source: io::Error },
    #[error("{}: has more than {} million files", .0.display(), tree::MAX_FILES / 1_000_000)]
    TooMany(PathBuf),
}

/// A file or directory of the host for the guest (`--file`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraFile {
    /// On the host.
    pub host: PathBuf,
    /// Absolute path in the guest.
    pub guest: Vec<u8>,
}

impl ExtraFile {
    /// Reads `HOST[:GUEST]`. What stands behind the last colon is the guest's path if it begins with a slash.
    pub fn parse(word: OsString) -> Result<Self, &'static str> {
        let bytes = word.as_bytes();
        let colon = bytes.windows(2).rposition(|pair| pair == b":/");
        let (host, guest) = match colon {
            Some(at) => (&bytes[..at], Some(bytes[at + 1..].to_vec())),
            None if bytes.ends_with(b":") => {
                return Err("what follows the colon is an absolute path in the guest");
            }
            None => (bytes, None),
        };
        if host.is_empty() {
            return Err("a file of the host is needed: HOST[:GUEST]");
        }
        let host = OsStr::from_bytes(host);
        let guest = match guest {
            Some(guest) => guest,
            None => {
                guest_path(host).ok_or("has no name to give it in the guest; say HOST:GUEST")?
            }
        };
        Ok(Self {
            host: host.into(),
            guest,
        })
    }
}

/// The tree that options ask for: the root and what belongs into every guest, or the programs inside forkvm, and the extra files.
pub fn build(root: Option<&Path>, files: &[ExtraFile]) -> Result<Tree, RootError> {
    let mut tree = match root {
        Some(root) => load(root)?,
        None => Tree::default(),
    };
    tree.add_standard_entries()?;
    if root.is_none() {
        for app in APPS {
            let content = Content::Embedded(app.elf);
            let node = tree.new_file(content, Attributes::of_mode(0o755));
            tree.insert(&in_bin(app.name), node)?;
        }
    }
    for file in files {
        host::add(&mut tree, &file.host, &file.guest)?;
    }
    Ok(tree)
}

fn load(root: &Path) -> Result<Tree, RootError> {
    let failed = |source| RootError::Host {
        path: root.into(),
        source,
    };
    let metadata = root.metadata().map_err(failed)?;
    let mut tree = Tree::default();
    if metadata.is_dir() {
        host::add(&mut tree, root, b"/")?;
    } else if metadata.is_file() {
        archive::add(&mut tree, root)?;
    } else {
        return Err(RootError::NoRoot(root.into()));
    }
    Ok(tree)
}

/// Where a host file appears in the guest: its path as given, made absolute against `/`.
pub fn guest_path(word: &OsStr) -> Option<Vec<u8>> {
    use std::path::Component;
    let mut parts: Vec<&OsStr> = Vec::new();
    for component in Path::new(word).components() {
        match component {
            Component::Normal(part) => parts.push(part),
            Component::ParentDir => drop(parts.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    if parts.is_empty() {
        return None;
    }
    let joined: OsString = parts
        .iter()
        .flat_map(|part| [OsStr::new("/"), part])
        .collect();
    Some(joined.into_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_on_both_sides() {
        let parse = |word: &str| {
            ExtraFile::parse(word.into()).map(|file| {
                let guest = String::from_utf8(file.guest).unwrap();
                (file.host.to_string_lossy().into_owned(), guest)
            })
        };
        let pair = |host: &str, guest: &str| Ok((host.to_owned(), guest.to_owned()));
        assert_eq!(parse("/bin/busybox"), pair("/bin/busybox", "/bin/busybox"));
        assert_eq!(parse("./x/y"), pair("./x/y", "/x/y"));
        assert_eq!(parse("a:/b/c"), pair("a", "/b/c"));
        assert_eq!(parse("a:b:/c"), pair("a:b", "/c"));
        assert_eq!(parse("a:b"), pair("a:b", "/a:b"));
        assert!(parse("a:").is_err() && parse(":/a").is_err() && parse("..").is_err());
    }

    #[test]
    fn paths_become_absolute_in_the_guest() {
        let path =
            |word: &str| guest_path(OsStr::new(word)).map(|path| String::from_utf8(path).unwrap());
        for (word, expected) in [
            ("./a.out", "/a.out"),
            ("x/y", "/x/y"),
            ("/tmp/a", "/tmp/a"),
            ("../../a", "/a"),
            ("x/../y//z/.", "/y/z"),
        ] {
            assert_eq!(path(word).as_deref(), Some(expected));
        }
        assert_eq!(path("/"), None);
        assert_eq!(path(".."), None);
    }
}
