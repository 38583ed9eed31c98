//! Builds the guest kernel and takes from its ELF what the VMM needs to start it.

use crate::instructions::{self, Function};
use crate::toolchain::{KERNEL_TARGET, Toolchain, run};
use crate::{Places, read};
use elf::ElfBytes;
use elf::abi::{PF_W, PF_X, PT_LOAD, SHF_EXECINSTR, SHT_NOBITS, STT_FUNC, STT_NOTYPE};
use elf::endian::LittleEndian;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// Symbols of the kernel that the vCPU's first register values refer to.
pub(crate) const BOOT_SYMBOLS: [&str; 8] = [
    "boot_lstar",
    "per_cpu",
    "monitor_gdt",
    "monitor_gdt_end",
    "monitor_idt",
    "monitor_idt_end",
    "monitor_tss",
    "monitor_platform_request",
];

/// The built kernel.
pub(crate) struct Kernel {
    pub(crate) path: PathBuf,
    pub(crate) entry: u64,
    pub(crate) segments: Vec<Segment>,
    /// Addresses in the order of [`BOOT_SYMBOLS`].
    pub(crate) symbols: Vec<u64>,
}

/// A PT_LOAD segment.
pub(crate) struct Segment {
    pub(crate) address: u64,
    pub(crate) gpa: u64,
    pub(crate) bytes: u64,
    pub(crate) writable: bool,
    pub(crate) executable: bool,
}

/// Builds and checks.
pub(crate) fn build(places: &Places) -> Result<Kernel, String> {
    let path = compile(places)?;
    let bytes = read(&path)?;
    let file = ElfBytes::<LittleEndian>::minimal_parse(&bytes)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    check_instructions(&file)?;
    Ok(Kernel {
        entry: file.ehdr.e_entry,
        segments: segments(&file),
        symbols: boot_symbols(&file)?,
        path,
    })
}

/// Runs cargo for the kernel; the result is the path of its ELF.
fn compile(places: &Places) -> Result<PathBuf, String> {
    let toolchain = Toolchain::for_kernel()?;
    let mut flags = vec![
        "-Crelocation-model=static",
        "-Ccode-model=kernel",
        "-Cforce-frame-pointers=yes",
    ];
    if toolchain.system_linker {
        flags.extend(["-Clinker=ld", "-Clinker-flavor=ld"]);
    }
    let mut cargo = toolchain.cargo(&flags);
    cargo.current_dir(&places.workspace).args([
        "rustc",
        "--quiet",
        "--package",
        "forkvm-kernel",
        "--bin",
        "forkvm-kernel",
    ]);
    cargo
        .args([
            "--profile",
            "kernel",
            "--target",
            KERNEL_TARGET,
            "--target-dir",
        ])
        .arg(&places.target);
    if toolchain.from_source {
        cargo.args([
            "-Zbuild-std=core,alloc",
            "-Zbuild-std-features=compiler-builtins-mem",
        ]);
    }
    cargo.arg("--").args(link_arguments(
        &places.workspace.join("guest-kernel/link.ld"),
    )?);
    run(&mut cargo, "the guest kernel")?;
    Ok(places
        .target
        .join(KERNEL_TARGET)
        .join("kernel/forkvm-kernel"))
}

/// rustc's arguments for the last step alone. Cargo does not know that the linker reads a script,
/// so a hash of it is among them: another script is another command, and links anew.
fn link_arguments(script: &Path) -> Result<Vec<String>, String> {
    let mut hasher = DefaultHasher::new();
    read(script)?.hash(&mut hasher);
    let linker = [
        format!("-T{}", script.display()),
        "--no-pie".into(),
        "-zmax-page-size=4096".into(),
        "--build-id=none".into(),
    ];
    let cfg = format!("--cfg=link_script=\"{:x}\"", hasher.finish());
    Ok(linker
        .iter()
        .map(|argument| format!("-Clink-arg={argument}"))
        .chain([cfg])
        .collect())
}

/// What is to be loaded, in file order.
fn segments(file: &ElfBytes<'_, LittleEndian>) -> Vec<Segment> {
    let headers = file.segments().into_iter().flatten();
    headers
        .filter(|header| header.p_type == PT_LOAD && header.p_memsz > 0)
        .map(|header| Segment {
            address: header.p_vaddr,
            gpa: header.p_paddr,
            bytes: header.p_memsz,
            writable: header.p_flags & PF_W != 0,
            executable: header.p_flags & PF_X != 0,
        })
        .collect()
}

/// Addresses of [`BOOT_SYMBOLS`]; a missing one is an error that names it.
fn boot_symbols(file: &ElfBytes<'_, LittleEndian>) -> Result<Vec<u64>, String> {
    let named = symbols(file)?;
    BOOT_SYMBOLS
        .iter()
        .map(|wanted| {
            let found = named.iter().find(|(name, ..)| name == wanted);
            found.map(|(_, address, _)| *address).ok_or(format!(
                "the guest kernel has no symbol `{wanted}`, which its start needs"
            ))
        })
        .collect()
}

/// Fails if the kernel would touch the floating-point or vector registers of the process it serves.
fn check_instructions(file: &ElfBytes<'_, LittleEndian>) -> Result<(), String> {
    let unreadable =
        |error: elf::ParseError| format!("the guest kernel's sections cannot be read: {error}");
    let mut functions: Vec<Function> = symbols(file)?
        .into_iter()
        .filter(|(.., code)| *code)
        .map(|(name, start, _)| Function { name, start })
        .collect();
    functions.sort_by_key(|function| function.start);
    let mut found = Vec::new();
    for section in file.section_headers().into_iter().flatten() {
        if section.sh_flags & u64::from(SHF_EXECINSTR) != 0 && section.sh_type != SHT_NOBITS {
            let (code, _) = file.section_data(&section).map_err(unreadable)?;
            found.extend(instructions::forbidden(code, section.sh_addr, &functions));
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    found.truncate(20);
    let list = found.join("\n  ");
    Err(format!(
        "the guest kernel contains instructions that use x87, MMX, SSE or AVX state, which belongs to the processes:\n  {list}"
    ))
}

/// Name, address and "is code" of every named symbol.
fn symbols(file: &ElfBytes<'_, LittleEndian>) -> Result<Vec<(String, u64, bool)>, String> {
    let unreadable =
        |error: elf::ParseError| format!("the guest kernel's symbols cannot be read: {error}");
    let (table, names) = file
        .symbol_table()
        .map_err(unreadable)?
        .ok_or("the guest kernel has no symbol table")?;
    let named = table.iter().filter_map(|symbol| {
        let name = names.get(usize::try_from(symbol.st_name).ok()?).ok()?;
        let code = matches!(symbol.st_symtype(), STT_FUNC | STT_NOTYPE) && symbol.st_shndx != 0;
        (!name.is_empty()).then(|| (name.to_owned(), symbol.st_value, code))
    });
    Ok(named.collect())
}
