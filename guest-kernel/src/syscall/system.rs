//! Calls about the machine: uname, sysinfo, getrandom, arch_prctl, and forkvm's own observe.

use super::{Args, Completion, SyscallResult};
use crate::arch;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::process::task::TaskId;
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::doorbell::{Operation, Request};
use forkvm_abi::layout::USER_END;
use linux_raw_sys::{general as raw, system};
use zerocopy::{Immutable, IntoBytes};

/// forkvm's one addition to the ABI: the host reads where the page at the address in the first argument
/// is and prints it. Linux answers ENOSYS.
pub const FORKVM_OBSERVE: u64 = 0x464b_0001;

/// uname(2).
pub fn sys_uname(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    const FIELD: usize = 65;
    let mut name = [0u8; 6 * FIELD];
    let version = concat!("#1 forkvm ", env!("CARGO_PKG_VERSION"));
    let fields = [
        "Linux",
        "forkvm",
        "6.1.0-forkvm",
        version,
        "x86_64",
        "(none)",
    ];
    for (slot, text) in name.chunks_mut(FIELD).zip(fields) {
        slot[..text.len()].copy_from_slice(text.as_bytes());
    }
    kernel.user(task).write_bytes(args.0[0], &name)?;
    Ok(Completion::Value(0))
}

/// struct sysinfo of x86-64 (sysinfo(2)).
#[repr(C)]
#[derive(IntoBytes, Immutable)]
struct SysInfo {
    uptime: i64,
    loads: [u64; 3],
    totalram: u64,
    freeram: u64,
    sharedram: u64,
    bufferram: u64,
    totalswap: u64,
    freeswap: u64,
    procs: u16,
    pad: [u16; 3],
    totalhigh: u64,
    freehigh: u64,
    mem_unit: u32,
    tail: u32,
}

const _: () = assert!(size_of::<SysInfo>() == size_of::<system::sysinfo>());

/// sysinfo(2).
pub fn sys_sysinfo(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let info = SysInfo {
        uptime: (kernel.clock.monotonic() / crate::time::NANOS).cast_signed(),
        loads: [0; 3],
        totalram: kernel.frames.counters.frames_total * PAGE_SIZE,
        freeram: kernel.frames.available() * PAGE_SIZE,
        sharedram: 0,
        bufferram: 0,
        totalswap: 0,
        freeswap: 0,
        procs: u16::try_from(kernel.tasks.len()).unwrap_or(u16::MAX),
        pad: [0; 3],
        totalhigh: 0,
        freehigh: 0,
        mem_unit: 1,
        tail: 0,
    };
    kernel.user(task).write(args.0[0], &info)?;
    Ok(Completion::Value(0))
}

/// getrandom(2). The generator is seeded from the host's; there is nothing to wait for.
pub fn sys_getrandom(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let known = raw::GRND_NONBLOCK | raw::GRND_RANDOM | raw::GRND_INSECURE;
    let exclusive = raw::GRND_RANDOM | raw::GRND_INSECURE;
    let flags = args.uint(2);
    if flags & !known != 0 || flags & exclusive == exclusive {
        return Err(Errno::EINVAL);
    }
    let wanted = args.0[1].min(0x7fff_f000);
    let mut done = 0;
    while done < wanted {
        let mut chunk = [0u8; 256];
        let len = usize::try_from(wanted - done)
            .unwrap_or(usize::MAX)
            .min(chunk.len());
        kernel.random.fill(&mut chunk[..len]);
        match kernel
            .user(task)
            .write_bytes(args.0[0].wrapping_add(done), &chunk[..len])
        {
            Ok(()) => done += len as u64,
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(Completion::Value(done))
}

/// arch_prctl(2): the segment bases of thread-local storage.
pub fn sys_arch_prctl(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    const ARCH_SET_GS: u32 = 0x1001;
    const ARCH_SET_FS: u32 = 0x1002;
    const ARCH_GET_FS: u32 = 0x1003;
    const ARCH_GET_GS: u32 = 0x1004;
    let value = args.0[1];
    let record = &mut kernel.tasks[task].record;
    arch::save_segment_bases(record);
    match args.uint(0) {
        ARCH_SET_FS | ARCH_SET_GS if value >= USER_END => return Err(Errno::EPERM),
        ARCH_SET_FS => record.fs_base = value,
        ARCH_SET_GS => record.gs_base = value,
        ARCH_GET_FS => {
            let base = record.fs_base;
            kernel.user(task).write(value, &base)?;
        }
        ARCH_GET_GS => {
            let base = record.gs_base;
            kernel.user(task).write(value, &base)?;
        }
        _ => return Err(Errno::EINVAL),
    }
    arch::load_segment_bases(&kernel.tasks[task].record);
    Ok(Completion::Value(0))
}

/// sethostname(2), setdomainname(2): the name is fixed.
pub fn sys_sethostname(_: &mut Kernel, _: TaskId, _: &Args) -> SyscallResult {
    Err(Errno::EPERM)
}

/// forkvm's observe: see [`FORKVM_OBSERVE`].
pub fn observe(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    kernel.fs.flush_console();
    kernel.publish();
    let pid = u64::from(kernel.tasks[task].record.pid);
    arch::ring(Request {
        operation: Operation::Observe as u32,
        args: [pid, args.0[0], 0, 0],
        ..Request::default()
    });
    Ok(Completion::Value(0))
}
