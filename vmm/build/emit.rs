//! Writes `embedded.rs`: constants, and `include_bytes!` of what was built.

use crate::apps::App;
use crate::kernel::{BOOT_SYMBOLS, Kernel};
use std::fmt::Write as _;
use std::path::Path;

/// Writes the file; rustc reads it in `src/embedded.rs`, which declares the types.
pub(crate) fn write(path: &Path, kernel: &Kernel, apps: &[App]) -> Result<(), String> {
    let text = source(kernel, apps).map_err(|error| error.to_string())?;
    std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn source(kernel: &Kernel, apps: &[App]) -> Result<String, std::fmt::Error> {
    let mut text = String::from("/// The guest kernel.\npub static KERNEL: Kernel = Kernel {\n");
    writeln!(
        text,
        "    elf: include_bytes!({:?}),\n    entry: {:#x},\n    segments: &[",
        kernel.path, kernel.entry
    )?;
    for segment in &kernel.segments {
        writeln!(
            text,
            "        Segment {{ address: {:#x}, gpa: {:#x}, bytes: {:#x}, writable: {}, executable: {} }},",
            segment.address, segment.gpa, segment.bytes, segment.writable, segment.executable
        )?;
    }
    writeln!(text, "    ],\n    symbols: BootSymbols {{")?;
    for (name, address) in BOOT_SYMBOLS.iter().zip(&kernel.symbols) {
        writeln!(text, "        {name}: {address:#x},")?;
    }
    writeln!(
        text,
        "    }},\n}};\n\n/// The guest programs, in name order.\npub static APPS: &[App] = &["
    )?;
    for app in apps {
        writeln!(
            text,
            "    App {{ name: {:?}, elf: include_bytes!({:?}) }},",
            app.name, app.path
        )?;
    }
    writeln!(text, "];")?;
    Ok(text)
}
