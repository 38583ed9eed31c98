//! Path resolution, as path_resolution(7) describes it.
//!
//! In:  where the walk starts, and a path of any bytes but NUL.
//! Out: a [`Walk`]: the directory in which the last component stands, that component, and the
//!      inode it leads to, if there is one. Creating and removing need all of it (and their errors
//!      depend on it); [`Walk::existing`] is enough for everybody else.
//!
//! Symbolic links are walked without copying: what is left of a path behind a link waits on a
//! stack of slices until the link's own text is used up.

use super::FileSystem;
use super::inode::{Inode, Target};
use super::proc::{NoProcesses, Processes};
use crate::errno::Errno;
use alloc::vec::Vec;

/// Bytes of a path at most, its NUL included.
pub const PATH_MAX: usize = 4096;
/// Bytes of a component at most.
pub const NAME_MAX: usize = 255;
/// Symbolic links followed in one resolution at most.
const MAX_LINKS: u32 = 40;

/// What the last component of a path is (Linux's LAST_NORM and so on, include/linux/namei.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last<'a> {
    /// The path has slashes only.
    Root,
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// A name.
    Name(&'a [u8]),
}

/// Where a path leads.
#[derive(Clone, Copy, Debug)]
pub struct Walk<'a> {
    /// The directory that holds the last component.
    pub directory: Inode,
    /// The last component.
    pub last: Last<'a>,
    /// What it leads to; `None` if the directory has no such entry.
    pub inode: Option<Inode>,
    /// Slashes stand behind the last component: only a directory will do.
    pub trailing_slash: bool,
}

/// What becomes of a symbolic link as the last component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastLink {
    /// It is followed.
    Follow,
    /// It is followed only if slashes stand behind it (lstat, O_NOFOLLOW).
    FollowBeforeSlash,
    /// It is the thing that is meant, slashes or not (calls that make or remove a name).
    Keep,
}

/// Whose eyes a path is looked up with.
#[derive(Clone, Copy, Debug)]
pub struct Viewpoint<'a> {
    /// Where a relative path starts.
    pub start: Inode,
    /// Where an absolute path starts, and above which `..` does not lead (chroot(2)).
    pub root: Inode,
    /// What becomes of a symbolic link as the last component.
    pub last_link: LastLink,
    /// What /proc shows.
    pub processes: &'a dyn Processes,
}

impl FileSystem {
    /// Path to inode, as nobody in particular: /proc shows no processes. `follow`: whether a symbolic link in the
    /// last component is followed. ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG.
    pub fn resolve(&self, cwd: Inode, path: &[u8], follow: bool) -> Result<Inode, Errno> {
        self.walk(
            &Viewpoint {
                start: cwd,
                root: Inode::ROOT,
                last_link: if follow {
                    LastLink::Follow
                } else {
                    LastLink::FollowBeforeSlash
                },
                processes: &NoProcesses,
            },
            path,
        )?
        .existing(self)
    }

    /// Walks a path. A missing last component is no error here; everything before it must exist.
    /// ENOENT (also for the empty path), ENOTDIR, ELOOP, ENAMETOOLONG.
    pub fn walk<'a>(&'a self, view: &Viewpoint<'_>, path: &'a [u8]) -> Result<Walk<'a>, Errno> {
        if path.is_empty() {
            return Err(Errno::ENOENT);
        }
        if path.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let mut at = if path[0] == b'/' {
            view.root
        } else {
            view.start
        };
        let mut rest = path;
        let mut behind_links: Vec<&[u8]> = Vec::new();
        let mut links = 0;
        let mut result = Walk {
            directory: at,
            last: Last::Root,
            inode: Some(at),
            trailing_slash: false,
        };
        loop {
            let (name, tail) = split_component(rest);
            if name.is_empty() {
                // Slashes only: the root, or a link's text that was `/`.
                match behind_links.pop() {
                    Some(behind) => rest = behind,
                    None => return Ok(result),
                }
                continue;
            }
            if name.len() > NAME_MAX {
                return Err(Errno::ENAMETOOLONG);
            }
            if !self.is_directory(at) {
                return Err(Errno::ENOTDIR);
            }
            let more = tail.iter().any(|&byte| byte != b'/');
            let is_last = !more && behind_links.is_empty();
            let trailing_slash = result.trailing_slash || (is_last && !tail.is_empty());
            let (last, inode) = match name {
                b"." => (Last::Dot, Some(at)),
                b".." if at == view.root => (Last::DotDot, Some(at)),
                b".." => (Last::DotDot, Some(self.parent(at))),
                _ => (Last::Name(name), self.lookup(at, name, view.processes)),
            };
            result = Walk {
                directory: at,
                last,
                inode,
                trailing_slash,
            };
            let Some(inode) = inode else {
                return if is_last {
                    Ok(result)
                } else {
                    Err(Errno::ENOENT)
                };
            };

            let follows = match view.last_link {
                _ if !is_last => true,
                LastLink::Follow => true,
                LastLink::FollowBeforeSlash => trailing_slash,
                LastLink::Keep => false,
            };
            let target = if follows {
                self.target(inode, view.processes)
            } else {
                None
            };
            if let Some(target) = target {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::ELOOP);
                }
                if more {
                    behind_links.push(tail);
                }
                match target? {
                    Target::Path([]) => return Err(Errno::ENOENT),
                    Target::Path(text) => {
                        if text[0] == b'/' {
                            at = view.root;
                            result = Walk {
                                directory: at,
                                last: Last::Root,
                                inode: Some(at),
                                trailing_slash,
                            };
                        }
                        rest = text;
                    }
                    Target::Inode(jump) => {
                        at = jump;
                        result.inode = Some(jump);
                        rest = &[];
                    }
                }
                continue;
            }
            if is_last {
                return Ok(result);
            }
            at = inode;
            rest = if more { tail } else { &[] };
        }
    }
}

impl Walk<'_> {
    /// The inode, which must exist and be a directory if slashes follow it. ENOENT, ENOTDIR.
    pub fn existing(&self, fs: &FileSystem) -> Result<Inode, Errno> {
        let inode = self.inode.ok_or(Errno::ENOENT)?;
        if self.trailing_slash && !fs.is_directory(inode) {
            return Err(Errno::ENOTDIR);
        }
        Ok(inode)
    }
}

/// The first component behind any slashes, and what follows it.
fn split_component(path: &[u8]) -> (&[u8], &[u8]) {
    let start = path
        .iter()
        .position(|&byte| byte != b'/')
        .unwrap_or(path.len());
    let path = &path[start..];
    path.split_at(
        path.iter()
            .position(|&byte| byte == b'/')
            .unwrap_or(path.len()),
    )
}
