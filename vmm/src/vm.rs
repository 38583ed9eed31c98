//! A virtual machine: how it is put together, and the loop that runs it.
//!
//! The loop has storeys: [`Vm::run`] goes round until something ends it, `run_once` enters the guest once,
//! [`handle_exit`] decides what follows, the bus finds the device.

use crate::boot::{self, BootError, Machine};
use crate::bus::Bus;
use crate::config::VmConfig;
use crate::cpuid::{self, Features};
use crate::devices::console::Console;
use crate::devices::doorbell::Doorbell;
use crate::embedded::KERNEL;
use crate::exit::{End, ExitKind, Fault, Outcome, handle_exit};
use crate::host_events::HostEventLine;
use crate::image::{Image, ImageError};
use crate::kvm::{self, KvmError, failed};
use crate::kvm_stats;
use crate::memory::{AllocationError, GuestRam, LARGE_PAGE, OutsideRam};
use crate::signals::{self, Stop};
use crate::stats::{ExitCounts, Timeline};
use crate::terminal::Terminals;
use crate::vcpu;
use forkvm_abi::layout::HIGH_RAM_GPA;
use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use std::io;
use std::sync::Arc;

/// Why there is no VM.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum BuildError {
    #[error(transparent)]
    Kvm(#[from] KvmError),
    #[error(transparent)]
    Allocation(#[from] AllocationError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Boot(#[from] BootError),
    #[error(transparent)]
    Memory(#[from] OutsideRam),
    #[error("cannot set up signal handling: {0}")]
    Signals(io::Error),
}

/// How a run ended.
#[derive(Debug)]
pub enum Ending {
    /// In good order.
    End(End),
    /// Because the user or the clock said so.
    Stopped(Stop),
    /// Because something is broken.
    Fault(Fault),
}

/// A virtual machine. Fields are dropped in this order: the vCPU and the VM before the memory they use.
#[derive(Debug)]
pub struct Vm {
    /// The one virtual CPU.
    pub vcpu: VcpuFd,
    vm: VmFd,
    bus: Bus,
    /// Guest RAM.
    pub ram: Arc<GuestRam>,
    _image: Image,
    /// What the CPUID table offers.
    pub features: Features,
    /// Frequency of the guest's TSC.
    pub tsc_khz: u64,
    /// Exits so far.
    pub exits: ExitCounts,
    /// When what was done.
    pub timeline: Timeline,
}

impl Vm {
    /// Builds a VM that is ready to run.
    pub fn build(config: &VmConfig, mut timeline: Timeline) -> Result<Self, BuildError> {
        let kvm = kvm::open()?;
        timeline.mark("open KVM");
        let ram = Arc::new(GuestRam::allocate(config.memory)?);
        let image_base = ram.end().max(HIGH_RAM_GPA).next_multiple_of(LARGE_PAGE);
        let image = Image::build(&config.root, image_base)?;
        timeline.mark("root image");
        let vm = kvm::create_vm(&kvm)?;
        timeline.mark("create VM");
        register_memory(&vm, &ram, &image, image_base)?;
        timeline.mark("memory slots");
        let (table, features) = cpuid_table(&kvm)?;
        let vcpu = vcpu::create(&vm, &table, &features, KERNEL.entry, &KERNEL.symbols)?;
        let tsc_khz = vcpu
            .get_tsc_khz()
            .map_err(failed("KVM_GET_TSC_KHZ"))?
            .into();
        timeline.mark("create vCPU");
        let terminals = Terminals::look(config.output_to_stderr);
        let machine = Machine {
            features,
            native_states: cpuid::native_states(),
            tsc_khz,
            image_base,
            terminals,
        };
        boot::prepare(&ram, &KERNEL, &image, &machine, config)?;
        timeline.mark("fill memory");
        let bus = Bus {
            doorbell: Doorbell::new(
                Arc::clone(&ram),
                console(config, HostEventLine::new(&ram, &vm)?),
            ),
        };
        Ok(Self {
            vcpu,
            vm,
            bus,
            ram,
            _image: image,
            features,
            tsc_khz,
            exits: ExitCounts::default(),
            timeline,
        })
    }

    /// Sends the host's signals to this guest, and starts its time limit. The VM must then live as long as the process.
    pub fn take_signals(&mut self, config: &VmConfig) -> Result<(), BuildError> {
        let line = HostEventLine::new(&self.ram, &self.vm)?;
        let immediate_exit = &raw mut self.vcpu.get_kvm_run().immediate_exit;
        // SAFETY: (1) the caller keeps the VM, and with it `kvm_run` and RAM, until the process ends.
        unsafe { signals::route(line, immediate_exit) }.map_err(BuildError::Signals)?;
        config
            .timeout
            .map_or(Ok(()), signals::limit_time)
            .map_err(BuildError::Signals)
    }

    /// Runs the guest to its end.
    pub fn run(&mut self) -> Ending {
        self.timeline.mark("ready");
        let ending = loop {
            match self.run_once() {
                Ok(Outcome::Continue) => {}
                Ok(Outcome::Interrupted) => {
                    if let Some(stop) = signals::stop_requested() {
                        break Ending::Stopped(stop);
                    }
                }
                Ok(Outcome::End(end)) => break Ending::End(end),
                Err(fault) => break Ending::Fault(fault),
            }
        };
        self.timeline.mark("run");
        ending
    }

    /// Enters the guest once and handles its exit.
    fn run_once(&mut self) -> Result<Outcome, Fault> {
        let exit = match self.vcpu.run() {
            Ok(exit) => exit,
            Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => VcpuExit::Intr,
            Err(error) if error.errno() == libc::EFAULT => return Err(Fault::Memory),
            Err(error) => return Err(Fault::Run(error.to_string())),
        };
        self.exits.count(ExitKind::of(&exit));
        handle_exit(&mut self.bus, exit)
    }

    /// What KVM has counted: of the VM, then of the vCPU.
    pub fn kvm_statistics(&self) -> Vec<(String, u64)> {
        let mut counters = kvm_stats::read(&self.vm);
        counters.extend(kvm_stats::read(&self.vcpu));
        counters
    }

    /// The devices, for their statistics.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }
}

/// RAM, and behind it the root image.
fn register_memory(
    vm: &VmFd,
    ram: &GuestRam,
    image: &Image,
    image_base: u64,
) -> Result<(), BuildError> {
    let contents = (image_base, image.contents.len(), image.contents.address());
    for (slot, (guest_phys_addr, memory_size, address)) in
        (0..).zip(ram.regions().chain([contents]))
    {
        let userspace_addr = address as u64;
        let region = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr,
            memory_size,
            userspace_addr,
        };
        // SAFETY: (1) the range is mapped and stays so until the VM is gone: `Vm` drops its descriptors first;
        // (2) ranges of RAM and image do not overlap, so no two slots share memory.
        unsafe { vm.set_user_memory_region(region) }
            .map_err(failed("KVM_SET_USER_MEMORY_REGION"))?;
    }
    Ok(())
}

/// The CPUID table for the guest, from what KVM supports.
fn cpuid_table(kvm: &Kvm) -> Result<(kvm_bindings::CpuId, Features), BuildError> {
    let mut table = kvm
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(failed("KVM_GET_SUPPORTED_CPUID"))?;
    cpuid::describe_one_cpu(&mut table);
    let features = Features::of(&table);
    Ok((table, features))
}

fn console(config: &VmConfig, events: HostEventLine) -> Console {
    let output = if config.output_to_stderr {
        libc::STDERR_FILENO
    } else {
        libc::STDOUT_FILENO
    };
    Console::new(libc::STDIN_FILENO, output, libc::STDERR_FILENO, events)
}
