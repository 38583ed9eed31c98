//! `forkvm run`: from options to the guest's exit status.
//!
//! In:  parsed options. Out: an exit status, and on the way everything that is said about the run.

use crate::cli::{FAILED, RunArgs};
use crate::config::{Launch, VmConfig};
use crate::epitaph;
use crate::exit::{End, Fault};
use crate::program::{Program, ProgramError};
use crate::report::Report;
use crate::root::{self, RootError};
use crate::say::{answer, complain, remark};
use crate::signals::Stop;
use crate::stats::Timeline;
use crate::vm::{BuildError, Ending, Vm};
use forkvm_abi::boot::PlatformChoice;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::mem::ManuallyDrop;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Exit status after `--timeout`, as timeout(1).
const TIMED_OUT: u8 = 124;
/// The file was found, but is no program forkvm can run (POSIX shells).
const NOT_RUNNABLE: u8 = 126;
/// There is no such program (POSIX shells).
const NOT_FOUND: u8 = 127;
/// What a process ended by a signal has as status, less the signal's number (POSIX shells).
const SIGNALLED: u8 = 128;

/// PATH where only the programs inside forkvm are.
const PROGRAMS_PATH: &str = "/bin";
/// PATH in a root, as Docker sets it.
const ROOT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why no guest ran.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is nothing to run.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// There is no root for it.
    #[error(transparent)]
    Root(#[from] RootError),
    /// There is no VM to run it in.
    #[error(transparent)]
    Build(#[from] BuildError),
}

impl RunError {
    fn status(&self) -> u8 {
        match self {
            Self::Program(ProgramError::NotFound { .. } | ProgramError::NotInRoot { .. }) => {
                NOT_FOUND
            }
            Self::Program(ProgramError::NotRunnable { .. }) => NOT_RUNNABLE,
            Self::Program(ProgramError::Root(_)) | Self::Root(_) | Self::Build(_) => FAILED,
        }
    }
}

/// Runs the command; the result is forkvm's exit status.
pub fn main(args: RunArgs) -> u8 {
    run(args).unwrap_or_else(|error| {
        complain(&error);
        error.status()
    })
}

fn run(args: RunArgs) -> Result<u8, RunError> {
    let mut timeline = Timeline::start();
    let config = configure(&args)?;
    timeline.mark("find the program");
    // The VM is left to the end of the process: signal handlers refer to it, and taking it apart first would only cost time.
    let mut vm = ManuallyDrop::new(Vm::build(&config, timeline)?);
    vm.take_signals(&config)?;
    let ending = vm.run();
    let status = conclude(&ending, &vm);
    let name = args
        .name
        .unwrap_or_else(|| format!("forkvm-{}", std::process::id()));
    if args.stats || args.json {
        let report = Report::new(name, &args.program, &ending, status, &vm);
        if args.stats {
            remark(&report);
        }
        if args.json {
            answer(report.json());
        }
    }
    Ok(status)
}

/// Turns options into a configuration; the root is read, the program is found and checked.
fn configure(args: &RunArgs) -> Result<VmConfig, RunError> {
    let mut root = root::build(args.root.as_deref(), &args.file)?;
    let default_path = if args.root.is_some() {
        ROOT_PATH
    } else {
        PROGRAMS_PATH
    };
    let environment = environment(default_path, &args.env, |name| std::env::var_os(name));
    let program = if args.root.is_some() {
        let path = environment
            .iter()
            .find_map(|variable| variable.as_bytes().strip_prefix(b"PATH="));
        Program::resolve_in_root(&args.program, path.unwrap_or_default(), &root)?
    } else {
        Program::resolve(&args.program, &mut root)?
    };
    Ok(VmConfig {
        memory: args.memory,
        platform: args.platform.into(),
        root,
        launch: Some(Launch {
            program,
            arguments: args.arguments(),
            environment,
        }),
        exit_with_first: args.exit_with_first,
        verbose: log::log_enabled!(target: "guest", log::Level::Info),
        timeout: args.timeout,
        output_to_stderr: args.json,
    })
}

/// `NAME=VALUE` strings: PATH, and what `-e` says; the last word on a name counts. A name alone takes the
/// host's value, and nothing if the host has none.
fn environment(
    path: &str,
    options: &[OsString],
    host: impl Fn(&OsStr) -> Option<OsString>,
) -> Vec<OsString> {
    let mut variables = BTreeMap::from([(b"PATH".to_vec(), path.into())]);
    for option in options {
        let text = option.as_bytes();
        let (name, value) = match text.iter().position(|byte| *byte == b'=') {
            Some(at) => (&text[..at], Some(text[at + 1..].to_vec())),
            None => (text, host(option).map(OsString::into_vec)),
        };
        match value {
            Some(value) => drop(variables.insert(name.to_vec(), value)),
            None => log::info!("{} is not set on the host", option.display()),
        }
    }
    variables
        .into_iter()
        .map(|(name, value)| OsString::from_vec([name, value].join(&b'=')))
        .collect()
}

/// Says on standard error what has to be said about the end, and finds the exit status.
fn conclude(ending: &Ending, vm: &Vm) -> u8 {
    match ending {
        Ending::End(End::Exited(status)) => return exit_status(*status),
        Ending::End(End::SelfTested) => return 0,
        Ending::End(End::Panicked) => complain(epitaph::of_kernel(&vm.ram)),
        Ending::End(End::PlatformRefused(choice)) => complain(refusal(*choice)),
        Ending::Stopped(Stop::Timeout) => return TIMED_OUT,
        Ending::Stopped(Stop::Interrupted) => return SIGNALLED + 2,
        Ending::Fault(fault @ Fault::Memory) => complain(fault),
        Ending::Fault(fault) => complain(format_args!("{fault}\n{}", epitaph::of_vcpu(vm))),
    }
    FAILED
}

/// The shell's view of a wait status (wait(2)).
fn exit_status(wait_status: u32) -> u8 {
    let [low, high, ..] = wait_status.to_le_bytes();
    match low & 0x7f {
        0 => high,
        signal => SIGNALLED.saturating_add(signal),
    }
}

fn refusal(choice: PlatformChoice) -> &'static str {
    match choice {
        PlatformChoice::Ring0 => {
            "this machine's KVM is software-assisted: it emulates ring 0 and cannot run the guest kernel there; leave out --platform, or say --platform monitor"
        }
        PlatformChoice::Monitor | PlatformChoice::Auto => {
            "the guest kernel cannot run on this machine's KVM"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_statuses_become_exit_statuses() {
        assert_eq!(exit_status(0), 0);
        assert_eq!(exit_status(7 << 8), 7);
        assert_eq!(exit_status(255 << 8), 255);
        assert_eq!(exit_status(9), 137);
        assert_eq!(exit_status(11 | 0x80), 139);
        assert_eq!(exit_status(64), 192);
    }

    #[test]
    fn the_environment_is_path_and_what_was_asked_for() {
        let host = |name: &OsStr| (name == "HOME").then(|| OsString::from("/root"));
        let variables = |options: &[&str]| {
            environment(
                PROGRAMS_PATH,
                &options.iter().map(OsString::from).collect::<Vec<_>>(),
                host,
            )
        };
        assert_eq!(variables(&[]), ["PATH=/bin"]);
        assert_eq!(
            variables(&["A=1", "A=2=3", "EMPTY="]),
            ["A=2=3", "EMPTY=", "PATH=/bin"]
        );
        assert_eq!(
            variables(&["HOME", "UNSET", "PATH=/usr/bin"]),
            ["HOME=/root", "PATH=/usr/bin"]
        );
    }
}
