//! Linux error numbers (errno(3)), as handlers return them.

use linux_raw_sys::errno as raw;

/// An error that a system call returns to the program, as a positive number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(u32);

macro_rules! errnos {
    ($($name:ident)*) => {
        #[allow(missing_docs)]
        impl Errno {
            $(pub const $name: Self = Self(raw::$name);)*

            /// The symbolic name, for logs.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                    _ => "E?",
                }
            }
        }
    };
}

errnos! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT
    ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG
    ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY
    ELOOP EOVERFLOW EOPNOTSUPP EAFNOSUPPORT ETIMEDOUT ENOTSOCK ELIBBAD ENODATA
}

impl Errno {
    /// The value a system call returns in rax.
    pub fn to_rax(self) -> u64 {
        (-i64::from(self.0)).cast_unsigned()
    }
}

impl core::fmt::Debug for Errno {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}
