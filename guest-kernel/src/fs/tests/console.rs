//! The console: records, when they are sent, what comes back.

use super::*;
use crate::arch;
use crate::process::task::TaskId;
use forkvm_abi::boot::flag;
use forkvm_abi::doorbell::{Operation, Request, WOULD_BLOCK};
use forkvm_abi::layout::{CONSOLE_INPUT_GPA, CONSOLE_OUTPUT_BYTES, CONSOLE_OUTPUT_GPA};
use linux_raw_sys::general::{POLLERR, POLLHUP, POLLIN};

struct Fixture {
    fs: FileSystem,
    frames: Frames,
    streams: [Id<OpenFile>; 3],
}

impl Fixture {
    fn new(flags: u64) -> Self {
        arch::take_rung();
        arch::set_answer(0);
        let (mut fs, frames) = file_system_with_flags(flags);
        let table = fs.first_table();
        let streams = [0, 1, 2].map(|fd| fs.file(table, fd).expect("it is open"));
        Self {
            fs,
            frames,
            streams,
        }
    }

    fn write(&mut self, stream: usize, bytes: &[u8]) -> Result<usize, Errno> {
        self.fs.write(
            self.streams[stream],
            None,
            &mut TestBuffer::to_empty(bytes, &mut self.frames),
        )
    }

    fn read(&mut self, room: usize) -> Result<Vec<u8>, Errno> {
        let mut random = crate::kernel::Random::new([1; 4]);
        let mut sink = TestBuffer::to_fill(room, &mut self.frames);
        self.fs
            .read(self.streams[0], None, &mut sink, &mut random)?;
        Ok(sink.bytes)
    }

    /// The records of a request, as the VMM would read them.
    fn records(&self, request: &Request) -> Vec<(u32, Vec<u8>)> {
        assert_eq!(
            (request.operation, request.args[0]),
            (Operation::ConsoleWrite as u32, CONSOLE_OUTPUT_GPA)
        );
        let mut bytes = self
            .fs
            .window
            .bytes(PhysAddr(CONSOLE_OUTPUT_GPA), request.args[1]);
        let mut records = Vec::new();
        while !bytes.is_empty() {
            let (header, rest) = bytes.split_at(8);
            let word =
                |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
            let len = word(4) as usize;
            records.push((word(0), rest[..len].to_vec()));
            bytes = &rest[len.next_multiple_of(4)..];
        }
        records
    }

    fn input(&mut self, bytes: &[u8]) {
        store(&mut self.fs.window, CONSOLE_INPUT_GPA, bytes);
        arch::set_answer(bytes.len() as u64);
    }
}

#[test]
fn writes_gather_in_records_and_go_out_together() {
    let mut console = Fixture::new(0);
    arch::set_tsc(77);
    assert_eq!(console.fs.console_pending_since(), None);
    for (stream, text) in [(1, "a"), (1, "bc"), (2, "oh"), (1, "def"), (1, "")] {
        assert_eq!(console.write(stream, text.as_bytes()), Ok(text.len()));
    }
    assert!(arch::take_rung().is_empty());
    assert_eq!(console.fs.console_pending_since(), Some(77));
    console.fs.flush_console();
    let rung = arch::take_rung();
    assert_eq!(rung.len(), 1);
    assert_eq!(
        console.records(&rung[0]),
        [
            (1, b"abc".to_vec()),
            (2, b"oh".to_vec()),
            (1, b"def".to_vec())
        ]
    );
    assert_eq!(
        (
            console.fs.console_pending(),
            console.fs.console_pending_since()
        ),
        (0, None)
    );
    console.fs.flush_console();
    assert!(arch::take_rung().is_empty());
}

#[test]
fn a_full_buffer_is_sent_and_nothing_is_lost() {
    let mut console = Fixture::new(0);
    let mut sent: Vec<u8> = Vec::new();
    let mut written: Vec<u8> = Vec::new();
    for step in 0u32..60 {
        let text: Vec<u8> = (0..1013 * (step % 7) + 1)
            .map(|byte| (byte + step).to_le_bytes()[0])
            .collect();
        let stream = if step % 3 == 0 { 2 } else { 1 };
        assert_eq!(console.write(stream, &text), Ok(text.len()));
        written.extend_from_slice(&text);
        for request in arch::take_rung() {
            // The buffer has been reused for what came later, so only its size can be looked at here.
            assert!(request.args[1] <= CONSOLE_OUTPUT_BYTES);
        }
        console.fs.flush_console();
        if let Some(request) = arch::take_rung().first() {
            sent.extend(
                console
                    .records(request)
                    .into_iter()
                    .flat_map(|(_, bytes)| bytes),
            );
        }
    }
    assert_eq!(written, sent);
    // A write larger than the buffer goes out in several requests.
    assert_eq!(console.write(1, &[b'x'; 100_000]), Ok(100_000));
    assert_eq!(arch::take_rung().len(), 3);
}

#[test]
fn a_broken_stream_fails_the_write_after() {
    let mut console = Fixture::new(0);
    assert_eq!(console.write(1, b"x"), Ok(1));
    arch::set_answer(1);
    console.fs.flush_console();
    arch::set_answer(0);
    assert_eq!(console.write(1, b"x"), Err(Errno::EPIPE));
    assert_eq!(console.write(2, b"x"), Ok(1));
    assert_eq!(console.fs.readiness(console.streams[1]) & POLLERR, POLLERR);
}

#[test]
fn input_comes_by_the_page_and_is_read_in_pieces() {
    let mut console = Fixture::new(0);
    console.input(b"some lines");
    console.write(1, b"prompt").expect("it is buffered");
    assert_eq!(console.read(4).as_deref(), Ok(&b"some"[..]));
    let rung: Vec<u32> = arch::take_rung()
        .iter()
        .map(|request| request.operation)
        .collect();
    assert_eq!(
        rung,
        [
            Operation::ConsoleWrite as u32,
            Operation::ConsoleRead as u32
        ]
    );
    assert_eq!(console.read(100).as_deref(), Ok(&b" lines"[..]));
    assert!(arch::take_rung().is_empty());
    arch::set_answer(0);
    assert_eq!(console.read(100).as_deref(), Ok(&b""[..]));
    assert_eq!(console.read(100).as_deref(), Ok(&b""[..]));
    assert_eq!(arch::take_rung().len(), 1);
    assert_eq!(console.fs.readiness(console.streams[0]), POLLHUP);
}

#[test]
fn a_reader_waits_until_the_host_has_something() {
    let mut console = Fixture::new(0);
    arch::set_answer(WOULD_BLOCK);
    assert_eq!(console.read(1), Err(Errno::EAGAIN));
    assert_eq!(console.fs.readiness(console.streams[0]), 0);
    console.fs.wait_for(console.streams[0], POLLIN, TaskId(4));
    console.fs.input_ready();
    assert_eq!(console.fs.woken, [TaskId(4)]);
    console.input(b"x");
    assert_eq!(console.fs.readiness(console.streams[0]) & POLLIN, POLLIN);
    assert_eq!(console.read(1).as_deref(), Ok(&b"x"[..]));
}

#[test]
fn the_end_of_a_terminals_input_is_not_for_ever() {
    let mut console = Fixture::new(flag::STDIN_TTY | flag::STDOUT_TTY);
    assert_eq!(console.read(1).as_deref(), Ok(&b""[..]));
    console.input(b"more");
    assert_eq!(console.read(9).as_deref(), Ok(&b"more"[..]));
}

#[test]
fn streams_look_like_what_they_are_on_the_host() {
    let mut console = Fixture::new(flag::STDERR_TTY);
    let kind = |stream: usize| {
        let metadata = console
            .fs
            .metadata(console.fs.files[console.streams[stream]].inode);
        (metadata.mode & mode::S_IFMT, metadata.rdev)
    };
    assert_eq!(kind(0), (mode::S_IFIFO, 0));
    assert_eq!(kind(2), (mode::S_IFCHR, make_device(136, 0)));
    // /dev/tty writes to the stream that is a terminal.
    let tty = open(&mut console.fs, "/dev/tty", linux_raw_sys::general::O_RDWR)
        .expect("there is a terminal");
    console.streams[0] = tty;
    assert_eq!(console.write(0, b"x"), Ok(1));
    console.fs.flush_console();
    assert_eq!(console.records(&arch::take_rung()[0]), [(2, b"x".to_vec())]);
    let mut console = Fixture::new(0);
    assert_eq!(open(&mut console.fs, "/dev/tty", 0), Err(Errno::ENXIO));
}
