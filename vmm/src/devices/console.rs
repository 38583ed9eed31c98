//! Moves bytes between the guest's console and the host's standard streams.
//!
//! Nothing is buffered here: output goes out as it comes, in order; input is read when the guest
//! asks and never ahead, so that what one program leaves unread the shell's next command gets.

use crate::host_events::HostEventLine;
use crate::signals;
use forkvm_abi::boot::event;
use forkvm_abi::doorbell::{ConsoleRecord, WOULD_BLOCK};
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use zerocopy::FromBytes;

/// Bits of the result of a write.
const BROKEN_OUTPUT: u64 = 1;
const BROKEN_ERROR: u64 = 2;

/// The host's ends of the guest's console.
#[derive(Debug)]
pub struct Console {
    input: RawFd,
    output: RawFd,
    error: RawFd,
    /// Streams that answered EPIPE or another lasting error.
    broken: u64,
    events: HostEventLine,
    /// A thread waits for input already.
    watching: Arc<AtomicBool>,
}

impl Console {
    /// A console on open descriptors, which stay open as long as it lives.
    pub fn new(input: RawFd, output: RawFd, error: RawFd, events: HostEventLine) -> Self {
        Self {
            input,
            output,
            error,
            broken: 0,
            events,
            watching: Arc::default(),
        }
    }

    /// Writes a sequence of records; the result says which streams are broken. `Err` is the offset of a malformed one;
    /// nothing is written then.
    pub fn write_records(&mut self, bytes: &[u8]) -> Result<u64, usize> {
        for record in Records::new(bytes) {
            record?;
        }
        for (stream, text) in Records::new(bytes).flatten() {
            let (descriptor, bit) = if stream == 1 {
                (self.output, BROKEN_OUTPUT)
            } else {
                (self.error, BROKEN_ERROR)
            };
            if self.broken & bit == 0 && !write_all(descriptor, text) {
                self.broken |= bit;
            }
        }
        Ok(self.broken)
    }

    /// Writes a line of the VMM's own between the guest's.
    pub fn write_error(&mut self, text: &[u8]) {
        if self.broken & BROKEN_ERROR == 0 && !write_all(self.error, text) {
            self.broken |= BROKEN_ERROR;
        }
    }

    /// Reads into `buffer` what is there: the number of bytes, 0 at the end of input, or [`WOULD_BLOCK`], after
    /// which `INPUT_READY` will be raised.
    pub fn read(&mut self, buffer: &mut [u8]) -> u64 {
        if buffer.is_empty() {
            return 0;
        }
        if !readable(self.input, 0) {
            self.watch();
            return WOULD_BLOCK;
        }
        // SAFETY: (1) the buffer is ours and as long as said.
        let count = unsafe { libc::read(self.input, buffer.as_mut_ptr().cast(), buffer.len()) };
        match u64::try_from(count) {
            Ok(count) => count,
            Err(_) if retryable(&io::Error::last_os_error()) => {
                self.watch();
                WOULD_BLOCK
            }
            // A closed or broken input is at its end.
            Err(_) => 0,
        }
    }

    /// Starts a thread that waits until there is input, tells the guest, and ends. One at a time.
    fn watch(&self) {
        if self.watching.swap(true, Ordering::SeqCst) {
            return;
        }
        let (input, events, watching) = (self.input, self.events, Arc::clone(&self.watching));
        let wait = move || {
            signals::block_all();
            while !readable(input, -1) {}
            watching.store(false, Ordering::SeqCst);
            // The whole line moves into the thread, not its fields.
            let events: HostEventLine = events;
            events.raise(event::INPUT_READY);
        };
        if let Err(error) = std::thread::Builder::new().name("input".into()).spawn(wait) {
            log::error!("no thread to wait for input: {error}");
            self.watching.store(false, Ordering::SeqCst);
        }
    }
}

/// Whether a read would not block: there is something, or the end, or an error. Waits for `timeout` milliseconds, -1: for ever.
fn readable(descriptor: RawFd, timeout: i32) -> bool {
    let mut poll = libc::pollfd {
        fd: descriptor,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: (1) one pollfd, ours.
    unsafe { libc::poll(&raw mut poll, 1, timeout) == 1 }
}

/// Writes everything, waiting where the descriptor does not block by itself. False if the stream is broken.
/// A request to end the VM ends the wait; what is left then is lost.
fn write_all(descriptor: RawFd, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        // SAFETY: (1) the bytes are ours.
        let count = unsafe { libc::write(descriptor, bytes.as_ptr().cast(), bytes.len()) };
        if let Ok(count) = usize::try_from(count) {
            bytes = &bytes[count..];
            continue;
        }
        let error = io::Error::last_os_error();
        if !retryable(&error) {
            return false;
        }
        if signals::stop_requested().is_some() {
            return true;
        }
        if error.kind() == io::ErrorKind::WouldBlock {
            let mut poll = libc::pollfd {
                fd: descriptor,
                events: libc::POLLOUT,
                revents: 0,
            };
            // SAFETY: (1) one pollfd, ours.
            unsafe { libc::poll(&raw mut poll, 1, -1) };
        }
    }
    true
}

fn retryable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

/// The records of a console buffer: stream and text; `Err` with the offset of a malformed one, after which nothing follows.
struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn parse(&self) -> Option<(u32, &'a [u8], usize)> {
        let (header, rest) = ConsoleRecord::read_from_prefix(self.bytes.get(self.at..)?).ok()?;
        let len = usize::try_from(header.len).ok()?;
        let text = rest.get(..len)?;
        let next = self.at + size_of::<ConsoleRecord>() + len.next_multiple_of(4);
        ((1..=2).contains(&header.stream) && next <= self.bytes.len()).then_some((
            header.stream,
            text,
            next,
        ))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(u32, &'a [u8]), usize>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        match self.parse() {
            Some((stream, text, next)) => {
                self.at = next;
                Some(Ok((stream, text)))
            }
            None => {
                let at = self.at;
                self.at = self.bytes.len();
                Some(Err(at))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    /// Records as the guest kernel lays them out.
    fn encode(records: &[(u32, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (stream, text) in records {
            bytes.extend_from_slice(
                ConsoleRecord {
                    stream: *stream,
                    len: u32::try_from(text.len()).unwrap(),
                }
                .as_bytes(),
            );
            bytes.extend_from_slice(text);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Vec<(u32, Vec<u8>)>, usize> {
        Records::new(bytes)
            .map(|record| record.map(|(stream, text)| (stream, text.to_vec())))
            .collect()
    }

    #[test]
    fn malformed_records_are_found_where_they_are() {
        let good = encode(&[(1, b"abc".to_vec())]);
        for bad in [
            &[9, 0, 0, 0, 1, 0, 0, 0, b'x', 0, 0, 0][..],
            &[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
            &[1, 0, 0],
            &[1, 0, 0, 0, 1, 0, 0, 0, b'x'],
        ] {
            assert_eq!(decode(bad), Err(0));
            assert_eq!(decode(&[&good, bad].concat()), Err(good.len()));
        }
    }

    proptest! {
        #[test]
        fn records_come_back_as_they_were(records in prop::collection::vec((1u32..=2, prop::collection::vec(any::<u8>(), 0..20)), 0..8)) {
            prop_assert_eq!(decode(&encode(&records)), Ok(records));
        }

        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(0u8..4, 0..64)) {
            let _ = decode(&bytes);
        }
    }
}
