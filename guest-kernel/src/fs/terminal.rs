//! A terminal's settings: termios(3), window size, foreground process group.
//!
//! The host's terminal does the line editing and makes signals of ^C and ^\; here is what programs
//! ask for and set through ioctl(2), see ioctl_tty(2).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// struct termios as the kernel has it (asm-generic/termbits.h), with termios2's speeds at the end.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct Termios {
    pub c_iflag: u32,
    pub c_oflag: u32,
    pub c_cflag: u32,
    pub c_lflag: u32,
    pub c_line: u8,
    pub c_cc: [u8; 19],
    pub c_ispeed: u32,
    pub c_ospeed: u32,
}

const _: () = assert!(size_of::<Termios>() == size_of::<linux_raw_sys::general::termios2>());

/// Bytes of a [`Termios`] that TCGETS and TCSETS move: struct termios.
pub const TERMIOS_BYTES: usize = size_of::<linux_raw_sys::general::termios>();

/// What a fresh Linux terminal has (drivers/tty/tty_io.c, tty_std_termios): ICRNL IXON, OPOST ONLCR, 38400 baud
/// 8 bits, ISIG ICANON ECHO ECHOE ECHOK ECHOCTL ECHOKE IEXTEN; ^C ^\ ^? ^U ^D ^Q ^S ^Z ^R ^O ^W ^V.
const FRESH: Termios = Termios {
    c_iflag: 0o2400,
    c_oflag: 0o5,
    c_cflag: 0o277,
    c_lflag: 0o105073,
    c_line: 0,
    c_cc: [
        3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0,
    ],
    c_ispeed: 38400,
    c_ospeed: 38400,
};

/// struct winsize (ioctl_tty(2)).
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[allow(missing_docs)]
pub struct WindowSize {
    pub rows: u16,
    pub cols: u16,
    pub x_pixels: u16,
    pub y_pixels: u16,
}

/// A terminal's settings.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    /// Modes and special characters.
    pub termios: Termios,
    /// Size in characters.
    pub window: WindowSize,
    /// Process group that ^C interrupts; 0 if none was set yet.
    pub foreground: u32,
}

impl Terminal {
    /// A fresh terminal of the host's size.
    pub fn new(rows: u16, cols: u16) -> Self {
        Self {
            termios: FRESH,
            window: WindowSize {
                rows,
                cols,
                ..WindowSize::default()
            },
            foreground: 0,
        }
    }
}
