//! `forkvm doctor`: can this machine run forkvm, how, and what would help.
//!
//! The verdict is the guest's: its boot self-test runs for real, in a VM of its own.

use crate::cli::DoctorArgs;
use crate::config::{MIN_MEMORY, VmConfig};
use crate::epitaph;
use crate::exit::End;
use crate::inspect::kernel_info;
use crate::kvm::{self, REQUIRED};
use crate::report::{host_name, platform_name};
use crate::root::Tree;
use crate::say::answer;
use crate::stats::Timeline;
use crate::vm::{Ending, Vm};
use forkvm_abi::boot::{PlatformChoice, feature};
use forkvm_abi::inspect::HostKind;
use serde_json::{Value, json};
use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

/// Features of the CPU that the kernel uses where KVM offers them, and what it does otherwise.
const OPTIONAL: [(u64, &str, &str); 7] = [
    (
        feature::XSAVE,
        "XSAVE",
        "processes have x87 and SSE registers only",
    ),
    (
        feature::XSAVEOPT,
        "XSAVEOPT",
        "saving vector registers writes more",
    ),
    (
        feature::FSGSBASE,
        "FSGSBASE",
        "thread pointers are set by a system call",
    ),
    (
        feature::SMEP,
        "SMEP",
        "the CPU does not guard the kernel against executing user pages",
    ),
    (
        feature::SMAP,
        "SMAP",
        "the CPU does not guard the kernel against touching user pages",
    ),
    (
        feature::UMIP,
        "UMIP",
        "programs can read the addresses of the descriptor tables",
    ),
    (
        feature::INVARIANT_TSC,
        "invariant TSC",
        "clocks may drift when the CPU changes its speed",
    ),
];
/// The self-test needs milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was found.
#[derive(Debug, Default)]
struct Findings {
    /// Sentences: why forkvm cannot run here.
    obstacles: Vec<String>,
    /// Names of missing capabilities.
    missing: Vec<&'static str>,
    /// Kind of host by the self-test.
    host: Option<HostKind>,
    platform: &'static str,
    /// Bits of [`feature`].
    features: u64,
    tsc_khz: u64,
    start: Duration,
}

/// Runs the command; 0 if forkvm can run here, 1 if not.
pub fn main(args: &DoctorArgs) -> u8 {
    let findings = examine();
    if args.json {
        answer(findings.json());
    } else {
        answer(findings.text());
    }
    u8::from(!findings.obstacles.is_empty())
}

fn examine() -> Findings {
    let mut findings = Findings {
        platform: "none",
        ..Findings::default()
    };
    match kvm::open_device() {
        Ok(kvm) => findings.missing.extend(
            REQUIRED
                .iter()
                .filter(|(cap, _)| !kvm.check_extension(*cap))
                .map(|(_, name)| *name),
        ),
        Err(error) => {
            findings.obstacles.push(error.to_string());
            return findings;
        }
    }
    if let Err(obstacle) = findings.self_test() {
        findings.obstacles.push(obstacle);
    }
    findings
}

impl Findings {
    /// Boots the guest kernel for its self-test and reads the verdict.
    fn self_test(&mut self) -> Result<(), String> {
        let began = Instant::now();
        let config = VmConfig {
            memory: MIN_MEMORY,
            platform: PlatformChoice::Auto,
            root: Tree::default(),
            launch: None,
            exit_with_first: true,
            verbose: false,
            timeout: Some(PATIENCE),
            output_to_stderr: true,
        };
        let mut vm = ManuallyDrop::new(
            Vm::build(&config, Timeline::start()).map_err(|error| error.to_string())?,
        );
        (self.features, self.tsc_khz) = (vm.features.bits, vm.tsc_khz);
        vm.take_signals(&config)
            .map_err(|error| error.to_string())?;
        match vm.run() {
            Ending::End(End::SelfTested) => {}
            Ending::End(End::Panicked) => return Err(epitaph::of_kernel(&vm.ram)),
            Ending::End(end) => return Err(format!("the self-test ended unexpectedly: {end:?}")),
            Ending::Stopped(_) => return Err("the self-test did not end in time".to_owned()),
            Ending::Fault(fault) => return Err(format!("{fault}\n{}", epitaph::of_vcpu(&vm))),
        }
        self.start = began.elapsed();
        let info = kernel_info(&vm.ram).map_err(|error| error.to_string())?;
        self.host = HostKind::try_from(info.host_kind).ok();
        self.platform = platform_name(info.platform);
        Ok(())
    }

    fn host_name(&self) -> &'static str {
        host_name(self.host.map_or(0, |kind| kind as u32))
    }

    fn lacking(&self) -> impl Iterator<Item = &(u64, &'static str, &'static str)> {
        OPTIONAL.iter().filter(|(bit, ..)| self.features & bit == 0)
    }

    fn text(&self) -> String {
        let mut lines = Vec::new();
        if !self.missing.is_empty() {
            lines.push(format!("missing from KVM    {}", self.missing.join(", ")));
        }
        if let Some(kind) = self.host {
            let meaning = match kind {
                HostKind::Hardware => "the CPU's virtualisation runs the guest kernel in ring 0",
                HostKind::SoftwareAssisted => {
                    "KVM emulates ring 0, so the guest kernel runs in ring 3 above a monitor"
                }
                HostKind::Unknown => "the self-test could not tell",
            };
            lines.push(format!(
                "kind of KVM         {}: {meaning}",
                self.host_name()
            ));
            lines.push(format!("platform            {}", self.platform));
            lines.push(format!(
                "clock               TSC at {} MHz",
                self.tsc_khz / 1000
            ));
            lines.push(format!(
                "VM start            {:.1} ms",
                self.start.as_secs_f64() * 1e3
            ));
            lines.extend(self.advice(kind));
        }
        lines.extend(
            self.obstacles
                .iter()
                .map(|obstacle| format!("obstacle            {}", obstacle.trim_end())),
        );
        let verdict = if self.obstacles.is_empty() {
            "forkvm can run here."
        } else {
            "forkvm cannot run here."
        };
        lines.push(verdict.to_owned());
        lines.join("\n")
    }

    /// What is missing, and what it would be good for.
    fn advice(&self, kind: HostKind) -> Vec<String> {
        if kind == HostKind::SoftwareAssisted {
            // Ring 3 sees and uses the physical CPU there, whatever KVM's table says.
            return vec![
                "CPU features        programs and the kernel use the physical CPU's own".to_owned(),
                "faster would be     a machine whose CPU virtualises: bare metal, or nested virtualisation switched on".to_owned(),
            ];
        }
        self.lacking()
            .map(|(_, name, consequence)| format!("not offered         {name}: {consequence}"))
            .collect()
    }

    fn json(&self) -> Value {
        json!({
            "ok": self.obstacles.is_empty(),
            "obstacles": self.obstacles,
            "missing_capabilities": self.missing,
            "host": self.host_name(),
            "platform": self.platform,
            "features": OPTIONAL.iter().filter(|(bit, ..)| self.features & bit != 0).map(|(_, name, _)| *name).collect::<Vec<_>>(),
            "missing_features": self.lacking().map(|(_, name, _)| *name).collect::<Vec<_>>(),
            "tsc_khz": self.tsc_khz,
            "start_us": u64::try_from(self.start.as_micros()).unwrap_or(u64::MAX),
        })
    }
}
