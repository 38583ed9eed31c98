//! What of the host's standard streams is a terminal, and how large it is.
//!
//! forkvm never changes a terminal's settings: the host's line discipline edits, echoes and
//! turns Ctrl-C into a signal. So there is nothing to restore, however the VM ends.

use std::io::IsTerminal;
use std::os::fd::RawFd;

/// The standard streams of the VMM.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminals {
    /// Standard input is a terminal.
    pub input: bool,
    /// Where the guest's standard output goes is a terminal.
    pub output: bool,
    /// Standard error is a terminal.
    pub error: bool,
    /// Rows and columns, zeros where there is no terminal.
    pub window: (u16, u16),
}

impl Terminals {
    /// Looks at the streams of this process.
    pub fn look(output_to_stderr: bool) -> Self {
        let error = std::io::stderr().is_terminal();
        let output = if output_to_stderr {
            error
        } else {
            std::io::stdout().is_terminal()
        };
        let input = std::io::stdin().is_terminal();
        let streams = [
            (output, libc::STDOUT_FILENO),
            (error, libc::STDERR_FILENO),
            (input, libc::STDIN_FILENO),
        ];
        let window = streams
            .into_iter()
            .find(|(terminal, _)| *terminal)
            .map_or((0, 0), |(_, stream)| window_size(stream));
        Self {
            input,
            output,
            error,
            window,
        }
    }
}

/// Rows and columns of a terminal; zeros if it does not say (ioctl_tty(2), TIOCGWINSZ). Async-signal-safe.
pub fn window_size(stream: RawFd) -> (u16, u16) {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: (1) the ioctl fills a winsize and keeps no reference to it; (2) on anything but a terminal it fails.
    unsafe { libc::ioctl(stream, libc::TIOCGWINSZ, &raw mut size) };
    (size.ws_row, size.ws_col)
}
