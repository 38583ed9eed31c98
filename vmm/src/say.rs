//! Words of forkvm's own, to people. A stream that is closed or full loses them, and that is all.

use std::fmt::Display;
use std::io::{Write, stderr, stdout};

/// A sentence on standard error, marked as forkvm's.
pub(crate) fn complain(sentence: impl Display) {
    let sentence = sentence.to_string();
    let _ = writeln!(stderr(), "forkvm: {}", sentence.trim_end());
}

/// A text on standard error, as it is.
pub(crate) fn remark(text: impl Display) {
    let _ = write!(stderr(), "{text}");
}

/// A result on standard output, as a line.
pub(crate) fn answer(text: impl Display) {
    let _ = writeln!(stdout(), "{text}");
}
