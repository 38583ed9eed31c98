//! Memory calls: mmap, munmap, mprotect, mremap, madvise, msync, mincore, brk.
//!
//! Decodes Linux's arguments; the work is in [`crate::memory`].

use super::{Args, Completion, SyscallResult};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::memory::Access;
use crate::memory::address::page_up;
use crate::memory::map::{MapRequest, Placement};
use crate::memory::space::{Backing, Protection};
use crate::memory::vma::{NEVER_WRITE, NO_RESERVE};
use crate::process::task::TaskId;
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::inspect::vma as flag;
use linux_raw_sys::general as raw;

/// mmap(2): address, length, protection, flags, descriptor, offset.
pub fn sys_mmap(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let [address, len, _, _, _, offset] = args.0;
    let (prot, flags) = (args.uint(2), args.uint(3));
    if !offset.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    let (backing, access) = if flags & raw::MAP_ANONYMOUS != 0 {
        (Backing::Anonymous, raw::O_RDWR)
    } else {
        let table = kernel.tasks[task].files.ok_or(Errno::EBADF)?;
        let shared = flags & raw::MAP_TYPE != raw::MAP_PRIVATE;
        kernel.fs.mapping(table, args.int(4), offset, shared)?
    };
    let request = MapRequest {
        placement: placement(address, flags),
        len,
        protection: protection(prot),
        flags: region_flags(flags, prot, &backing, access)?,
        backing,
    };

    let user = kernel.user(task);
    let start = user.space.map(user.frames, &request)?;
    let populate =
        flags & (raw::MAP_POPULATE | raw::MAP_LOCKED) != 0 && flags & raw::MAP_NONBLOCK == 0;
    if populate && prot != 0 {
        let access = if prot & raw::PROT_WRITE != 0 {
            Access::Write
        } else {
            Access::Read
        };
        // Populating is a favour: mmap(2) does not fail for want of it.
        let _ = user.space.populate(user.frames, start, len, access);
    }
    Ok(Completion::Value(start))
}

fn placement(address: u64, flags: u32) -> Placement {
    if flags & raw::MAP_FIXED_NOREPLACE != 0 {
        Placement::FixedNoReplace(address)
    } else if flags & raw::MAP_FIXED != 0 {
        Placement::Fixed(address)
    } else {
        Placement::Hint(address)
    }
}

/// Flags of the region to be. EINVAL for a type mmap(2) does not know; EACCES for what the file is not open
/// for; EOPNOTSUPP for what MAP_SHARED_VALIDATE must refuse.
fn region_flags(flags: u32, prot: u32, backing: &Backing, access: u32) -> Result<u64, Errno> {
    let is_file = matches!(backing, Backing::Image { .. } | Backing::File { .. });
    let mut region = match flags & raw::MAP_TYPE {
        raw::MAP_PRIVATE => 0,
        raw::MAP_SHARED => flag::SHARED,
        raw::MAP_SHARED_VALIDATE if is_file && flags & raw::MAP_SYNC == 0 => flag::SHARED,
        raw::MAP_SHARED_VALIDATE if is_file => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::EINVAL),
    };
    if access == raw::O_WRONLY {
        return Err(Errno::EACCES);
    }
    if region == flag::SHARED && access == raw::O_RDONLY {
        if prot & raw::PROT_WRITE != 0 {
            return Err(Errno::EACCES);
        }
        region |= NEVER_WRITE;
    }
    if flags & raw::MAP_GROWSDOWN != 0 {
        if is_file || region & flag::SHARED != 0 {
            return Err(Errno::EINVAL);
        }
        region |= flag::GROWS_DOWN;
    }
    if flags & raw::MAP_NORESERVE != 0 {
        region |= NO_RESERVE;
    }
    Ok(region)
}

/// PROT_* as flags of a region; the numbers are the same.
fn protection(prot: u32) -> Protection {
    u64::from(prot & (raw::PROT_READ | raw::PROT_WRITE | raw::PROT_EXEC))
}

const _: () = assert!(
    raw::PROT_READ as u64 == flag::READ
        && raw::PROT_WRITE as u64 == flag::WRITE
        && raw::PROT_EXEC as u64 == flag::EXEC
);

/// munmap(2).
pub fn sys_munmap(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let user = kernel.user(task);
    user.space.unmap(user.frames, args.0[0], args.0[1])?;
    Ok(Completion::Value(0))
}

/// mprotect(2). PROT_GROWSDOWN extends the change to the start of the stack it begins in.
pub fn sys_mprotect(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let [mut address, mut len, ..] = args.0;
    let prot = args.uint(2);
    let known = raw::PROT_READ | raw::PROT_WRITE | raw::PROT_EXEC | raw::PROT_SEM;
    if prot & !(known | raw::PROT_GROWSDOWN) != 0 {
        return Err(Errno::EINVAL);
    }
    let user = kernel.user(task);
    if prot & raw::PROT_GROWSDOWN != 0 {
        let stack = user.space.vma_at(address).ok_or(Errno::ENOMEM)?;
        if !stack.has(flag::GROWS_DOWN) {
            return Err(Errno::EINVAL);
        }
        len = len.saturating_add(address - stack.start());
        address = stack.start();
    }
    user.space
        .protect(user.frames, address, len, protection(prot))?;
    Ok(Completion::Value(0))
}

/// mremap(2): old address, old length, new length, flags, new address.
pub fn sys_mremap(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let [old, old_len, new_len, _, new, _] = args.0;
    let user = kernel.user(task);
    let address = user
        .space
        .remap(user.frames, old, old_len, new_len, args.uint(3), new)?;
    Ok(Completion::Value(address))
}

/// madvise(2).
pub fn sys_madvise(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let user = kernel.user(task);
    user.space
        .advise(user.frames, args.0[0], args.0[1], args.uint(2))?;
    Ok(Completion::Value(0))
}

/// msync(2): nothing is ever behind memory.
pub fn sys_msync(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let flags = args.uint(2);
    let both = raw::MS_ASYNC | raw::MS_SYNC;
    let is_unknown = flags & !(both | raw::MS_INVALIDATE) != 0;
    if is_unknown || flags & both == both || !args.0[0].is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    kernel.user(task).space.sync(args.0[0], args.0[1])?;
    Ok(Completion::Value(0))
}

/// mincore(2): one byte a page, bit 0 set for a resident one.
pub fn sys_mincore(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let [address, len, vector, ..] = args.0;
    if !address.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    let end = page_up(len)
        .and_then(|len| address.checked_add(len))
        .ok_or(Errno::ENOMEM)?;
    let mut user = kernel.user(task);
    let mut page = address;
    while page < end {
        let resident = user.space.is_resident(user.frames, page)?;
        user.write_bytes(
            vector.wrapping_add((page - address) / PAGE_SIZE),
            &[u8::from(resident)],
        )?;
        page += PAGE_SIZE;
    }
    Ok(Completion::Value(0))
}

/// brk(2): the break that is in force now.
pub fn sys_brk(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let user = kernel.user(task);
    Ok(Completion::Value(
        user.space.set_break(user.frames, args.0[0]),
    ))
}
