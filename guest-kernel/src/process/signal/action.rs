//! Dispositions: what a process wants done about each signal (sigaction(2)).

use super::set::{IGNORED_BY_DEFAULT, STOPS, SignalSet, only};
use alloc::boxed::Box;
use linux_raw_sys::general as uapi;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// SIG_DFL.
pub const SIG_DFL: u64 = 0;
/// SIG_IGN.
pub const SIG_IGN: u64 = 1;

/// The kernel's `struct sigaction` (arch/x86/include/uapi/asm/signal.h, 64-bit).
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Action {
    /// SIG_DFL, SIG_IGN or the handler's address.
    pub handler: u64,
    /// SA_ bits.
    pub flags: u64,
    /// Where the handler returns to: it calls rt_sigreturn(2).
    pub restorer: u64,
    /// Blocked while the handler runs.
    pub mask: SignalSet,
}

impl Action {
    /// Whether an SA_ bit is set.
    pub fn has(&self, flag: u32) -> bool {
        self.flags & u64::from(flag) != 0
    }
}

/// What a signal does when no handler is installed (signal(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    /// Ends the process. A core dump is never written.
    Terminate,
    /// Nothing.
    Ignore,
    /// Stops the process.
    Stop,
}

/// The default action of a signal.
pub const fn default_action(signal: u32) -> DefaultAction {
    if only(signal) & IGNORED_BY_DEFAULT != 0 {
        DefaultAction::Ignore
    } else if only(signal) & STOPS != 0 {
        DefaultAction::Stop
    } else {
        DefaultAction::Terminate
    }
}

/// Dispositions of the 64 signals, shared by CLONE_SIGHAND. Most programs never change one, and then
/// there is no table to copy at fork.
#[derive(Clone, Debug, Default)]
pub struct SignalHandlers {
    ignored: SignalSet,
    table: Option<Box<[Action; super::set::SIGNALS as usize]>>,
}

impl SignalHandlers {
    /// The disposition of a signal.
    pub fn get(&self, signal: u32) -> Action {
        match &self.table {
            Some(table) => table[signal as usize - 1],
            None if self.ignored & only(signal) != 0 => Action {
                handler: SIG_IGN,
                ..Action::default()
            },
            None => Action::default(),
        }
    }

    /// Changes it.
    pub fn set(&mut self, signal: u32, action: Action) {
        if self.table.is_none() {
            let mut table = Box::new([Action::default(); super::set::SIGNALS as usize]);
            for number in 1..=super::set::SIGNALS {
                table[number as usize - 1] = self.get(number);
            }
            self.table = Some(table);
        }
        if let Some(table) = &mut self.table {
            table[signal as usize - 1] = action;
        }
        self.ignored &= !only(signal);
        if action.handler == SIG_IGN {
            self.ignored |= only(signal);
        }
    }

    /// What execve does: handlers are gone with the program they were part of, ignored signals stay ignored.
    pub fn reset(&mut self) {
        self.table = None;
    }

    /// CLONE_CLEAR_SIGHAND: handlers go, ignored signals stay ignored.
    pub fn without_handlers(&self) -> Self {
        Self {
            ignored: self.ignored,
            table: None,
        }
    }

    /// Whether a signal does nothing, by disposition or by default.
    pub fn ignores(&self, signal: u32) -> bool {
        match self.get(signal).handler {
            SIG_DFL => default_action(signal) == DefaultAction::Ignore,
            handler => handler == SIG_IGN,
        }
    }

    /// Whether a signal ends the process.
    pub fn kills(&self, signal: u32) -> bool {
        self.get(signal).handler == SIG_DFL && default_action(signal) == DefaultAction::Terminate
    }

    /// Whether children that end need not be waited for (SIGCHLD ignored, or SA_NOCLDWAIT).
    pub fn discards_children(&self) -> bool {
        let action = self.get(uapi::SIGCHLD);
        action.handler == SIG_IGN || action.has(uapi::SA_NOCLDWAIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn execve_keeps_what_is_ignored_and_drops_handlers() {
        let mut handlers = SignalHandlers::default();
        handlers.set(
            uapi::SIGINT,
            Action {
                handler: SIG_IGN,
                ..Action::default()
            },
        );
        handlers.set(
            uapi::SIGTERM,
            Action {
                handler: 0x1000,
                flags: 4,
                ..Action::default()
            },
        );
        assert_eq!(handlers.get(uapi::SIGTERM).handler, 0x1000);
        handlers.reset();
        assert_eq!(handlers.get(uapi::SIGTERM), Action::default());
        assert!(handlers.ignores(uapi::SIGINT));
        handlers.set(
            uapi::SIGUSR1,
            Action {
                handler: 0x2000,
                ..Action::default()
            },
        );
        assert!(handlers.ignores(uapi::SIGINT));
    }

    #[test]
    fn default_actions_are_signal_7s() {
        assert_eq!(default_action(uapi::SIGCHLD), DefaultAction::Ignore);
        assert_eq!(default_action(uapi::SIGCONT), DefaultAction::Ignore);
        assert_eq!(default_action(uapi::SIGTTIN), DefaultAction::Stop);
        assert_eq!(default_action(uapi::SIGSEGV), DefaultAction::Terminate);
        assert_eq!(default_action(64), DefaultAction::Terminate);
    }
}
