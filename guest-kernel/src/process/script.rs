//! `#!` scripts: what the first line asks to run (execve(2), "Interpreter scripts"; Linux:
//! fs/binfmt_script.c).

use crate::errno::Errno;

/// Bytes of a file that are looked at (BINPRM_BUF_SIZE).
const BUFFER: usize = 256;

/// A decoded first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstLine<'a> {
    /// Path of the interpreter.
    pub interpreter: &'a [u8],
    /// The rest of the line as one argument, if there is one.
    pub argument: Option<&'a [u8]>,
}

/// Reads the first line; `None` if the file is no script. ENOEXEC if the line names no interpreter, or may be
/// cut off in the middle of its name.
pub fn first_line(file: &[u8]) -> Result<Option<FirstLine<'_>>, Errno> {
    let Some(rest) = file.strip_prefix(b"#!") else {
        return Ok(None);
    };
    let window = &rest[..rest.len().min(BUFFER - 2)];
    let line = match window.iter().position(|byte| *byte == b'\n') {
        Some(end) => &window[..end],
        None => unfinished(window)?,
    };
    let line = trim(line);
    let end = line
        .iter()
        .position(|byte| is_blank(*byte) || *byte == 0)
        .unwrap_or(line.len());
    let (interpreter, argument) = line.split_at(end);
    if interpreter.is_empty() {
        return Err(Errno::ENOEXEC);
    }
    let argument = match argument.first() {
        Some(0) | None => None,
        Some(_) => Some(until_nul(trim(argument))).filter(|argument| !argument.is_empty()),
    };
    Ok(Some(FirstLine {
        interpreter,
        argument,
    }))
}

/// A line without an end: as far as it goes, if the interpreter's name is certainly complete.
fn unfinished(window: &[u8]) -> Result<&[u8], Errno> {
    if window.len() < BUFFER - 2 {
        return Ok(window);
    }
    let window = &window[..window.len() - 1];
    let name = window
        .iter()
        .position(|byte| !is_blank(*byte))
        .ok_or(Errno::ENOEXEC)?;
    let ended = window[name..]
        .iter()
        .any(|byte| is_blank(*byte) || *byte == 0);
    if ended {
        Ok(window)
    } else {
        Err(Errno::ENOEXEC)
    }
}

fn trim(mut line: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = line
        && is_blank(*first)
    {
        line = rest;
    }
    while let [rest @ .., last] = line
        && is_blank(*last)
    {
        line = rest;
    }
    line
}

fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

const fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(argument: Option<&[u8]>) -> Result<Option<FirstLine<'_>>, Errno> {
        Ok(Some(FirstLine {
            interpreter: b"/bin/sh",
            argument,
        }))
    }

    #[test]
    fn the_rest_of_the_line_is_one_argument() {
        assert_eq!(first_line(b"#!/bin/sh\n"), shell(None));
        assert_eq!(
            first_line(b"#! \t/bin/sh -e  -x \t\nexit"),
            shell(Some(b"-e  -x"))
        );
        assert_eq!(first_line(b"#!/bin/sh"), shell(None));
        assert_eq!(first_line(b"#!/bin/sh\0-e\n"), shell(None));
    }

    #[test]
    fn a_line_without_a_name_is_enoexec() {
        assert_eq!(first_line(b"#!\n/bin/sh"), Err(Errno::ENOEXEC));
        assert_eq!(first_line(b"#! \t \n"), Err(Errno::ENOEXEC));
        assert_eq!(first_line(b"echo"), Ok(None));
        assert_eq!(first_line(b""), Ok(None));
    }

    #[test]
    fn a_name_that_may_be_cut_off_is_enoexec() {
        let long = [&b"#!/"[..], &[b'a'; 300], b"\n"].concat();
        assert_eq!(first_line(&long), Err(Errno::ENOEXEC));
        let argument = [&b"#!/bin/sh "[..], &[b'a'; 300], b"\n"].concat();
        assert_eq!(first_line(&argument), shell(Some(&[b'a'; 245])));
    }
}
