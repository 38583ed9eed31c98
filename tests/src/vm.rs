//! Runs forkvm itself.

use crate::host::Platform;
use crate::process::{Finished, run};
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The binary under test: `FORKVM_BIN`, or `target/release/forkvm` of this workspace.
pub fn forkvm() -> PathBuf {
    let built = || {
        let programs = Path::new(env!("FORKVM_TEST_PROGRAMS_BUILT"));
        programs.with_file_name("release/forkvm")
    };
    let path = env::var_os("FORKVM_BIN").map_or_else(built, PathBuf::from);
    assert!(
        path.exists(),
        "there is no {}; build it first: cargo build --release",
        path.display()
    );
    path
}

/// A `forkvm run` to be made on one platform.
#[derive(Clone, Debug)]
pub struct Vm {
    /// Where the kernel runs.
    pub platform: Platform,
    options: Vec<OsString>,
    input: Vec<u8>,
    merged: bool,
}

impl Vm {
    /// With forkvm's own defaults.
    pub fn new(platform: Platform) -> Self {
        Self {
            platform,
            options: Vec::new(),
            input: Vec::new(),
            merged: false,
        }
    }

    /// Adds options of `forkvm run`.
    #[must_use]
    pub fn options<T: Into<OsString>>(mut self, options: impl IntoIterator<Item = T>) -> Self {
        self.options.extend(options.into_iter().map(Into::into));
        self
    }

    /// What the program finds on its standard input; nothing unless given.
    #[must_use]
    pub fn input(mut self, input: &[u8]) -> Self {
        self.input = input.to_vec();
        self
    }

    /// Standard error goes where standard output goes, so that the order of all lines can be seen.
    #[must_use]
    pub fn merged(mut self) -> Self {
        self.merged = true;
        self
    }

    /// Runs a program to its end.
    pub fn run<T: AsRef<OsStr>>(&self, program: impl AsRef<OsStr>, arguments: &[T]) -> Finished {
        let mut command = if self.merged {
            self.through_a_shell()
        } else {
            Command::new(forkvm())
        };
        command.args(self.words(program.as_ref()));
        command.args(arguments);
        run(&mut command, &self.input)
    }

    /// The command, for tests that start and watch it themselves.
    pub fn command<T: AsRef<OsStr>>(&self, program: impl AsRef<OsStr>, arguments: &[T]) -> Command {
        let mut command = Command::new(forkvm());
        command.args(self.words(program.as_ref())).args(arguments);
        command
    }

    fn words(&self, program: &OsStr) -> Vec<OsString> {
        let mut words: Vec<OsString> = ["run", "--platform", self.platform.name()]
            .map(Into::into)
            .to_vec();
        words.extend_from_slice(&self.options);
        words.extend(["--".into(), program.to_owned()]);
        words
    }

    fn through_a_shell(&self) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(forkvm());
        command
    }
}

/// Runs forkvm with these words and nothing else.
pub(crate) fn run_forkvm(words: &[&str]) -> Finished {
    run(Command::new(forkvm()).args(words), b"")
}
