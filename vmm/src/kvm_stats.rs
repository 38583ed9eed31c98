//! KVM's own statistics of a VM and its vCPU: exits that never reach the VMM, page faults of shadow paging, and the like.
//!
//! The layout describes itself (Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD): a header,
//! descriptors with names, values. Linux has it since 5.14; where it is missing, there is nothing to tell.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;

/// `_IO(KVMIO, 0xce)`, linux/kvm.h.
const KVM_GET_STATS_FD: libc::c_ulong = 0xaece;
/// Bytes of `struct kvm_stats_header`, and of `struct kvm_stats_desc` without its name.
const HEADER: usize = 24;
const DESCRIPTOR: usize = 16;
/// More than any KVM has; keeps a misread layout from growing the VMM.
const MAX_DESCRIPTORS: usize = 1024;
const MAX_NAME: usize = 256;

/// Counters that are not zero, by name, of a VM's or vCPU's descriptor.
pub fn read(of: &impl AsRawFd) -> Vec<(String, u64)> {
    open(of).and_then(|file| parse(&file)).unwrap_or_default()
}

fn open(of: &impl AsRawFd) -> Option<File> {
    // SAFETY: (1) the ioctl takes no argument and makes a new descriptor or fails.
    let descriptor = unsafe { libc::ioctl(of.as_raw_fd(), KVM_GET_STATS_FD) };
    // SAFETY: (1) the descriptor is new and nobody else's.
    (descriptor >= 0).then(|| unsafe { File::from_raw_fd(descriptor) })
}

fn parse(file: &File) -> Option<Vec<(String, u64)>> {
    let header = bytes(file, 0, HEADER)?;
    let [name_size, count] = [4, 8].map(|at| u32_at(&header, at) as usize);
    let [descriptors_at, data_at] = [16, 20].map(|at| u64::from(u32_at(&header, at)));
    if name_size > MAX_NAME || count > MAX_DESCRIPTORS {
        return None;
    }
    let size = DESCRIPTOR + name_size;
    let descriptors = bytes(file, descriptors_at, count * size)?;
    let counters = descriptors.chunks_exact(size).filter_map(|descriptor| {
        let values = u16::from_le_bytes([descriptor[6], descriptor[7]]);
        let name = descriptor[DESCRIPTOR..].split(|byte| *byte == 0).next()?;
        let value = bytes(file, data_at + u64::from(u32_at(descriptor, 8)), 8)?;
        let value = u64::from_le_bytes(value.try_into().ok()?);
        // Histograms have many values; a sum of them would say little.
        (values == 1 && value != 0).then(|| (String::from_utf8_lossy(name).into_owned(), value))
    });
    Some(counters.collect())
}

fn bytes(file: &File, offset: u64, len: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
