//! Finds a Rust toolchain that can build the freestanding kernel, and runs its cargo.
//!
//! Two ways, the first that fits: a toolchain whose sysroot has `core` for
//! `x86_64-unknown-none` (rustup: `rustup target add x86_64-unknown-none`), or one that has the
//! library's source, from which cargo builds `core` itself (Debian: rustc-web, cargo-web,
//! rust-web-src). Asked first is the toolchain that builds forkvm, then Debian's.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Target of the kernel: no operating system, no floating-point registers.
pub(crate) const KERNEL_TARGET: &str = "x86_64-unknown-none";

/// Variables of the outer cargo, rustup, clippy or rustdoc that would change what a nested cargo does.
const FOREIGN: [&str; 10] = [
    "RUSTC",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTDOCFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "LD_LIBRARY_PATH",
    "CLIPPY_ARGS",
    "MAKEFLAGS",
    "RUSTC_BOOTSTRAP",
];
/// Variables of cargo that say where things are, not how to build: the nested cargo keeps them.
const KEPT: [&str; 7] = [
    "CARGO_HOME",
    "CARGO_NET_",
    "CARGO_HTTP_",
    "CARGO_REGISTRY_",
    "CARGO_REGISTRIES_",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
];

/// A cargo and the rustc that it is to use.
pub(crate) struct Toolchain {
    cargo: PathBuf,
    rustc: PathBuf,
    /// `core` and `alloc` are built from the library's source.
    pub(crate) from_source: bool,
    /// Comes with no linker of its own: the system's `ld` links.
    pub(crate) system_linker: bool,
}

impl Toolchain {
    /// The toolchain that builds forkvm.
    pub(crate) fn outer() -> Result<Self, String> {
        let variable = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .ok_or(format!("{name} is not set; run this by cargo"))
        };
        Ok(Self {
            cargo: variable("CARGO")?,
            rustc: variable("RUSTC")?,
            from_source: false,
            system_linker: false,
        })
    }

    /// One that can build the kernel, or a sentence on what to install.
    pub(crate) fn for_kernel() -> Result<Self, String> {
        let debian = Self {
            cargo: "/usr/bin/cargo".into(),
            rustc: "/usr/bin/rustc".into(),
            from_source: false,
            system_linker: false,
        };
        let mut obstacles = Vec::new();
        for mut toolchain in [Self::outer()?, debian] {
            match toolchain.fit_for_kernel() {
                Ok(()) => return Ok(toolchain),
                Err(obstacle) => obstacles.push(obstacle),
            }
        }
        obstacles.dedup();
        Err(format!(
            "no Rust toolchain here can build the guest kernel for {KERNEL_TARGET}:\n  {}\n\
             With rustup: rustup target add {KERNEL_TARGET}\n\
             On Debian: apt-get install rustc-web cargo-web rust-web-src\n\
             Or let forkvm's script do it: scripts/setup build",
            obstacles.join("\n  ")
        ))
    }

    fn fit_for_kernel(&mut self) -> Result<(), String> {
        let name = self.rustc.display();
        let sysroot = self
            .ask(&["--print", "sysroot"])
            .ok_or_else(|| format!("{name}: not there, or it does not run"))?;
        self.check_version()?;
        let libraries = Path::new(&sysroot).join("lib/rustlib");
        if libraries.join(KERNEL_TARGET).join("lib").is_dir() {
            return Ok(());
        }
        if !libraries.join("src/rust/library/core/src/lib.rs").is_file() {
            return Err(format!(
                "{name}: has neither the target {KERNEL_TARGET} nor the source of the standard library"
            ));
        }
        if !self.cargo.is_file() {
            return Err(format!(
                "{}: not there (Debian: cargo-web)",
                self.cargo.display()
            ));
        }
        self.from_source = true;
        self.system_linker = !libraries
            .join("x86_64-unknown-linux-gnu/bin/rust-lld")
            .is_file();
        Ok(())
    }

    /// Refuses a compiler that is older than the workspace asks for.
    fn check_version(&self) -> Result<(), String> {
        let wanted = std::env::var("CARGO_PKG_RUST_VERSION").unwrap_or_default();
        let printed = self.ask(&["--version"]).unwrap_or_default();
        let found = printed.split_whitespace().nth(1).unwrap_or_default();
        let parts = |version: &str| -> Vec<u32> {
            version
                .split('.')
                .take(2)
                .filter_map(|part| part.parse().ok())
                .collect()
        };
        if parts(found) < parts(&wanted) {
            return Err(format!(
                "{}: is version {found}; forkvm needs {wanted} or newer",
                self.rustc.display()
            ));
        }
        Ok(())
    }

    /// What this rustc answers.
    fn ask(&self, arguments: &[&str]) -> Option<String> {
        let output = cleaned(&self.rustc).args(arguments).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Its cargo, free of the outer build's settings, with these flags for rustc.
    pub(crate) fn cargo(&self, rustflags: &[&str]) -> Command {
        let mut command = cleaned(&self.cargo);
        command
            .env("RUSTC", &self.rustc)
            .env("CARGO_ENCODED_RUSTFLAGS", rustflags.join("\u{1f}"));
        if self.from_source {
            // -Zbuild-std is reserved for nightly toolchains; the source comes with this very compiler, so it fits.
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        if let Some(directory) = self.rustc.parent() {
            let inherited = std::env::var_os("PATH").unwrap_or_default();
            let path =
                std::iter::once(directory.to_path_buf()).chain(std::env::split_paths(&inherited));
            if let Ok(path) = std::env::join_paths(path) {
                command.env("PATH", path);
            }
        }
        command
    }
}

/// A command without the variables that the outer cargo, rustup, clippy or rustdoc set.
fn cleaned(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        let of_cargo = text == "CARGO"
            || (text.starts_with("CARGO_") && !KEPT.iter().any(|kept| text.starts_with(kept)));
        if of_cargo || FOREIGN.contains(&text) || text.starts_with("RUSTUP_TOOLCHAIN") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a nested cargo; its own words are the error.
pub(crate) fn run(command: &mut Command, what: &str) -> Result<Vec<u8>, String> {
    let output = command
        .output()
        .map_err(|error| format!("cannot start cargo for {what}: {error}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("building {what} failed:\n{words}"));
    }
    let warnings = words
        .lines()
        .filter(|line| line.starts_with("warning: `") && line.contains("generated"));
    for line in warnings {
        println!("cargo::warning={what}: {line}");
    }
    Ok(output.stdout)
}
