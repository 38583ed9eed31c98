//! The doorbell: the guest kernel writes the address of a [`Request`], the VMM serves it.
//!
//! In:  an 8-byte write to the doorbell's page.
//! Out: an [`Outcome`], and the request's `result` in guest memory.
//!
//! The guest is hostile. Every address, length and number is checked; what makes no sense is a
//! [`RequestError`] and ends the VM. Bytes are copied out of guest memory before they are
//! looked at, into buffers of bounded size.

use crate::devices::console::Console;
use crate::exit::{End, Outcome};
use crate::inspect;
use crate::memory::{GuestRam, OutsideRam};
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::boot::PlatformChoice;
use forkvm_abi::doorbell::{LogLevel, Milestone, Operation, Request};
use forkvm_abi::layout::CONSOLE_OUTPUT_BYTES;
use std::mem::offset_of;
use std::sync::Arc;

/// Longest message of [`Operation::Log`].
const LOG_BYTES: u64 = 1024;
/// Distinct operations, counted by number.
const OPERATIONS: usize = 10;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not one 8-byte write to the page's first byte.
    #[error("a write of {len} bytes at offset {offset:#x} of the doorbell")]
    NotARing {
        /// Offset in the page.
        offset: u64,
        /// Bytes written.
        len: usize,
    },
    /// The request's address is not a multiple of eight.
    #[error("the request at {0:#x} is not aligned")]
    Unaligned(u64),
    /// The request or what it refers to is not in RAM.
    #[error(transparent)]
    Memory(#[from] OutsideRam),
    /// There is no such operation.
    #[error("operation {0} does not exist")]
    Operation(u32),
    /// `reserved` is not zero.
    #[error("the reserved field is {0:#x}")]
    Reserved(u32),
    /// More bytes than the operation moves at once.
    #[error("{len:#x} bytes, of which {limit:#x} are allowed")]
    TooLong {
        /// Bytes asked for.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// A console record does not fit what follows it.
    #[error("the console record at byte {0:#x} is malformed")]
    Record(usize),
    /// An argument is none of the values it can have.
    #[error("argument {value:#x} of {operation:?} is not valid")]
    Argument {
        /// The operation.
        operation: Operation,
        /// The value.
        value: u64,
    },
}

/// The device.
#[derive(Debug)]
pub struct Doorbell {
    ram: Arc<GuestRam>,
    console: Console,
    /// Bytes on their way from or to the guest; as large as the largest request, never larger.
    buffer: Vec<u8>,
    counts: [u64; OPERATIONS],
}

impl Doorbell {
    /// A doorbell for the guest of `ram`.
    pub fn new(ram: Arc<GuestRam>, console: Console) -> Self {
        Self {
            ram,
            console,
            buffer: Vec::new(),
            counts: [0; OPERATIONS],
        }
    }

    /// Requests served so far, of one operation.
    pub fn count(&self, operation: Operation) -> u64 {
        self.counts[operation as usize]
    }

    /// The guest wrote to the doorbell's page.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Result<Outcome, RequestError> {
        let not_a_ring = RequestError::NotARing {
            offset,
            len: data.len(),
        };
        let gpa = data
            .try_into()
            .map(u64::from_le_bytes)
            .map_err(|_| not_a_ring)?;
        if offset != 0 {
            return Err(not_a_ring);
        }
        self.ring(gpa)
    }

    /// Serves the request at a guest-physical address.
    fn ring(&mut self, gpa: u64) -> Result<Outcome, RequestError> {
        if gpa % align_of::<Request>() as u64 != 0 {
            return Err(RequestError::Unaligned(gpa));
        }
        let request: Request = self.ram.read(gpa)?;
        if request.reserved != 0 {
            return Err(RequestError::Reserved(request.reserved));
        }
        let operation = Operation::try_from(request.operation).map_err(RequestError::Operation)?;
        self.counts[operation as usize] += 1;
        let answer = self.serve(operation, request.args)?;
        match answer {
            Answer::Result(result) => {
                self.ram
                    .write(gpa + offset_of!(Request, result) as u64, &result)?;
                Ok(Outcome::Continue)
            }
            Answer::End(end) => Ok(Outcome::End(end)),
        }
    }

    fn serve(&mut self, operation: Operation, args: [u64; 4]) -> Result<Answer, RequestError> {
        let refused = |value| RequestError::Argument { operation, value };
        match operation {
            Operation::ConsoleWrite => self.console_write(args[0], args[1]),
            Operation::ConsoleRead => self.console_read(args[0], args[1]),
            Operation::Exit => exit_status(args[0])
                .map(|status| Answer::End(End::Exited(status)))
                .ok_or(refused(args[0])),
            Operation::Panic => Ok(Answer::End(End::Panicked)),
            Operation::Log => {
                let level = log_level(args[2]).ok_or(refused(args[2]))?;
                self.log(args[0], args[1], level)
            }
            Operation::Observe => {
                let pid = u32::try_from(args[0]).map_err(|_| refused(args[0]))?;
                Ok(self.observe(pid, args[1]))
            }
            Operation::PlatformRefused => {
                let choice = u32::try_from(args[0])
                    .ok()
                    .and_then(|number| PlatformChoice::try_from(number).ok());
                choice
                    .map(|choice| Answer::End(End::PlatformRefused(choice)))
                    .ok_or(refused(args[0]))
            }
            Operation::SelfTestDone => Ok(Answer::End(End::SelfTested)),
            Operation::Milestone if args[0] == Milestone::FirstUserInstruction as u64 => {
                log::debug!("the first user instruction is about to run");
                Ok(Answer::Result(0))
            }
            Operation::Milestone => Err(refused(args[0])),
        }
    }

    /// Writes records to the host's streams, in order.
    fn console_write(&mut self, gpa: u64, len: u64) -> Result<Answer, RequestError> {
        self.fetch(gpa, len, CONSOLE_OUTPUT_BYTES)?;
        self.console
            .write_records(&self.buffer)
            .map(Answer::Result)
            .map_err(RequestError::Record)
    }

    /// Reads what there is on the host's standard input, never more than asked for.
    fn console_read(&mut self, gpa: u64, len: u64) -> Result<Answer, RequestError> {
        if len > PAGE_SIZE {
            return Err(RequestError::TooLong {
                len,
                limit: PAGE_SIZE,
            });
        }
        if !self.ram.contains(gpa, len) {
            return Err(OutsideRam { gpa, len }.into());
        }
        self.buffer.resize(len as usize, 0);
        let result = self.console.read(&mut self.buffer);
        if let Some(bytes) = usize::try_from(result)
            .ok()
            .and_then(|count| self.buffer.get(..count))
        {
            self.ram.write_bytes(gpa, bytes)?;
        }
        Ok(Answer::Result(result))
    }

    /// Passes a message on to the log. Control characters are shown, not obeyed.
    fn log(&mut self, gpa: u64, len: u64, level: log::Level) -> Result<Answer, RequestError> {
        self.fetch(gpa, len, LOG_BYTES)?;
        let message = String::from_utf8_lossy(&self.buffer);
        let shown: String = message
            .trim_end()
            .chars()
            .map(|c| {
                if c.is_control() {
                    char::REPLACEMENT_CHARACTER
                } else {
                    c
                }
            })
            .collect();
        log::log!(target: "guest", level, "{shown}");
        Ok(Answer::Result(0))
    }

    /// Says on standard error where a page of a process is, seen from outside.
    fn observe(&mut self, pid: u32, address: u64) -> Answer {
        let line = match inspect::observe(&self.ram, pid, address) {
            Ok(seen) => format!("host: {seen}\n"),
            Err(error) => format!("host: pid {pid}  {address:#x}: {error}\n"),
        };
        self.console.write_error(line.as_bytes());
        Answer::Result(0)
    }

    /// Copies bytes of the guest into the buffer.
    fn fetch(&mut self, gpa: u64, len: u64, limit: u64) -> Result<(), RequestError> {
        if len > limit {
            return Err(RequestError::TooLong { len, limit });
        }
        self.buffer.resize(len as usize, 0);
        Ok(self.ram.read_bytes(gpa, &mut self.buffer)?)
    }
}

enum Answer {
    Result(u64),
    End(End),
}

/// A wait status of a process that has ended: by exit, or by a signal with or without core.
fn exit_status(value: u64) -> Option<u32> {
    const CORE: u32 = 0x80;
    let status = u32::try_from(value).ok()?;
    let exited = status & !0xff00 == 0;
    let killed = (1..=64).contains(&(status & !CORE));
    (exited || killed).then_some(status)
}

fn log_level(value: u64) -> Option<log::Level> {
    let levels = [
        (LogLevel::Error, log::Level::Error),
        (LogLevel::Warn, log::Level::Warn),
        (LogLevel::Info, log::Level::Info),
        (LogLevel::Debug, log::Level::Debug),
    ];
    levels
        .into_iter()
        .find(|(level, _)| *level as u64 == value)
        .map(|(_, level)| level)
}
