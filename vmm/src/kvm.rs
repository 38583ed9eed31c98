//! Opens /dev/kvm and checks that it can do what forkvm needs.
//!
//! Every error is a sentence that says what is missing and what to do about it.

use kvm_ioctls::{Cap, Kvm, VmFd};
use std::io;

/// KVM's stable API version (linux/kvm.h, KVM_API_VERSION).
const API_VERSION: i32 = 12;

/// What forkvm cannot do without, and what the kernel calls it.
pub const REQUIRED: [(Cap, &str); 7] = [
    (Cap::Irqchip, "KVM_CAP_IRQCHIP"),
    (Cap::UserMemory, "KVM_CAP_USER_MEMORY"),
    (Cap::ExtCpuid, "KVM_CAP_EXT_CPUID"),
    (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"),
    (Cap::SignalMsi, "KVM_CAP_SIGNAL_MSI"),
    (Cap::GetTscKhz, "KVM_CAP_GET_TSC_KHZ"),
    (Cap::SplitIrqchip, "KVM_CAP_SPLIT_IRQCHIP"),
];

/// Why KVM cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KvmError {
    /// The device node does not exist.
    #[error(
        "there is no /dev/kvm: load the kvm_intel or kvm_amd module (modprobe kvm_intel), switch on virtualisation in the firmware, or, inside a virtual machine, nested virtualisation"
    )]
    Missing,
    /// Not allowed to open it.
    #[error(
        "no permission to open /dev/kvm: join the group that owns it (sudo usermod -aG kvm $USER, then log in again)"
    )]
    Permission,
    /// Any other failure to open it.
    #[error("/dev/kvm cannot be opened: {0}")]
    Open(io::Error),
    /// Not the API of the last fifteen years.
    #[error(
        "/dev/kvm speaks API version {0}, forkvm speaks {API_VERSION}: use a Linux kernel from 2.6.22 on"
    )]
    Version(i32),
    /// A capability is missing.
    #[error("this KVM lacks {0}, which forkvm needs: use Linux 5.10 or newer")]
    Capability(&'static str),
    /// An ioctl failed.
    #[error("{operation} failed: {source}")]
    Ioctl {
        /// Name of the ioctl.
        operation: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Turns an errno of kvm-ioctls into a sentence.
pub(crate) fn failed(operation: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> KvmError {
    move |error| KvmError::Ioctl {
        operation,
        source: error.into(),
    }
}

/// An open /dev/kvm with all required capabilities.
pub fn open() -> Result<Kvm, KvmError> {
    let kvm = open_device()?;
    let version = kvm.get_api_version();
    if version != API_VERSION {
        return Err(KvmError::Version(version));
    }
    match REQUIRED
        .iter()
        .find(|(capability, _)| !kvm.check_extension(*capability))
    {
        Some((_, name)) => Err(KvmError::Capability(name)),
        None => Ok(kvm),
    }
}

/// Opens the device, whatever it can do.
pub fn open_device() -> Result<Kvm, KvmError> {
    Kvm::new().map_err(|error| match error.errno() {
        libc::ENOENT | libc::ENXIO | libc::ENODEV => KvmError::Missing,
        libc::EACCES | libc::EPERM => KvmError::Permission,
        _ => KvmError::Open(error.into()),
    })
}

/// A VM with an in-kernel local APIC and no other interrupt controller: forkvm has no
/// interrupt lines, and the host makes such a VM faster than one with PIC and IO-APIC.
pub fn create_vm(kvm: &Kvm) -> Result<VmFd, KvmError> {
    let vm = kvm.create_vm().map_err(failed("KVM_CREATE_VM"))?;
    let mut split = kvm_bindings::kvm_enable_cap {
        cap: kvm_bindings::KVM_CAP_SPLIT_IRQCHIP,
        ..Default::default()
    };
    split.args[0] = 0;
    vm.enable_cap(&split)
        .map_err(failed("KVM_ENABLE_CAP(KVM_CAP_SPLIT_IRQCHIP)"))?;
    Ok(vm)
}
