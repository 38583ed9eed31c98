//! What the boot tests share: running forkvm, running the same program natively, and comparing.
//!
//! In:  the `forkvm` binary (`FORKVM_BIN`, or `target/release/forkvm`) and the compiled test programs
//!      (`FORKVM_TEST_PROGRAMS`, or where `build.rs` put them).
//! Out: what a run wrote and how it ended, on every platform that this machine's KVM offers.
//!
//! The tests themselves are in `tests/`, one subject a file; the programs they run in `programs/`. Wherever
//! Linux defines what happens, the expectation is not written down: the program runs on the Linux of this
//! machine too, and the two runs must be equal ([`Comparison`]).

mod comparison;
pub mod elf;
pub mod host;
pub mod native;
mod process;
pub mod programs;
mod vm;

pub use comparison::Comparison;
pub use host::{HostKind, Platform, on_each_platform};
pub use process::Finished;
pub use programs::program;
pub use vm::{Vm, forkvm};

/// Declares comparisons: one test for each, named by what it promises.
///
/// ```text
/// comparisons! { "fork":
///     the_child_is_what_fork_returned => "return_values";
/// }
/// ```
#[macro_export]
macro_rules! comparisons {
    ($program:literal: $($promise:ident => $case:literal;)*) => {
        $(
            #[test]
            fn $promise() {
                $crate::Comparison::of($program, &[$case]).check();
            }
        )*
    };
}
