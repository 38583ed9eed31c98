//! Builds the guest programs: static ELFs for ring 3 of the guest, each one a file of /bin there.

use crate::Places;
use crate::toolchain::{Toolchain, run};
use serde_json::Value;
use std::path::PathBuf;

/// The programs run on any x86-64 Linux as well: tests compare the two.
const APPS_TARGET: &str = "x86_64-unknown-linux-gnu";

/// A built program.
pub(crate) struct App {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// Builds all programs of `guest-apps/`, in name order.
pub(crate) fn build(places: &Places) -> Result<Vec<App>, String> {
    let manifest = places.workspace.join("guest-apps/Cargo.toml");
    if !manifest.is_file() {
        return Err(format!(
            "{} is missing: forkvm carries the guest programs inside",
            manifest.display()
        ));
    }
    let flags = [
        "-Crelocation-model=static",
        "-Clink-args=-nostartfiles -nostdlib -static",
    ];
    let mut cargo = Toolchain::outer()?.cargo(&flags);
    // A target of its own name keeps the flags away from build scripts and procedural macros.
    cargo.args([
        "build",
        "--release",
        "--quiet",
        "--target",
        APPS_TARGET,
        "--message-format=json-render-diagnostics",
        "--manifest-path",
    ]);
    cargo
        .arg(&manifest)
        .arg("--target-dir")
        .arg(places.target.join("apps"));
    let messages = run(&mut cargo, "the guest programs")?;
    let mut apps: Vec<App> = String::from_utf8_lossy(&messages)
        .lines()
        .filter_map(executable)
        .collect();
    apps.sort_by(|a, b| a.name.cmp(&b.name));
    if apps.is_empty() {
        return Err(format!("{} builds no program", manifest.display()));
    }
    Ok(apps)
}

/// The program that a message of cargo announces, if it is one that does.
fn executable(line: &str) -> Option<App> {
    let message: Value = serde_json::from_str(line).ok()?;
    let path = PathBuf::from(message.get("executable")?.as_str()?);
    Some(App {
        name: message.get("target")?.get("name")?.as_str()?.to_owned(),
        path,
    })
}
