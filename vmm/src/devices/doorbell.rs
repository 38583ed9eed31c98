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
use crate::memory::{GuestRam, OutsideRam, native};
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
        if !gpa.is_multiple_of(align_of::<Request>() as u64) {
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
        self.buffer.resize(native(len), 0);
        let result = self.console.read(&mut self.buffer);
        if let Some(bytes) = self.buffer.get(..native(result)) {
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
        self.buffer.resize(native(len), 0);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host_events::HostEventLine;
    use forkvm_abi::boot::event;
    use forkvm_abi::doorbell::WOULD_BLOCK;
    use forkvm_abi::layout::{CONSOLE_INPUT_GPA, CONSOLE_OUTPUT_GPA, HOST_EVENTS_GPA, REQUEST_GPA};
    use proptest::prelude::*;
    use std::fs::File;
    use std::io::{Read, Write, pipe};
    use std::os::fd::{AsRawFd, RawFd};

    const RAM: u64 = 16 << 20;

    fn doorbell(input: RawFd, output: RawFd) -> Doorbell {
        let ram = Arc::new(GuestRam::allocate(RAM).unwrap());
        let events = HostEventLine::new(&ram, &File::open("/dev/null").unwrap()).unwrap();
        Doorbell::new(ram, Console::new(input, output, output, events))
    }

    fn ring(
        doorbell: &mut Doorbell,
        operation: Operation,
        args: [u64; 4],
    ) -> Result<Outcome, RequestError> {
        let request = Request {
            operation: operation as u32,
            args,
            ..Request::default()
        };
        doorbell.ram.write(REQUEST_GPA, &request).unwrap();
        doorbell.write(0, &REQUEST_GPA.to_le_bytes())
    }

    /// Asks for input; what the request's result says.
    fn read(doorbell: &mut Doorbell, len: u64) -> u64 {
        let outcome = ring(
            doorbell,
            Operation::ConsoleRead,
            [CONSOLE_INPUT_GPA, len, 0, 0],
        );
        assert_eq!(outcome, Ok(Outcome::Continue));
        result(doorbell)
    }

    fn result(doorbell: &Doorbell) -> u64 {
        doorbell.ram.read::<Request>(REQUEST_GPA).unwrap().result
    }

    #[test]
    fn console_records_reach_the_stream() {
        let (mut reader, writer) = pipe().unwrap();
        let mut doorbell = doorbell(-1, writer.as_raw_fd());
        doorbell
            .ram
            .write_bytes(
                CONSOLE_OUTPUT_GPA,
                b"\x01\0\0\0\x06\0\0\0hello\n\0\0\x02\0\0\0\x01\0\0\0!\0\0\0",
            )
            .unwrap();
        assert_eq!(
            ring(
                &mut doorbell,
                Operation::ConsoleWrite,
                [CONSOLE_OUTPUT_GPA, 28, 0, 0]
            ),
            Ok(Outcome::Continue)
        );
        assert_eq!(result(&doorbell), 0);
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello\n!");
    }

    #[test]
    fn input_is_read_as_far_as_asked_for() {
        let (reader, mut writer) = pipe().unwrap();
        let mut doorbell = doorbell(reader.as_raw_fd(), -1);
        writer.write_all(b"abcdef").unwrap();
        assert_eq!(read(&mut doorbell, 4), 4);
        let page = doorbell.ram.read::<[u8; 6]>(CONSOLE_INPUT_GPA).unwrap();
        assert_eq!(&page, b"abcd\0\0");
        drop(writer);
        assert_eq!(read(&mut doorbell, 4096), 2);
        assert_eq!(read(&mut doorbell, 4096), 0, "the end of input");
    }

    #[test]
    fn input_that_is_not_there_is_announced_later() {
        let (reader, mut writer) = pipe().unwrap();
        let mut doorbell = doorbell(reader.as_raw_fd(), -1);
        assert_eq!(read(&mut doorbell, 1), WOULD_BLOCK);
        writer.write_all(b"x").unwrap();
        let pending = || doorbell.ram.read::<u64>(HOST_EVENTS_GPA).unwrap();
        while pending() & event::INPUT_READY == 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn only_a_whole_aligned_address_rings() {
        let mut doorbell = doorbell(-1, -1);
        assert_eq!(
            doorbell.write(8, &[0; 8]),
            Err(RequestError::NotARing { offset: 8, len: 8 })
        );
        assert_eq!(
            doorbell.write(0, &[0; 4]),
            Err(RequestError::NotARing { offset: 0, len: 4 })
        );
        assert_eq!(
            doorbell.write(0, &0x4001u64.to_le_bytes()),
            Err(RequestError::Unaligned(0x4001))
        );
        assert_eq!(
            doorbell.write(0, &(RAM - 8).to_le_bytes()),
            Err(OutsideRam {
                gpa: RAM - 8,
                len: 48
            }
            .into())
        );
        assert_eq!(
            doorbell.write(0, &0xffff_ffff_ffff_fff8u64.to_le_bytes()),
            Err(OutsideRam {
                gpa: u64::MAX - 7,
                len: 48
            }
            .into())
        );
    }

    #[test]
    fn arguments_are_checked() {
        let mut doorbell = doorbell(-1, -1);
        let mut refuse = |operation, args| ring(&mut doorbell, operation, args).unwrap_err();
        let limit = CONSOLE_OUTPUT_BYTES;
        assert_eq!(
            refuse(Operation::ConsoleWrite, [0x8000, limit + 1, 0, 0]),
            RequestError::TooLong {
                len: limit + 1,
                limit
            }
        );
        assert_eq!(
            refuse(Operation::ConsoleWrite, [0x8000, u64::MAX, 0, 0]),
            RequestError::TooLong {
                len: u64::MAX,
                limit
            }
        );
        assert_eq!(
            refuse(Operation::ConsoleRead, [0x5000, 4097, 0, 0]),
            RequestError::TooLong {
                len: 4097,
                limit: 4096
            }
        );
        assert_eq!(
            refuse(Operation::ConsoleRead, [RAM - 1, 2, 0, 0]),
            OutsideRam {
                gpa: RAM - 1,
                len: 2
            }
            .into()
        );
        for (operation, value) in [
            (Operation::Exit, 0x7f),
            (Operation::Exit, 1 << 16),
            (Operation::Milestone, 9),
            (Operation::PlatformRefused, 3),
            (Operation::Observe, 1 << 40),
        ] {
            assert_eq!(
                refuse(operation, [value, 0, 0, 0]),
                RequestError::Argument { operation, value }
            );
        }
        assert_eq!(
            refuse(Operation::Log, [0x8000, 1, 5, 0]),
            RequestError::Argument {
                operation: Operation::Log,
                value: 5
            }
        );
    }

    #[test]
    fn unknown_operations_and_reserved_bits_are_refused() {
        let mut doorbell = doorbell(-1, -1);
        for (request, error) in [
            (
                Request {
                    operation: 77,
                    ..Request::default()
                },
                RequestError::Operation(77),
            ),
            (
                Request {
                    operation: 1,
                    reserved: 1,
                    ..Request::default()
                },
                RequestError::Reserved(1),
            ),
        ] {
            doorbell.ram.write(REQUEST_GPA, &request).unwrap();
            assert_eq!(doorbell.write(0, &REQUEST_GPA.to_le_bytes()), Err(error));
        }
    }

    #[test]
    fn every_way_to_end_is_passed_on() {
        let mut doorbell = doorbell(-1, -1);
        let mut end = |operation, value| ring(&mut doorbell, operation, [value, 0, 0, 0]);
        assert_eq!(
            end(Operation::Exit, 0x8b),
            Ok(Outcome::End(End::Exited(0x8b)))
        );
        assert_eq!(end(Operation::Panic, 0), Ok(Outcome::End(End::Panicked)));
        assert_eq!(
            end(Operation::PlatformRefused, 1),
            Ok(Outcome::End(End::PlatformRefused(PlatformChoice::Ring0)))
        );
        assert_eq!(
            end(Operation::SelfTestDone, 0),
            Ok(Outcome::End(End::SelfTested))
        );
    }

    proptest! {
        /// Whatever a guest writes: an outcome or an error, and buffers that stay small.
        #[test]
        fn nothing_a_guest_asks_for_harms_the_vmm(
            operation in 0u32..12,
            reserved in prop_oneof![9 => Just(0), 1 => any::<u32>()],
            args in prop::array::uniform4(prop_oneof![any::<u64>(), 0u64..0x20000, (RAM - 64)..(RAM + 64)]),
            gpa in prop_oneof![Just(REQUEST_GPA), any::<u64>(), (RAM - 64)..(RAM + 64)],
            records in prop::collection::vec(any::<u8>(), 0..256),
        ) {
            let (reader, writer) = pipe().unwrap();
            drop(writer);
            let mut doorbell = doorbell(reader.as_raw_fd(), -1);
            doorbell.ram.write(REQUEST_GPA, &Request { operation, reserved, args, result: 0 }).unwrap();
            doorbell.ram.write_bytes(0x8000, &records).unwrap();
            let _ = doorbell.write(0, &gpa.to_le_bytes());
            prop_assert!(doorbell.buffer.capacity() as u64 <= 2 * CONSOLE_OUTPUT_BYTES);
        }
    }
}
