//! The command line: what can be typed, and what it means.
//!
//! In:  the process's arguments.
//! Out: an exit status. Option errors of `run` are 125, because 2 may be the guest program's own.

use crate::config::{DEFAULT_MEMORY, parse_memory, parse_seconds};
use crate::root::ExtraFile;
use crate::{doctor, run};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use forkvm_abi::boot::PlatformChoice;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

/// forkvm itself failed: no KVM, a bad option, a guest kernel panic.
pub const FAILED: u8 = 125;
/// Bad usage of any command but `run`.
const USAGE: u8 = 2;

#[derive(Debug, Parser)]
#[command(name = "forkvm", version, about = "Runs static Linux programs in a KVM virtual machine that starts in milliseconds", long_about = None)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a program in a new virtual machine
    #[command(after_help = RUN_HELP)]
    Run(RunArgs),
    /// Find out whether and how this machine can run forkvm
    Doctor(DoctorArgs),
}

const RUN_HELP: &str = "\
Examples:
  forkvm run forkdemo                 a program that forkvm carries inside
  forkvm run guest-apps/forkdemo      the same, by its folder
  forkvm run ./a.out x y              a static program of the host, with arguments
  forkvm run -e HOME=/ -m 256M ./a.out -- -v
  echo hello | forkvm run --timeout 5 ./a.out
  forkvm run --file /bin/busybox busybox sh
  forkvm run --root debian.tar bash   a tar file as `docker export` writes it

Exit status:
  the program's own; 128+N if signal N killed it; 124 after --timeout; 125 if forkvm
  failed; 126 if PROGRAM cannot be run; 127 if it was not found.";

/// Options of `forkvm run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Memory of the guest, for example 64M or 2G
    #[arg(short, long, value_name = "SIZE", default_value = "64M", value_parser = parse_memory)]
    pub memory: u64,
    /// Root file system: a directory of the host, or a tar file; the guest's changes stay in its memory
    #[arg(long, value_name = "DIR|FILE.tar")]
    pub root: Option<PathBuf>,
    /// Put a file or directory of the host into the guest, at the same path unless GUEST says otherwise
    #[arg(long, value_name = "HOST[:GUEST]", value_parser = OsStringValueParser::new().try_map(ExtraFile::parse))]
    pub file: Vec<ExtraFile>,
    /// Set NAME in the program's environment; without a value, copy the host's
    #[arg(short, long, value_name = "NAME[=VALUE]", value_parser = OsStringValueParser::new().try_map(variable))]
    pub env: Vec<OsString>,
    /// End the VM after this time with status 124
    #[arg(long, value_name = "SECS", value_parser = parse_seconds)]
    pub timeout: Option<Duration>,
    /// How the guest kernel runs; a self-test finds what is best here
    #[arg(long, value_enum, value_name = "PLATFORM", default_value_t = Platform::Auto)]
    pub platform: Platform,
    /// Name of the VM [default: forkvm-PID]
    #[arg(long)]
    pub name: Option<String>,
    /// End the VM with PROGRAM, even while its children still run
    #[arg(long)]
    pub exit_with_first: bool,
    /// Print what the run cost, on standard error
    #[arg(long)]
    pub stats: bool,
    /// Print a summary as JSON on standard output; the guest's output goes to standard error
    #[arg(long)]
    pub json: bool,
    /// Say more on standard error; twice for even more (or set RUST_LOG)
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// A program inside forkvm, or a static Linux program of the host; with --root, a program in it
    #[arg(required = true)]
    pub program: OsString,
    /// Arguments of the program; a `--` right behind PROGRAM only separates
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}

impl RunArgs {
    /// argv of the program, its own name first.
    pub fn arguments(&self) -> Vec<OsString> {
        let separated = self.args.first().is_some_and(|word| word == "--");
        let rest = self.args.iter().skip(usize::from(separated));
        std::iter::once(&self.program)
            .chain(rest)
            .cloned()
            .collect()
    }
}

/// Options of `forkvm doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Print the findings as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Say more on standard error (or set RUST_LOG)
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// How the guest kernel runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Platform {
    /// As the self-test finds best
    Auto,
    /// In ring 0 (hardware KVM only)
    Ring0,
    /// In ring 3, above a small monitor
    Monitor,
}

impl From<Platform> for PlatformChoice {
    fn from(platform: Platform) -> Self {
        match platform {
            Platform::Auto => Self::Auto,
            Platform::Ring0 => Self::Ring0,
            Platform::Monitor => Self::Monitor,
        }
    }
}

/// A variable has a name.
fn variable(word: OsString) -> Result<OsString, &'static str> {
    if word.is_empty() || word.as_bytes().starts_with(b"=") {
        Err("a variable needs a name: NAME=VALUE")
    } else {
        Ok(word)
    }
}

/// Parses, runs the command, and returns forkvm's exit status.
pub fn main(arguments: impl Iterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.collect();
    match Cli::try_parse_from(&arguments) {
        Ok(Cli {
            command: Command::Run(run),
        }) => {
            start_log(run.verbose);
            run::main(run)
        }
        Ok(Cli {
            command: Command::Doctor(doctor),
        }) => {
            start_log(doctor.verbose);
            doctor::main(&doctor)
        }
        Err(error) => {
            // Help and version are errors to clap, and go to standard output.
            let _ = error.print();
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
                _ if arguments.get(1).is_some_and(|command| command == "run") => FAILED,
                _ => USAGE,
            }
        }
    }
}

/// Log lines go to standard error: warnings always, more with `-v`; RUST_LOG overrides.
fn start_log(verbose: u8) {
    let level = ["warn", "info", "debug"][usize::from(verbose.min(2))];
    let environment = env_logger::Env::default().default_filter_or(level);
    env_logger::Builder::from_env(environment)
        .format_timestamp(None)
        .init();
}

const _: () = assert!(DEFAULT_MEMORY == 64 << 20, "the help says 64M");

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<RunArgs, clap::Error> {
        match Cli::try_parse_from(line.split_whitespace())?.command {
            Command::Run(run) => Ok(run),
            Command::Doctor(_) => panic!("not a run"),
        }
    }

    fn command(line: &str) -> Vec<String> {
        parse(line)
            .unwrap()
            .arguments()
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn clap_finds_no_fault_in_the_definition() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn words_behind_the_program_are_its_own() {
        assert_eq!(command("forkvm run a"), ["a"]);
        assert_eq!(
            command("forkvm run a -x --timeout 5"),
            ["a", "-x", "--timeout", "5"]
        );
        assert_eq!(command("forkvm run --timeout 5 -- a -x"), ["a", "-x"]);
        assert_eq!(command("forkvm run a -- x y"), ["a", "x", "y"]);
        assert_eq!(command("forkvm run a x -- y"), ["a", "x", "--", "y"]);
        assert_eq!(command("forkvm run -- a -- -- x"), ["a", "--", "x"]);
    }

    #[test]
    fn options_before_the_program_are_forkvms() {
        let run = parse("forkvm run -m 2G -e A=1 -e B --timeout 0.5 --platform monitor --stats a")
            .unwrap();
        assert_eq!(
            (run.memory, run.timeout),
            (2 << 30, Some(Duration::from_millis(500)))
        );
        assert_eq!(run.env, ["A=1", "B"]);
        assert_eq!(
            (run.platform, run.stats, run.json),
            (Platform::Monitor, true, false)
        );
    }

    #[test]
    fn bad_options_are_125_in_run_and_2_elsewhere() {
        let status = |line: &str| main(line.split_whitespace().map(OsString::from));
        assert_eq!(status("forkvm run"), FAILED);
        assert_eq!(status("forkvm run --no-such-option a"), FAILED);
        assert_eq!(status("forkvm run -m 1M a"), FAILED);
        assert_eq!(status("forkvm run --timeout 0 a"), FAILED);
        assert_eq!(status("forkvm run -e =x a"), FAILED);
        assert_eq!(status("forkvm doctor --no-such-option"), USAGE);
        assert_eq!(status("forkvm"), USAGE);
        assert_eq!(status("forkvm --version"), 0);
        assert_eq!(status("forkvm run --help"), 0);
    }
}
