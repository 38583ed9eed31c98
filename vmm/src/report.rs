//! The figures of a run, as a table for people and as JSON for programs.
//!
//! Everything counted in the guest comes from the kernel's own record in guest memory.

use crate::exit::End;
use crate::inspect::kernel_info;
use crate::signals::Stop;
use crate::vm::{Ending, Vm};
use forkvm_abi::boot::PlatformChoice;
use forkvm_abi::doorbell::Operation;
use forkvm_abi::inspect::{Counters, HostKind};
use serde_json::{Map, Value, json};
use std::ffi::OsStr;
use std::fmt;
use std::time::Duration;

/// What there is to say about a run.
#[derive(Debug)]
pub struct Report {
    name: String,
    program: String,
    end: Value,
    status: u8,
    host: &'static str,
    platform: &'static str,
    memory: u64,
    tsc_khz: u64,
    phases: Vec<(&'static str, Duration)>,
    exits: Vec<(&'static str, u64)>,
    requests: Vec<(&'static str, u64)>,
    kvm: Vec<(String, u64)>,
    counters: Option<Counters>,
}

impl Report {
    /// Gathers the figures of a VM that has ended.
    pub fn new(name: String, program: &OsStr, ending: &Ending, status: u8, vm: &Vm) -> Self {
        let info = kernel_info(&vm.ram).ok();
        let doorbell = &vm.bus().doorbell;
        let requests = REQUESTS
            .into_iter()
            .map(|(operation, name)| (name, doorbell.count(operation)));
        Self {
            name,
            program: program.to_string_lossy().into_owned(),
            end: end(ending),
            status,
            host: host_name(info.map_or(0, |info| info.host_kind)),
            platform: platform_name(info.map_or(0, |info| info.platform)),
            memory: vm.ram.low.len + vm.ram.high.len,
            tsc_khz: vm.tsc_khz,
            phases: vm.timeline.phases().to_vec(),
            exits: vm.exits.iter().collect(),
            requests: requests.filter(|(_, count)| *count > 0).collect(),
            kvm: vm.kvm_statistics(),
            counters: info.map(|info| info.counters),
        }
    }

    /// One JSON object; addresses would be strings, counts are numbers, times are in microseconds.
    pub fn json(&self) -> Value {
        let object = |pairs: &[(&str, u64)]| {
            pairs
                .iter()
                .map(|(name, count)| ((*name).to_owned(), json!(count)))
                .collect::<Map<_, _>>()
        };
        let phases: Map<_, _> = self
            .phases
            .iter()
            .map(|(name, time)| (name.replace(' ', "_"), json!(micros(*time))))
            .collect();
        let mut summary = json!({
            "name": self.name,
            "program": self.program,
            "end": self.end,
            "status": self.status,
            "host": self.host,
            "platform": self.platform,
            "memory": self.memory,
            "wall_us": micros(self.phases.iter().map(|(_, time)| *time).sum()),
            "phases_us": phases,
            "exits": object(&self.exits),
            "requests": object(&self.requests),
            "kvm": self.kvm.iter().map(|(name, count)| (name.clone(), json!(count))).collect::<Map<_, _>>(),
        });
        if let Some(counters) = &self.counters {
            let mut counted = object(&counts(counters));
            for (name, ticks) in times(counters) {
                counted.insert(format!("{name}_us"), json!(self.micros_of_ticks(ticks)));
            }
            summary["guest"] = counted.into();
        }
        summary
    }

    /// The guest's counters are hostile numbers too: nothing here may overflow or divide by zero.
    fn micros_of_ticks(&self, ticks: u64) -> u64 {
        u64::try_from(u128::from(ticks) * 1000 / u128::from(self.tsc_khz.max(1)))
            .unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "forkvm: statistics of {} ({} KVM, platform {})",
            self.program, self.host, self.platform
        )?;
        section(
            out,
            "wall time, us",
            self.phases
                .iter()
                .map(|(name, time)| (*name, micros(*time))),
        )?;
        section(out, "exits to the VMM", self.exits.iter().copied())?;
        section(out, "doorbell requests", self.requests.iter().copied())?;
        let kvm = self.kvm.iter();
        section(
            out,
            "counted by KVM",
            kvm.map(|(name, count)| (name.as_str(), *count)),
        )?;
        if let Some(counters) = &self.counters {
            section(
                out,
                "guest time, us",
                times(counters).map(|(name, ticks)| (name, self.micros_of_ticks(ticks))),
            )?;
            section(
                out,
                "guest events",
                counts(counters).map(|(name, count)| (name, count)),
            )?;
        }
        Ok(())
    }
}

fn section<'a>(
    out: &mut fmt::Formatter<'_>,
    title: &str,
    lines: impl IntoIterator<Item = (&'a str, u64)>,
) -> fmt::Result {
    writeln!(out, "  {title}")?;
    lines
        .into_iter()
        .try_for_each(|(name, value)| writeln!(out, "    {name:<18} {value:>12}"))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Requests as tables and JSON call them.
const REQUESTS: [(Operation, &str); 9] = [
    (Operation::ConsoleWrite, "console-write"),
    (Operation::ConsoleRead, "console-read"),
    (Operation::Exit, "exit"),
    (Operation::Panic, "panic"),
    (Operation::Log, "log"),
    (Operation::Observe, "observe"),
    (Operation::PlatformRefused, "platform-refused"),
    (Operation::SelfTestDone, "self-test-done"),
    (Operation::Milestone, "milestone"),
];

fn counts(counters: &Counters) -> [(&'static str, u64); 18] {
    [
        ("traps", counters.traps),
        ("syscalls", counters.syscalls),
        ("faults", counters.faults),
        ("interrupts", counters.interrupts),
        ("forks", counters.forks),
        ("vforks", counters.vforks),
        ("execs", counters.execs),
        ("exits", counters.exits),
        ("cow_copies", counters.cow_copies),
        ("cow_reuses", counters.cow_reuses),
        ("cow_armed", counters.cow_armed),
        ("demand_zero", counters.demand_zero),
        ("switches", counters.switches),
        ("frames_used", counters.frames_used),
        ("frames_peak", counters.frames_peak),
        ("frames_total", counters.frames_total),
        ("heap_bytes", counters.heap_bytes),
        ("oom_kills", counters.oom_kills),
    ]
}

/// In TSC ticks.
fn times(counters: &Counters) -> [(&'static str, u64); 4] {
    let first_user = counters.first_user_tsc.saturating_sub(counters.boot_tsc);
    [
        ("boot", first_user),
        ("user", counters.user_ticks),
        ("kernel", counters.kernel_ticks),
        ("idle", counters.idle_ticks),
    ]
}

fn end(ending: &Ending) -> Value {
    match ending {
        Ending::End(End::Exited(status)) if status & 0x7f == 0 => {
            json!({ "exited": status >> 8 & 0xff })
        }
        Ending::End(End::Exited(status)) => {
            json!({ "signal": status & 0x7f, "core": status & 0x80 != 0 })
        }
        Ending::End(End::Panicked) => json!("panic"),
        Ending::End(End::PlatformRefused(_)) => json!("platform-refused"),
        Ending::End(End::SelfTested) => json!("self-tested"),
        Ending::Stopped(Stop::Timeout) => json!("timeout"),
        Ending::Stopped(Stop::Interrupted) => json!("interrupted"),
        Ending::Fault(fault) => json!({ "fault": fault.to_string() }),
    }
}

/// Name of a [`HostKind`].
pub fn host_name(kind: u32) -> &'static str {
    match HostKind::try_from(kind) {
        Ok(HostKind::Hardware) => "hardware",
        Ok(HostKind::SoftwareAssisted) => "software-assisted",
        Ok(HostKind::Unknown) | Err(_) => "unknown",
    }
}

/// Name of the [`PlatformChoice`] in use.
pub fn platform_name(platform: u32) -> &'static str {
    match PlatformChoice::try_from(platform) {
        Ok(PlatformChoice::Ring0) => "ring0",
        Ok(PlatformChoice::Monitor) => "monitor",
        Ok(PlatformChoice::Auto) | Err(_) => "none",
    }
}
