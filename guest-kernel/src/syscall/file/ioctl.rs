//! ioctl(2): what every descriptor understands, pipes, and terminals (ioctl_tty(2)).

use super::{DONE, SyscallResult};
use crate::arena::Id;
use crate::errno::Errno;
use crate::fs::OpenFile;
use crate::fs::file::FileKind;
use crate::fs::terminal::{TERMIOS_BYTES, Termios, WindowSize};
use crate::kernel::Kernel;
use crate::process::signal::SignalInfo;
use crate::process::task::TaskId;
use crate::syscall::Args;
use linux_raw_sys::general::{O_NONBLOCK, SIGWINCH};
use linux_raw_sys::ioctl;
use zerocopy::IntoBytes;

/// ioctl(2).
pub fn sys_ioctl(kernel: &mut Kernel, task: TaskId, args: &Args) -> SyscallResult {
    let (fd, request, argument) = (args.int(0), args.uint(1), args.0[2]);
    let table = kernel.table(task);
    let id = kernel.fs.file(table, fd)?;
    match request {
        ioctl::FIOCLEX | ioctl::FIONCLEX => {
            kernel.fs.tables[table].set_close_on_exec(fd, request == ioctl::FIOCLEX)?
        }
        ioctl::FIONBIO => {
            let on: i32 = kernel.user(task).read(argument)?;
            let flags = &mut kernel.fs.files[id].flags;
            *flags = if on != 0 {
                *flags | O_NONBLOCK
            } else {
                *flags & !O_NONBLOCK
            };
        }
        ioctl::FIONREAD => {
            let bytes = kernel.fs.bytes_to_read(id)?;
            kernel.user(task).write(argument, &bytes)?;
        }
        _ => return device_ioctl(kernel, task, id, request, argument),
    }
    DONE
}

fn device_ioctl(
    kernel: &mut Kernel,
    task: TaskId,
    id: Id<OpenFile>,
    request: u32,
    argument: u64,
) -> SyscallResult {
    match kernel.fs.files[id].kind {
        FileKind::Console(stream) if kernel.fs.console.is_terminal(stream) => {
            terminal_ioctl(kernel, task, request, argument)
        }
        _ => Err(Errno::ENOTTY),
    }
}

fn terminal_ioctl(kernel: &mut Kernel, task: TaskId, request: u32, argument: u64) -> SyscallResult {
    let terminal = kernel.fs.console.terminal;
    match request {
        ioctl::TCGETS => kernel
            .user(task)
            .write_bytes(argument, &terminal.termios.as_bytes()[..TERMIOS_BYTES])?,
        ioctl::TCGETS2 => kernel.user(task).write(argument, &terminal.termios)?,
        ioctl::TCSETS | ioctl::TCSETSW | ioctl::TCSETSF => {
            set_termios(kernel, task, argument, TERMIOS_BYTES)?
        }
        ioctl::TCSETS2 | ioctl::TCSETSW2 | ioctl::TCSETSF2 => {
            set_termios(kernel, task, argument, size_of::<Termios>())?
        }
        ioctl::TIOCGWINSZ => kernel.user(task).write(argument, &terminal.window)?,
        ioctl::TIOCSWINSZ => {
            let window: WindowSize = kernel.user(task).read(argument)?;
            kernel.fs.console.terminal.window = window;
            if window != terminal.window {
                kernel.signal_group(terminal.foreground, SignalInfo::from_kernel(SIGWINCH));
            }
        }
        ioctl::TIOCGPGRP => {
            // Until somebody says otherwise the group that asks is the one in the foreground.
            let own = kernel.tasks[task].record.pgid;
            let group = if terminal.foreground == 0 {
                own
            } else {
                terminal.foreground
            };
            kernel.user(task).write(argument, &group)?;
        }
        ioctl::TIOCSPGRP => {
            let group: i32 = kernel.user(task).read(argument)?;
            kernel.fs.console.terminal.foreground =
                u32::try_from(group).map_err(|_| Errno::EINVAL)?;
        }
        ioctl::TIOCGSID => {
            let session = kernel.tasks[task].record.sid;
            kernel.user(task).write(argument, &session)?;
        }
        // Output is never held back here, and the one terminal is everybody's controlling one.
        ioctl::TCSBRK
        | ioctl::TCSBRKP
        | ioctl::TCXONC
        | ioctl::TCFLSH
        | ioctl::TIOCSCTTY
        | ioctl::TIOCNOTTY => {}
        _ => return Err(Errno::ENOTTY),
    }
    DONE
}

/// Stores the first bytes of struct termios2: all of it, or struct termios.
fn set_termios(kernel: &mut Kernel, task: TaskId, address: u64, bytes: usize) -> Result<(), Errno> {
    let mut termios = kernel.fs.console.terminal.termios;
    kernel
        .user(task)
        .read_bytes(address, &mut termios.as_mut_bytes()[..bytes])?;
    kernel.fs.console.terminal.termios = termios;
    Ok(())
}
