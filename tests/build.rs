//! Compiles the programs that the tests run, natively and under forkvm.
//!
//! In:  `programs/c/*.c`, `programs/asm/*.S`, `programs/rust/*.rs`.
//! Out: static executables in `target/test-programs`, a path that does not change, so that they can be
//!      carried to another machine: `NAME`, `NAME-pie` and `NAME-musl` from C, `asm-NAME`, `rust-NAME`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, thread};

/// Programs that only glibc compiles: they use its or Linux's own headers.
const NOT_FOR_MUSL: [&str; 1] = ["clone"];
/// The programs are wrong on purpose: no warnings. Frame pointers and low optimisation keep recursion recursive.
const C_FLAGS: [&str; 3] = ["-O1", "-w", "-fno-optimize-sibling-calls"];

/// One executable to make.
struct Job {
    source: PathBuf,
    output: PathBuf,
    command: Command,
}

fn main() {
    let output = output_folder();
    fs::create_dir_all(&output).expect("target/test-programs can be made");
    println!(
        "cargo::rustc-env=FORKVM_TEST_PROGRAMS_BUILT={}",
        output.display()
    );
    println!("cargo::rerun-if-changed=programs");
    println!("cargo::rerun-if-changed={}", output.display());
    println!("cargo::rerun-if-changed=build.rs");

    let mut jobs = jobs(&output);
    jobs.retain(|job| !is_current(job));
    let failures: Vec<String> = thread::scope(|scope| {
        let half = jobs.len().div_ceil(2).max(1);
        let workers: Vec<_> = jobs
            .chunks_mut(half)
            .map(|share| scope.spawn(|| share.iter_mut().filter_map(compile).collect::<Vec<_>>()))
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("no panic in a compile thread"))
            .collect()
    });
    if !failures.is_empty() {
        eprintln!("{}", failures.join("\n"));
        eprintln!(
            "The test programs need gcc and a static C library (Debian: gcc libc6-dev): scripts/setup test"
        );
        std::process::exit(1);
    }
}

/// `target/test-programs`; OUT_DIR is `target/PROFILE/build/PACKAGE-HASH/out`.
fn output_folder() -> PathBuf {
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    out_dir
        .ancestors()
        .nth(4)
        .expect("OUT_DIR lies in the target folder")
        .join("test-programs")
}

fn jobs(output: &Path) -> Vec<Job> {
    let musl = Command::new("musl-gcc").arg("--version").output().is_ok();
    if !musl {
        println!(
            "cargo::warning=musl-gcc is not installed: the tests with musl programs will say that they are skipped"
        );
    }
    let mut jobs = Vec::new();
    for source in sources("programs/c", "c") {
        let name = name_of(&source);
        let mut c = |compiler: &str, flags: &[&str], suffix: &str| {
            let mut command = Command::new(compiler);
            command.args(C_FLAGS).args(flags).arg(&source).arg("-o");
            jobs.push(Job {
                source: source.clone(),
                output: output.join(format!("{name}{suffix}")),
                command,
            });
        };
        c("gcc", &["-static"], "");
        c("gcc", &["-static-pie", "-fPIE"], "-pie");
        if musl && !NOT_FOR_MUSL.contains(&name.as_str()) {
            c("musl-gcc", &["-static"], "-musl");
        }
    }
    for source in sources("programs/asm", "S") {
        let mut command = Command::new("gcc");
        command
            .args(["-nostdlib", "-static"])
            .arg(&source)
            .arg("-o");
        jobs.push(Job {
            output: output.join(format!("asm-{}", name_of(&source))),
            source,
            command,
        });
    }
    for source in sources("programs/rust", "rs") {
        let mut command = Command::new(env::var_os("RUSTC").expect("cargo sets RUSTC"));
        command
            .args(["--edition=2024", "-O", "-Ctarget-feature=+crt-static"])
            .arg(&source)
            .arg("-o");
        jobs.push(Job {
            output: output.join(format!("rust-{}", name_of(&source))),
            source,
            command,
        });
    }
    jobs
}

fn sources(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut sources: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    sources.sort();
    sources
}

fn name_of(source: &Path) -> String {
    source
        .file_stem()
        .expect("a source file has a name")
        .to_string_lossy()
        .into_owned()
}

/// Whether the executable is newer than its source and what all sources share.
fn is_current(job: &Job) -> bool {
    let changed = |path: &Path| {
        fs::metadata(path)
            .and_then(|metadata| metadata.modified())
            .ok()
    };
    let shared = [Path::new("programs/c/case.h"), Path::new("build.rs")];
    let newest = shared
        .into_iter()
        .map(changed)
        .chain([changed(&job.source)])
        .max()
        .flatten();
    changed(&job.output).is_some_and(|built| Some(built) > newest)
}

/// Runs the compiler; what it said if it failed.
fn compile(job: &mut Job) -> Option<String> {
    let command = job.command.arg(&job.output);
    match command.output() {
        Ok(done) if done.status.success() => None,
        Ok(done) => Some(format!(
            "{command:?} failed:\n{}",
            String::from_utf8_lossy(&done.stderr)
        )),
        Err(error) => Some(format!(
            "{:?} cannot be run: {error}",
            command.get_program()
        )),
    }
}
