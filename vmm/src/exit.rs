//! Why KVM_RUN returned, and what follows: every exit has a name and a decision.

use crate::bus::Bus;
use crate::devices::doorbell::RequestError;
use forkvm_abi::boot::PlatformChoice;
use kvm_ioctls::VcpuExit;

/// What the run loop does next.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Run the vCPU again.
    Continue,
    /// A signal interrupted it: see what was asked for, then run it again.
    Interrupted,
    /// The guest is done.
    End(End),
}

/// How a guest ends in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The first program ended, with this wait status (wait(2)).
    Exited(u32),
    /// The kernel gave up; the epitaph says why.
    Panicked,
    /// The self-test rules out the platform that was asked for.
    PlatformRefused(PlatformChoice),
    /// The self-test is done, and nothing else was asked for.
    SelfTested,
}

/// How a guest ends otherwise: the guest kernel, KVM or the host is at fault.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// KVM_EXIT_SHUTDOWN.
    #[error("the guest took a triple fault: the kernel could not even report an exception")]
    TripleFault,
    /// KVM_EXIT_INTERNAL_ERROR.
    #[error("KVM gave up (KVM_EXIT_INTERNAL_ERROR): it cannot execute the guest's instruction")]
    InternalError,
    /// KVM_EXIT_FAIL_ENTRY.
    #[error("the CPU refused the guest's state (KVM_EXIT_FAIL_ENTRY, hardware reason {0:#x})")]
    FailEntry(u64),
    /// The guest stopped for good.
    #[error("the guest halted for ever")]
    Halted,
    /// No device is there.
    #[error("the guest accessed {what} {address:#x}, where nothing is")]
    NoDevice {
        /// Kind of address.
        what: &'static str,
        /// Port or GPA.
        address: u64,
    },
    /// A doorbell request makes no sense.
    #[error("the guest kernel's request is malformed: {0}")]
    Request(#[from] RequestError),
    /// An exit that forkvm never asks KVM for.
    #[error("KVM returned an exit that forkvm did not ask for: {0}")]
    Unexpected(&'static str),
    /// KVM_RUN failed with EFAULT.
    #[error(
        "the host could not provide memory of the guest: out of memory, or the program's file was cut short while it ran"
    )]
    Memory,
    /// KVM_RUN failed.
    #[error("KVM_RUN failed: {0}")]
    Run(String),
}

/// Kinds of exits, for the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ExitKind {
    Doorbell,
    Interrupted,
    Mmio,
    PortIo,
    Halt,
    Shutdown,
    InternalError,
    FailEntry,
    Other,
}

impl ExitKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Doorbell,
        Self::Interrupted,
        Self::Mmio,
        Self::PortIo,
        Self::Halt,
        Self::Shutdown,
        Self::InternalError,
        Self::FailEntry,
        Self::Other,
    ];

    /// Name in tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Doorbell => "doorbell",
            Self::Interrupted => "interrupted",
            Self::Mmio => "mmio",
            Self::PortIo => "port-io",
            Self::Halt => "halt",
            Self::Shutdown => "shutdown",
            Self::InternalError => "internal-error",
            Self::FailEntry => "fail-entry",
            Self::Other => "other",
        }
    }

    /// The kind of an exit.
    pub fn of(exit: &VcpuExit<'_>) -> Self {
        match exit {
            VcpuExit::MmioWrite(address, _) if Bus::is_doorbell(*address) => Self::Doorbell,
            VcpuExit::MmioWrite(..) | VcpuExit::MmioRead(..) => Self::Mmio,
            VcpuExit::IoIn(..) | VcpuExit::IoOut(..) => Self::PortIo,
            VcpuExit::Intr => Self::Interrupted,
            VcpuExit::Hlt => Self::Halt,
            VcpuExit::Shutdown => Self::Shutdown,
            VcpuExit::InternalError => Self::InternalError,
            VcpuExit::FailEntry(..) => Self::FailEntry,
            _ => Self::Other,
        }
    }
}

/// Decides what follows an exit.
pub fn handle_exit(bus: &mut Bus, exit: VcpuExit<'_>) -> Result<Outcome, Fault> {
    match exit {
        VcpuExit::MmioWrite(address, data) => bus.write(address, data),
        VcpuExit::MmioRead(address, _) => Err(Fault::NoDevice {
            what: "guest-physical address",
            address,
        }),
        VcpuExit::IoOut(port, _) | VcpuExit::IoIn(port, _) => Err(Fault::NoDevice {
            what: "port",
            address: port.into(),
        }),
        VcpuExit::Intr => Ok(Outcome::Interrupted),
        VcpuExit::Shutdown => Err(Fault::TripleFault),
        VcpuExit::InternalError => Err(Fault::InternalError),
        VcpuExit::FailEntry(reason, _) => Err(Fault::FailEntry(reason)),
        VcpuExit::Hlt => Err(Fault::Halted),
        VcpuExit::MemoryFault { gpa, .. } => Err(Fault::NoDevice {
            what: "guest-physical address",
            address: gpa,
        }),
        VcpuExit::Exception => Err(Fault::Unexpected("KVM_EXIT_EXCEPTION")),
        VcpuExit::Hypercall(_) => Err(Fault::Unexpected("KVM_EXIT_HYPERCALL")),
        VcpuExit::Debug(_) => Err(Fault::Unexpected("KVM_EXIT_DEBUG")),
        VcpuExit::IrqWindowOpen => Err(Fault::Unexpected("KVM_EXIT_IRQ_WINDOW_OPEN")),
        VcpuExit::SetTpr => Err(Fault::Unexpected("KVM_EXIT_SET_TPR")),
        VcpuExit::TprAccess => Err(Fault::Unexpected("KVM_EXIT_TPR_ACCESS")),
        VcpuExit::Nmi => Err(Fault::Unexpected("KVM_EXIT_NMI")),
        VcpuExit::Watchdog => Err(Fault::Unexpected("KVM_EXIT_WATCHDOG")),
        VcpuExit::SystemEvent(..) => Err(Fault::Unexpected("KVM_EXIT_SYSTEM_EVENT")),
        VcpuExit::IoapicEoi(_) => Err(Fault::Unexpected("KVM_EXIT_IOAPIC_EOI")),
        VcpuExit::Hyperv => Err(Fault::Unexpected("KVM_EXIT_HYPERV")),
        VcpuExit::X86Rdmsr(_) => Err(Fault::Unexpected("KVM_EXIT_X86_RDMSR")),
        VcpuExit::X86Wrmsr(_) => Err(Fault::Unexpected("KVM_EXIT_X86_WRMSR")),
        VcpuExit::Unknown => Err(Fault::Unexpected("KVM_EXIT_UNKNOWN")),
        VcpuExit::S390Sieic
        | VcpuExit::S390Reset
        | VcpuExit::S390Ucontrol
        | VcpuExit::S390Tsch
        | VcpuExit::S390Stsi
        | VcpuExit::Dcr
        | VcpuExit::Osi
        | VcpuExit::PaprHcall
        | VcpuExit::Epr => Err(Fault::Unexpected("an exit of another architecture")),
        VcpuExit::Unsupported(_) => Err(Fault::Unexpected("an exit newer than forkvm")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::console::Console;
    use crate::devices::doorbell::Doorbell;
    use crate::host_events::HostEventLine;
    use crate::memory::GuestRam;
    use forkvm_abi::doorbell::{Operation, Request};
    use forkvm_abi::layout::{DOORBELL_GPA, REQUEST_GPA};
    use std::fs::File;
    use std::sync::Arc;

    fn bus() -> (Bus, Arc<GuestRam>) {
        let ram = Arc::new(GuestRam::allocate(16 << 20).unwrap());
        let events = HostEventLine::new(&ram, &File::open("/dev/null").unwrap()).unwrap();
        (
            Bus {
                doorbell: Doorbell::new(Arc::clone(&ram), Console::new(-1, -1, -1, events)),
            },
            ram,
        )
    }

    #[test]
    fn a_ring_is_served() {
        let (mut bus, ram) = bus();
        let request = Request {
            operation: Operation::Exit as u32,
            args: [7 << 8, 0, 0, 0],
            ..Request::default()
        };
        ram.write(REQUEST_GPA, &request).unwrap();
        let outcome = handle_exit(
            &mut bus,
            VcpuExit::MmioWrite(DOORBELL_GPA, &REQUEST_GPA.to_le_bytes()),
        );
        assert_eq!(outcome, Ok(Outcome::End(End::Exited(7 << 8))));
        assert_eq!(bus.doorbell.count(Operation::Exit), 1);
    }

    #[test]
    fn an_interrupted_run_goes_on() {
        assert_eq!(
            handle_exit(&mut bus().0, VcpuExit::Intr),
            Ok(Outcome::Interrupted)
        );
    }

    #[test]
    fn accesses_to_nothing_end_the_guest() {
        let (mut bus, _) = bus();
        let nowhere = |what, address| Err(Fault::NoDevice { what, address });
        assert_eq!(
            handle_exit(&mut bus, VcpuExit::MmioWrite(0xe000_0000, &[0])),
            nowhere("guest-physical address", 0xe000_0000)
        );
        assert_eq!(
            handle_exit(&mut bus, VcpuExit::MmioRead(DOORBELL_GPA, &mut [0])),
            nowhere("guest-physical address", DOORBELL_GPA)
        );
        assert_eq!(
            handle_exit(&mut bus, VcpuExit::IoOut(0x80, &[0])),
            nowhere("port", 0x80)
        );
        assert_eq!(
            handle_exit(&mut bus, VcpuExit::IoIn(0x64, &mut [0])),
            nowhere("port", 0x64)
        );
    }

    #[test]
    fn failures_of_guest_and_kvm_have_names() {
        let (mut bus, _) = bus();
        assert_eq!(
            handle_exit(&mut bus, VcpuExit::Shutdown),
            Err(Fault::TripleFault)
        );
        assert_eq!(
            handle_exit(&mut bus, VcpuExit::InternalError),
            Err(Fault::InternalError)
        );
        assert_eq!(
            handle_exit(&mut bus, VcpuExit::FailEntry(0x80, 0)),
            Err(Fault::FailEntry(0x80))
        );
        assert_eq!(handle_exit(&mut bus, VcpuExit::Hlt), Err(Fault::Halted));
        assert_eq!(
            handle_exit(&mut bus, VcpuExit::Unknown),
            Err(Fault::Unexpected("KVM_EXIT_UNKNOWN"))
        );
    }

    #[test]
    fn exits_are_counted_by_kind() {
        let kinds = [
            (VcpuExit::MmioWrite(DOORBELL_GPA, &[]), "doorbell"),
            (VcpuExit::MmioWrite(0, &[]), "mmio"),
            (VcpuExit::Intr, "interrupted"),
            (VcpuExit::Hyperv, "other"),
        ];
        for (exit, name) in kinds {
            assert_eq!(ExitKind::of(&exit).name(), name);
        }
        let numbers: Vec<usize> = ExitKind::ALL
            .into_iter()
            .map(|kind| kind as usize)
            .collect();
        assert_eq!(numbers, (0..ExitKind::ALL.len()).collect::<Vec<_>>());
    }
}
