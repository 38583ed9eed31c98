//! Runs one process to its end: input in, output out, and never longer than is sensible.

use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// What a run left.
#[derive(Clone, PartialEq, Eq)]
pub struct Finished {
    /// As a shell sees it: the exit status, or 128+N after signal N.
    pub status: i32,
    /// What was written to standard output.
    pub stdout: Vec<u8>,
    /// What was written to standard error.
    pub stderr: Vec<u8>,
}

impl Finished {
    /// Standard output as text; bytes that are none are shown as replacement characters.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "exit status {}\n--- stdout\n{}--- stderr\n{}",
            self.status,
            Shown(&self.stdout),
            Shown(&self.stderr)
        )
    }
}

impl fmt::Debug for Finished {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// Output in a failure message: not more of it than one can read.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 6000;
        let text = String::from_utf8_lossy(&self.0[..self.0.len().min(MOST)]);
        out.write_str(&text)?;
        if !text.is_empty() && !text.ends_with('\n') {
            out.write_str("\n")?;
        }
        if self.0.len() > MOST {
            writeln!(out, "[{} bytes in all]", self.0.len())
        } else {
            Ok(())
        }
    }
}

/// How long a run may take: `FORKVM_TEST_TIMEOUT` seconds, for slow machines; a minute otherwise.
pub(crate) fn patience() -> Duration {
    let seconds = std::env::var("FORKVM_TEST_TIMEOUT")
        .ok()
        .and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(60))
}

/// Runs the command with this input. Kills it, with its process group, and panics if it does not end.
pub(crate) fn run(command: &mut Command, input: &[u8]) -> Finished {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"));
    let (finished, in_time) = thread::scope(|scope| {
        let stdin = child.stdin.take();
        scope.spawn(move || {
            // The program may end, or close its input, without having read all of it.
            let _ = stdin.expect("stdin is a pipe").write_all(input);
        });
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let stderr = child.stderr.take().expect("stderr is a pipe");
        let stdout = scope.spawn(|| read_all(stdout));
        let stderr = scope.spawn(|| read_all(stderr));
        let (status, in_time) = wait_with_patience(&mut child);
        let finished = Finished {
            status,
            stdout: stdout.join().expect("the reader does not panic"),
            stderr: stderr.join().expect("the reader does not panic"),
        };
        (finished, in_time)
    });
    assert!(
        in_time,
        "{command:?} did not end within {:?} and was killed; until then:\n{finished}",
        patience()
    );
    finished
}

fn read_all(mut pipe: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).expect("a pipe can be read");
    bytes
}

/// Waits for the child; a second thread ends it, and whatever it has started, when patience runs out.
fn wait_with_patience(child: &mut Child) -> (i32, bool) {
    let (ended, watched) = channel::<()>();
    let group = -libc::pid_t::try_from(child.id()).expect("a pid is a pid_t");
    let watchdog = thread::spawn(move || {
        let late = watched.recv_timeout(patience()) == Err(RecvTimeoutError::Timeout);
        if late {
            // SAFETY: kill takes plain numbers. The group is ours: its leader has not been waited for yet,
            // or has this instant, and then only what it left behind is hit.
            unsafe { libc::kill(group, libc::SIGKILL) };
        }
        !late
    });
    let status = child.wait().expect("a child can be waited for");
    drop(ended);
    let in_time = watchdog.join().expect("the watchdog does not panic");
    (
        status
            .code()
            .or(status.signal().map(|signal| 128 + signal))
            .unwrap_or(-1),
        in_time,
    )
}
