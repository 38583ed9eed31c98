//! Step 4: execve of ls, with arguments and an environment of our own.

use core::ffi::CStr;
use rt::println;
use rt::syscall::{Errno, execve, getpid, readlink};

const BIN: &CStr = c"/bin";
const BIN_LS: &CStr = c"/bin/ls";

/// Returns only if there is no ls to be found.
pub(crate) fn become_ls() -> Errno {
    println!(
        "   [pid {}] calls execve: same process, same pid, new memory",
        getpid()
    );
    if let Some(own) = Neighbour::new(&mut [0; 512], &mut [0; 512]) {
        run(own.path, own.directory);
    }
    run(BIN_LS, BIN)
}

fn run(path: &CStr, directory: &CStr) -> Errno {
    execve(
        path,
        &[c"ls", directory],
        &[c"SHOW_EXEC=1", c"GREETING=hello from before execve"],
    )
}

/// The ls beside this program: in the guest that is /bin/ls; after `cargo build` on Linux it is the one just built.
struct Neighbour<'a> {
    path: &'a CStr,
    directory: &'a CStr,
}

impl<'a> Neighbour<'a> {
    fn new(path: &'a mut [u8; 512], directory: &'a mut [u8; 512]) -> Option<Self> {
        const NAME: &[u8] = b"/ls\0";
        let length = readlink(None, c"/proc/self/exe", path).ok()?;
        let slash = path[..length]
            .iter()
            .rposition(|&byte| byte == b'/')
            .filter(|&slash| slash > 0)?;
        directory[..slash].copy_from_slice(&path[..slash]);
        path.get_mut(slash..slash + NAME.len())?
            .copy_from_slice(NAME);
        Some(Self {
            path: CStr::from_bytes_until_nul(path).ok()?,
            directory: CStr::from_bytes_until_nul(directory).ok()?,
        })
    }
}
