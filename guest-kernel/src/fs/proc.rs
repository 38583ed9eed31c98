//! /proc: nodes named by what they show, not by where they are stored.
//!
//! In:  [`Processes`], the little that the process code tells the file system about its tasks.
//! Out: look-ups, listings and link targets. So far `self`, `PID/` and `PID/exe`; a new file is a
//!      variant of [`ProcNode`], a line in `FILES`, and its text.

use super::inode::Inode;
use crate::errno::Errno;
use alloc::vec::Vec;
use forkvm_abi::image::mode::{S_IFDIR, S_IFLNK};

/// What the process code tells about processes. Pids are thread group ids.
pub trait Processes: core::fmt::Debug {
    /// The process that asks.
    fn current(&self) -> u32;
    /// The program that a process runs; `None` if there is no such process, `Some(None)` if it has no program (a zombie, pid 1).
    fn program(&self, pid: u32) -> Option<Option<Inode>>;
    /// The lowest pid above `pid`.
    fn next_after(&self, pid: u32) -> Option<u32>;

    /// Whether some process runs the program.
    fn is_running(&self, program: Inode) -> bool {
        let mut pid = 0;
        while let Some(next) = self.next_after(pid) {
            if self.program(next).flatten() == Some(program) {
                return true;
            }
            pid = next;
        }
        false
    }
}

/// The view of somebody who is no process (the kernel as it starts the first program).
#[derive(Debug)]
pub struct NoProcesses;

impl Processes for NoProcesses {
    fn current(&self) -> u32 {
        0
    }

    fn program(&self, _pid: u32) -> Option<Option<Inode>> {
        None
    }

    fn next_after(&self, _pid: u32) -> Option<u32> {
        None
    }
}

/// A file or directory below /proc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcNode {
    /// `/proc`.
    Root,
    /// `/proc/self`: a link to the directory of whoever asks.
    SelfLink,
    /// `/proc/PID`.
    Process(u32),
    /// `/proc/PID/exe`: a link to the program.
    Exe(u32),
}

/// A file of a process's directory: its name, and its node by pid.
type ProcessFile = (&'static [u8], fn(u32) -> ProcNode);

/// What every process's directory holds.
const FILES: [ProcessFile; 1] = [(b"exe", ProcNode::Exe)];

impl ProcNode {
    /// st_ino: unique, stable while the process lives, 1 for the root as on Linux.
    pub fn number(self) -> u64 {
        match self {
            Self::Root => 1,
            Self::SelfLink => 2,
            Self::Process(pid) => u64::from(pid) << 16,
            Self::Exe(pid) => u64::from(pid) << 16 | 1,
        }
    }

    /// st_mode.
    pub fn mode(self) -> u32 {
        match self {
            Self::Root | Self::Process(_) => S_IFDIR | 0o555,
            Self::SelfLink | Self::Exe(_) => S_IFLNK | 0o777,
        }
    }

    /// Last component of the path.
    pub fn name(self) -> Vec<u8> {
        match self {
            Self::Root => b"proc".to_vec(),
            Self::SelfLink => b"self".to_vec(),
            Self::Process(pid) => alloc::format!("{pid}").into_bytes(),
            Self::Exe(_) => b"exe".to_vec(),
        }
    }

    /// The directory it is in; `None` for /proc itself, which is mounted elsewhere.
    pub fn parent(self) -> Option<Self> {
        match self {
            Self::Root => None,
            Self::SelfLink | Self::Process(_) => Some(Self::Root),
            Self::Exe(pid) => Some(Self::Process(pid)),
        }
    }

    /// A child by name.
    pub fn lookup(self, name: &[u8], processes: &dyn Processes) -> Option<Self> {
        match self {
            Self::Root if name == b"self" => Some(Self::SelfLink),
            Self::Root => {
                let pid = parse_pid(name)?;
                processes.program(pid).map(|_| Self::Process(pid))
            }
            Self::Process(pid) => {
                processes.program(pid)?;
                FILES
                    .iter()
                    .find(|(file, _)| *file == name)
                    .map(|(_, node)| node(pid))
            }
            Self::SelfLink | Self::Exe(_) => None,
        }
    }

    /// The child at a position of the listing or the next one behind it, and its position.
    /// Processes stand behind the fixed entries at 256 + pid, as in Linux's fs/proc/base.c.
    pub fn child(self, position: u64, processes: &dyn Processes) -> Option<(u64, Self)> {
        const FIRST_PROCESS: u64 = 256;
        match self {
            Self::Root if position == 0 => Some((0, Self::SelfLink)),
            Self::Root => {
                let from = u32::try_from(position.saturating_sub(FIRST_PROCESS)).ok()?;
                let pid = processes.next_after(from.saturating_sub(1))?;
                Some((FIRST_PROCESS + u64::from(pid), Self::Process(pid)))
            }
            Self::Process(pid) => {
                processes.program(pid)?;
                let (_, node) = FILES.get(usize::try_from(position).ok()?)?;
                Some((position, node(pid)))
            }
            Self::SelfLink | Self::Exe(_) => None,
        }
    }

    /// Where a link leads; `None` if the node is none. ENOENT for the program of a process that has none.
    pub fn target(self, processes: &dyn Processes) -> Option<Result<Inode, Errno>> {
        match self {
            Self::SelfLink => Some(match processes.current() {
                0 => Err(Errno::ENOENT),
                pid => Ok(Inode::Proc(Self::Process(pid))),
            }),
            Self::Exe(pid) => Some(processes.program(pid).flatten().ok_or(Errno::ENOENT)),
            Self::Root | Self::Process(_) => None,
        }
    }

    /// What readlink shows of a link, where that is not the target's path.
    pub fn link_text(self, processes: &dyn Processes) -> Option<Vec<u8>> {
        (self == Self::SelfLink).then(|| alloc::format!("{}", processes.current()).into_bytes())
    }
}

/// A pid as /proc names it: decimal, no leading zero.
fn parse_pid(name: &[u8]) -> Option<u32> {
    if name.first() == Some(&b'0') || !name.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(name).ok()?.parse().ok()
}
