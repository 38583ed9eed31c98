//! stat(2), statx(2), statfs(2): [`Metadata`] in the shapes programs want it in.

use super::{DONE, SyscallResult};
use crate::errno::Errno;
use crate::fs::inode::{Metadata, Timestamp};
use crate::kernel::Kernel;
use crate::process::task::TaskId;
use crate::syscall::Args;
use forkvm_abi::PAGE_SIZE;
use linux_raw_sys::general as uapi;
use linux_raw_sys::general::{
    AT_EMPTY_PATH, AT_FDCWD, AT_NO_AUTOMOUNT, AT_STATX_SYNC_TYPE, AT_SYMLINK_NOFOLLOW,
};
use zerocopy::{Immutable, IntoBytes};

/// struct stat.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
struct Stat {
    device: u64,
    number: u64,
    links: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    padding: u32,
    rdev: u64,
    size: u64,
    block_size: u64,
    blocks: u64,
    /// Access, modification and status change: seconds, nanoseconds.
    times: [[i64; 2]; 3],
    unused: [u64; 3],
}

const _: () = {
    assert!(size_of::<Stat>() == size_of::<uapi::stat>());
    assert!(core::mem::offset_of!(Stat, rdev) == core::mem::offset_of!(uapi::stat, st_rdev));
    assert!(core::mem::offset_of!(Stat, times) == core::mem::offset_of!(uapi::stat, st_atime));
};

/// struct statx.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
struct Statx {
    mask: u32,
    block_size: u32,
    attributes: u64,
    links: u32,
    uid: u32,
    gid: u32,
    mode: u16,
    spare: u16,
    number: u64,
    size: u64,
    blocks: u64,
    attributes_mask: u64,
    /// Access, birth, status change and modification: seconds, nanoseconds.
    times: [[i64; 2]; 4],
    /// Major and minor.
    rdev: [u32; 2],
    device: [u32; 2],
    mount: u64,
    rest: [u64; 13],
}

const _: () = {
    assert!(size_of::<Statx>() == size_of::<uapi::statx>());
    assert!(core::mem::offset_of!(Statx, times) == core::mem::offset_of!(uapi::statx, stx_atime));
    assert!(core::mem::offset_of!(Statx, mount) == core::mem::offset_of!(uapi::statx, stx_mnt_id));
};

/// struct statfs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
struct Statfs {
    kind: u64,
    block_size: u64,
    blocks: u64,
    blocks_free: u64,
    blocks_available: u64,
    files: u64,
    files_free: u64,
    id: u64,
    name_max: u64,
    fragment_size: u64,
    flags: u64,
    spare: [u64; 4],
}

const _: () = assert!(size_of::<Statfs>() == size_of::<uapi::statfs>());

/// f_flags: ST_VALID and ST_RELATIME (statfs(2)).
const VALID: u64 = 0x1020;

/// stat(2).
pub fn sys_stat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let metadata = metadata_at(kernel, task, AT_FDCWD, args.0[0], 0)?;
    write_stat(kernel, task, args.0[1], &metadata)
}

/// lstat(2).
pub fn sys_lstat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let metadata = metadata_at(kernel, task, AT_FDCWD, args.0[0], AT_SYMLINK_NOFOLLOW)?;
    write_stat(kernel, task, args.0[1], &metadata)
}

/// fstat(2).
pub fn sys_fstat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let metadata = kernel
        .fs
        .metadata(kernel.fs.inode_of(kernel.table(task), args.int(0))?);
    write_stat(kernel, task, args.0[1], &metadata)
}

/// newfstatat(2).
pub fn sys_newfstatat(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let flags = args.uint(3);
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE) != 0 {
        return Err(Errno::EINVAL);
    }
    let metadata = metadata_at(kernel, task, args.int(0), args.0[1], flags)?;
    write_stat(kernel, task, args.0[2], &metadata)
}

/// statx(2).
pub fn sys_statx(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let (flags, mask) = (args.uint(2), args.uint(3));
    let known = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE;
    if flags & !known != 0
        || mask & uapi::STATX__RESERVED != 0
        || flags & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE
    {
        return Err(Errno::EINVAL);
    }
    let metadata = metadata_at(kernel, task, args.int(0), args.0[1], flags)?;
    kernel
        .user(task)
        .write(args.0[4], &Statx::from(&metadata))?;
    DONE
}

/// statfs(2).
pub fn sys_statfs(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let metadata = metadata_at(kernel, task, AT_FDCWD, args.0[0], 0)?;
    write_statfs(kernel, task, args.0[1], &metadata)
}

/// fstatfs(2).
pub fn sys_fstatfs(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let metadata = kernel
        .fs
        .metadata(kernel.fs.inode_of(kernel.table(task), args.int(0))?);
    write_statfs(kernel, task, args.0[1], &metadata)
}

/// With AT_EMPTY_PATH a null pointer is an empty path (Linux since 6.11).
fn metadata_at(
    kernel: &mut Kernel,
    task: TaskId,
    dirfd: i32,
    path: u64,
    flags: u32,
) -> Result<Metadata, Errno> {
    let path = match path {
        0 if flags & AT_EMPTY_PATH != 0 => alloc::vec::Vec::new(),
        address => kernel.read_path(task, address)?,
    };
    Ok(kernel
        .fs
        .metadata(kernel.resolve_at(task, dirfd, &path, flags)?))
}

fn write_stat(
    kernel: &mut Kernel,
    task: TaskId,
    address: u64,
    metadata: &Metadata,
) -> SyscallResult {
    kernel.user(task).write(address, &Stat::from(metadata))?;
    DONE
}

fn write_statfs(
    kernel: &mut Kernel,
    task: TaskId,
    address: u64,
    metadata: &Metadata,
) -> SyscallResult {
    let mut told = Statfs {
        kind: u64::from(metadata.file_system_magic()),
        block_size: PAGE_SIZE,
        name_max: crate::fs::path::NAME_MAX as u64,
        fragment_size: PAGE_SIZE,
        flags: VALID,
        id: metadata.device,
        ..Statfs::default()
    };
    if told.kind == u64::from(uapi::OVERLAYFS_SUPER_MAGIC) {
        let room = kernel.fs.room();
        (told.blocks, told.blocks_free) = (room.pages, room.pages_free);
        told.blocks_available = room.pages_free;
        (told.files, told.files_free) = (room.inodes, room.inodes_free);
    }
    kernel.user(task).write(address, &told)?;
    DONE
}

impl From<&Metadata> for Stat {
    fn from(metadata: &Metadata) -> Self {
        let times = &metadata.times;
        Self {
            device: metadata.device,
            number: metadata.number,
            links: u64::from(metadata.links),
            mode: metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
            rdev: metadata.rdev,
            size: metadata.size,
            block_size: PAGE_SIZE,
            blocks: metadata.blocks,
            times: [times.accessed, times.modified, times.changed].map(pair),
            ..Self::default()
        }
    }
}

impl From<&Metadata> for Statx {
    fn from(metadata: &Metadata) -> Self {
        let times = &metadata.times;
        Self {
            mask: uapi::STATX_BASIC_STATS | uapi::STATX_BTIME,
            block_size: 4096,
            links: metadata.links,
            uid: metadata.uid,
            gid: metadata.gid,
            mode: metadata.mode.to_le_bytes()[..2]
                .iter()
                .rev()
                .fold(0, |mode, byte| mode << 8 | u16::from(*byte)),
            number: metadata.number,
            size: metadata.size,
            blocks: metadata.blocks,
            times: [times.accessed, times.born, times.changed, times.modified].map(pair),
            rdev: major_minor(metadata.rdev),
            device: major_minor(metadata.device),
            ..Self::default()
        }
    }
}

fn pair(time: Timestamp) -> [i64; 2] {
    [time.seconds, i64::from(time.nanoseconds)]
}

/// The inverse of `make_device`.
#[allow(
    clippy::cast_possible_truncation,
    reason = "both are masked to 32 bits"
)]
fn major_minor(device: u64) -> [u32; 2] {
    [
        (device >> 8 & 0xfff | device >> 32 & 0xffff_f000) as u32,
        (device & 0xff | device >> 12 & 0xffff_ff00) as u32,
    ]
}
