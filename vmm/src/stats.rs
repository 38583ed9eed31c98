//! What a run cost, for `--stats` and `--json`.

use crate::exit::ExitKind;
use std::time::{Duration, Instant};

/// Exits by kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExitCounts([u64; ExitKind::ALL.len()]);

impl ExitCounts {
    /// One more.
    pub fn count(&mut self, kind: ExitKind) {
        self.0[kind as usize] += 1;
    }

    /// All that happened.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ExitKind::ALL
            .into_iter()
            .map(|kind| (kind.name(), self.0[kind as usize]))
            .filter(|(_, count)| *count > 0)
    }
}

/// Wall time by phase.
#[derive(Clone, Debug)]
pub struct Timeline {
    last: Instant,
    phases: Vec<(&'static str, Duration)>,
}

impl Timeline {
    /// Starts now.
    pub fn start() -> Self {
        Self {
            last: Instant::now(),
            phases: Vec::with_capacity(12),
        }
    }

    /// The phase of this name ends here.
    pub fn mark(&mut self, phase: &'static str) {
        let now = Instant::now();
        self.phases.push((phase, now - self.last));
        self.last = now;
    }

    /// Phases in order.
    pub fn phases(&self) -> &[(&'static str, Duration)] {
        &self.phases
    }
}
