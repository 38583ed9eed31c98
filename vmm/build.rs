//! Builds what `forkvm` carries inside: the guest kernel and the guest programs.
//!
//! In:  the sources under `guest-kernel/` and `guest-apps/`.
//! Out: `$OUT_DIR/embedded.rs`, which `src/embedded.rs` includes: the kernel ELF with its
//!      entry point, segments and boot symbols as constants, and the programs.
//!
//! Both are built by a cargo of their own, in target directories of their own (`target/guest`):
//! a nested cargo that used this build's directory would wait for its lock for ever.

use std::path::{Path, PathBuf};

#[path = "build/apps.rs"]
mod apps;
#[path = "build/emit.rs"]
mod emit;
#[path = "build/instructions.rs"]
mod instructions;
#[path = "build/kernel.rs"]
mod kernel;
#[path = "build/toolchain.rs"]
mod toolchain;

fn main() {
    if let Err(words) = embed() {
        // cargo shows standard error of a build script that fails, and shows it as it is.
        eprintln!("{words}");
        std::process::exit(1);
    }
}

/// Builds both and writes `embedded.rs`.
fn embed() -> Result<(), String> {
    let places = Places::from_environment()?;
    for watched in places.watched()? {
        println!("cargo::rerun-if-changed={}", watched.display());
    }
    let kernel = kernel::build(&places)?;
    let apps = apps::build(&places)?;
    emit::write(&places.out_dir.join("embedded.rs"), &kernel, &apps)
}

/// Where things are.
pub(crate) struct Places {
    /// The workspace's root directory.
    pub(crate) workspace: PathBuf,
    /// Target directory of the nested builds.
    pub(crate) target: PathBuf,
    /// Where this build script may write.
    pub(crate) out_dir: PathBuf,
}

impl Places {
    fn from_environment() -> Result<Self, String> {
        let variable = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .ok_or(format!("{name} is not set; run this by cargo"))
        };
        let out_dir = variable("OUT_DIR")?;
        let manifest_dir = variable("CARGO_MANIFEST_DIR")?;
        // OUT_DIR is TARGET/PROFILE/build/PACKAGE-HASH/out.
        let target = out_dir
            .ancestors()
            .nth(4)
            .ok_or("OUT_DIR is not where cargo puts it")?
            .join("guest");
        let workspace = manifest_dir
            .parent()
            .ok_or("the package is not inside its workspace")?
            .to_path_buf();
        Ok(Self {
            workspace,
            target,
            out_dir,
        })
    }

    /// Files and directories whose change rebuilds; a `target` directory inside is none.
    fn watched(&self) -> Result<Vec<PathBuf>, String> {
        let mut watched = vec![
            self.workspace.join("Cargo.toml"),
            self.workspace.join("Cargo.lock"),
        ];
        for part in ["guest-kernel", "guest-apps"] {
            let directory = self.workspace.join(part);
            for entry in std::fs::read_dir(&directory)
                .map_err(|error| format!("cannot list {}: {error}", directory.display()))?
            {
                let path = entry
                    .map_err(|error| format!("cannot list {}: {error}", directory.display()))?
                    .path();
                if !path.ends_with("target") {
                    watched.push(path);
                }
            }
        }
        Ok(watched)
    }
}

/// Reads a file, with the path in the error.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}
