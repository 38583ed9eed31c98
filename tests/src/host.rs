//! What kind of KVM this machine has, and so which platforms a test runs on.

use crate::vm::{Vm, run_forkvm};
use serde_json::Value;
use std::path::Path;
use std::sync::OnceLock;

/// Kind of KVM host, as `forkvm doctor` finds out by running the kernel's self-test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKind {
    /// VMX or SVM underneath.
    Hardware,
    /// Ring 0 is emulated.
    SoftwareAssisted,
}

/// Where the guest kernel runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// In ring 0.
    Ring0,
    /// In ring 3, above the monitor.
    Monitor,
}

impl Platform {
    /// As `--platform` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ring0 => "ring0",
            Self::Monitor => "monitor",
        }
    }
}

/// The verdict of `forkvm doctor --json`, asked for once.
pub fn kind() -> HostKind {
    static KIND: OnceLock<HostKind> = OnceLock::new();
    *KIND.get_or_init(|| {
        let doctor = run_forkvm(&["doctor", "--json"]);
        let findings: Value = serde_json::from_slice(&doctor.stdout).unwrap_or_else(|error| {
            panic!("forkvm doctor --json printed no JSON ({error}):\n{doctor}")
        });
        match findings["host"].as_str() {
            Some("hardware") => HostKind::Hardware,
            Some("software-assisted") => HostKind::SoftwareAssisted,
            _ => panic!("forkvm doctor could not tell the kind of this host:\n{doctor}"),
        }
    })
}

/// The platforms that work here; all of them are tested. None without `/dev/kvm`, if that has been allowed
/// by `FORKVM_TESTS_WITHOUT_KVM=skip`.
pub fn platforms() -> &'static [Platform] {
    if !Path::new("/dev/kvm").exists() {
        let allowed = std::env::var("FORKVM_TESTS_WITHOUT_KVM").is_ok_and(|word| word == "skip");
        assert!(
            allowed,
            "This machine has no /dev/kvm, so nothing can be tested here. \
             Set FORKVM_TESTS_WITHOUT_KVM=skip to skip the boot tests."
        );
        eprintln!("skipped: this machine has no /dev/kvm");
        return &[];
    }
    match kind() {
        HostKind::Hardware => &[Platform::Ring0, Platform::Monitor],
        HostKind::SoftwareAssisted => &[Platform::Monitor],
    }
}

/// Runs a test on every platform that works here.
pub fn on_each_platform(test: impl Fn(Vm)) {
    for &platform in platforms() {
        // Shown only if the test fails.
        println!("platform {}", platform.name());
        test(Vm::new(platform));
    }
}
