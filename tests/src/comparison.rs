//! The same program, natively and under forkvm: equal output, equal errors, equal exit status.

use crate::host::platforms;
use crate::native::{reaper, run_natively};
use crate::process::Finished;
use crate::programs::program;
use crate::vm::Vm;
use std::path::PathBuf;

/// A program with everything it is given.
#[derive(Clone, Debug)]
pub struct Comparison {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    input: Vec<u8>,
    memory: &'static str,
}

impl Comparison {
    /// Of a compiled test program, by name.
    pub fn of(name: &str, arguments: &[&str]) -> Self {
        Self::of_path(program(name), arguments)
    }

    /// Of any static program.
    pub fn of_path(path: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        Self {
            program: path.into(),
            arguments: arguments
                .iter()
                .map(|&argument| argument.to_owned())
                .collect(),
            environment: Vec::new(),
            input: Vec::new(),
            memory: "64M",
        }
    }

    /// What the program finds on its standard input.
    #[must_use]
    pub fn input(mut self, input: &[u8]) -> Self {
        self.input = input.to_vec();
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Memory of the guest, as `-m` takes it.
    #[must_use]
    pub fn memory(mut self, size: &'static str) -> Self {
        self.memory = size;
        self
    }

    /// Runs natively once and under forkvm on each platform; panics at the first difference, showing both.
    pub fn check(&self) -> Finished {
        let native = self.natively();
        for &platform in platforms() {
            let guest = self.under(Vm::new(platform));
            assert!(
                guest == native,
                "{} {:?} differs on platform {}\n=== Linux: {native}\n=== forkvm: {guest}",
                self.program.display(),
                self.arguments,
                platform.name(),
            );
        }
        native
    }

    fn natively(&self) -> Finished {
        let mut environment: Vec<(&str, &str)> = self
            .environment
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        if self
            .program
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("orphan"))
        {
            environment.push(("FORKVM_TEST_REAPER", reaper()));
        }
        run_natively(&self.program, &self.arguments, &environment, &self.input)
    }

    fn under(&self, vm: Vm) -> Finished {
        let environment = self
            .environment
            .iter()
            .flat_map(|(name, value)| ["-e".to_owned(), format!("{name}={value}")]);
        vm.options(["-m", self.memory])
            .options(environment)
            .input(&self.input)
            .run(&self.program, &self.arguments)
    }
}
