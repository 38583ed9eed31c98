//! What a VM is made from, validated.

use crate::memory::LARGE_PAGE;
use crate::program::Program;
use crate::root::Tree;
use forkvm_abi::boot::PlatformChoice;
use std::ffi::OsString;
use std::time::Duration;

/// Smallest guest: the kernel, its tables and a program fit.
pub const MIN_MEMORY: u64 = 16 << 20;
/// Largest guest.
pub const MAX_MEMORY: u64 = 64 << 30;
/// Guest RAM unless told otherwise.
pub const DEFAULT_MEMORY: u64 = 64 << 20;

/// Everything that decides what a guest is.
#[derive(Debug)]
pub struct VmConfig {
    /// RAM in bytes, a multiple of 2 MiB.
    pub memory: u64,
    /// Kernel in ring 0, above the monitor, or as the self-test finds best.
    pub platform: PlatformChoice,
    /// What the guest sees as `/`.
    pub root: Tree,
    /// What to run; `None` runs the self-test alone.
    pub launch: Option<Launch>,
    /// The VM ends with the first program.
    pub exit_with_first: bool,
    /// The guest kernel names oddities in the log.
    pub verbose: bool,
    /// Wall-clock limit.
    pub timeout: Option<Duration>,
    /// The guest's standard output goes to standard error.
    pub output_to_stderr: bool,
}

/// A program with its arguments and environment.
#[derive(Debug)]
pub struct Launch {
    /// The program.
    pub program: Program,
    /// argv, the program's name as typed included.
    pub arguments: Vec<OsString>,
    /// `NAME=VALUE` strings.
    pub environment: Vec<OsString>,
}

/// Reads a size: digits with an optional K, M or G (powers of 1024; `MiB`, `MB` and the like are understood too).
pub fn parse_memory(text: &str) -> Result<u64, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit
        .trim_start()
        .to_ascii_lowercase()
        .trim_end_matches("ib")
        .trim_end_matches('b')
    {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => {
            return Err(format!(
                "`{unit}` is no unit of memory; write for example 64M or 2G"
            ));
        }
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "a size is a number and a unit, for example 64M or 2G".to_owned())?;
    let bytes = number
        .checked_mul(1 << shift)
        .filter(|bytes| (MIN_MEMORY..=MAX_MEMORY).contains(bytes));
    let bytes = bytes.ok_or(format!(
        "a guest has from {} MiB to {} GiB of memory",
        MIN_MEMORY >> 20,
        MAX_MEMORY >> 30
    ))?;
    Ok(bytes.next_multiple_of(LARGE_PAGE))
}

/// Reads a time in seconds, fractions allowed.
pub fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "a time is a number of seconds, for example 10 or 0.5".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if !time.is_zero() && time <= Duration::from_secs(366 * 24 * 3600) => Ok(time),
        _ => Err("a time limit is more than 0 seconds and at most a year".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_with_units() {
        for (text, mib) in [
            ("64M", 64),
            ("16m", 16),
            ("2G", 2048),
            ("64G", 65536),
            ("131072K", 128),
            ("67108864", 64),
            ("64MiB", 64),
            ("64mb", 64),
            ("17M", 18),
        ] {
            assert_eq!(parse_memory(text), Ok(mib << 20), "{text}");
        }
    }

    #[test]
    fn other_sizes_are_refused_with_a_sentence() {
        for text in [
            "",
            "M",
            "15M",
            "65G",
            "-64M",
            "64X",
            "1e9",
            "99999999999999999999G",
            "18446744073709551615G",
            "64 M B",
        ] {
            assert!(parse_memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_seconds() {
        assert_eq!(parse_seconds("10"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_seconds("0.25"), Ok(Duration::from_millis(250)));
        for text in ["", "0", "-1", "nan", "inf", "1e30", "ten"] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }
}
