//! pipe(7): order, atomicity, ends that close, who is woken.

use super::*;
use crate::process::task::TaskId;
use linux_raw_sys::general::{O_DIRECT, POLLERR, POLLHUP, POLLIN, POLLOUT};
use proptest::prelude::*;
use std::collections::VecDeque;

struct Fixture {
    fs: FileSystem,
    frames: Frames,
    reader: Id<OpenFile>,
    writer: Id<OpenFile>,
}

impl Fixture {
    fn new(flags: u32) -> Self {
        let (mut fs, frames) = file_system();
        let table = fs.tables.insert(crate::fs::FdTable::new());
        let (read_end, write_end) = fs.make_pipe(table, flags, 64).expect("there is room");
        let reader = fs.file(table, read_end).expect("it is open");
        let writer = fs.file(table, write_end).expect("it is open");
        Self {
            fs,
            frames,
            reader,
            writer,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        self.fs.write(
            self.writer,
            None,
            &mut TestBuffer::to_empty(bytes, &mut self.frames),
        )
    }

    fn read(&mut self, room: usize) -> Result<Vec<u8>, Errno> {
        let mut random = crate::kernel::Random::new([1; 4]);
        let mut sink = TestBuffer::to_fill(room, &mut self.frames);
        let moved = self.fs.read(self.reader, None, &mut sink, &mut random)?;
        assert_eq!(moved, sink.bytes.len());
        Ok(sink.bytes)
    }

    fn fill(&mut self, chunk: usize) -> usize {
        core::iter::from_fn(|| self.write(&alloc::vec![1; chunk]).ok()).sum()
    }
}

#[test]
fn capacity_is_that_of_linux() {
    // Figures from Linux 6.18: what a non-blocking writer gets rid of in writes of this size.
    for (chunk, total) in [
        (1, 65536),
        (4096, 65536),
        (1000, 64000),
        (3000, 48000),
        (65536, 65536),
        (5000, 54096),
    ] {
        assert_eq!(Fixture::new(0).fill(chunk), total, "{chunk}");
    }
}

#[test]
fn a_write_of_pipe_buf_goes_whole_or_not_at_all() {
    let mut pipe = Fixture::new(0);
    pipe.fill(4096);
    assert_eq!(pipe.write(&[2; 100]), Err(Errno::EAGAIN));
    assert_eq!(pipe.read(4000).map(|bytes| bytes.len()), Ok(4000));
    // 4000 bytes are free, but not a buffer.
    assert_eq!(pipe.write(&[2; 100]), Err(Errno::EAGAIN));
    assert_eq!(pipe.read(96).map(|bytes| bytes.len()), Ok(96));
    assert_eq!(pipe.write(&[2; 4097]), Ok(4096));
}

#[test]
fn the_end_of_writers_is_the_end_and_the_end_of_readers_is_an_error() {
    let mut pipe = Fixture::new(0);
    assert_eq!(pipe.read(1), Err(Errno::EAGAIN));
    assert_eq!(pipe.write(b"abc"), Ok(3));
    pipe.fs.close_file(pipe.writer);
    assert_eq!(
        pipe.fs.readiness(pipe.reader) & (POLLIN | POLLHUP),
        POLLIN | POLLHUP
    );
    assert_eq!(pipe.read(2).as_deref(), Ok(&b"ab"[..]));
    assert_eq!(pipe.read(2).as_deref(), Ok(&b"c"[..]));
    assert_eq!(pipe.read(2).as_deref(), Ok(&b""[..]));
    assert_eq!(pipe.fs.readiness(pipe.reader), POLLHUP);

    let mut pipe = Fixture::new(0);
    pipe.fs.close_file(pipe.reader);
    assert_eq!(pipe.write(b"abc"), Err(Errno::EPIPE));
    assert_eq!(pipe.write(b""), Ok(0));
    assert_eq!(pipe.fs.readiness(pipe.writer) & POLLERR, POLLERR);
}

#[test]
fn frames_come_back_when_bytes_are_read_or_the_pipe_goes() {
    let mut pipe = Fixture::new(0);
    let before = pipe.frames.available();
    pipe.fill(65536);
    assert_eq!(pipe.frames.available(), before - 16);
    pipe.read(10 * 4096).expect("there is something");
    assert_eq!(pipe.frames.available(), before - 6);
    pipe.fs.close_file(pipe.reader);
    pipe.fs.close_file(pipe.writer);
    pipe.fs.give_back_frames(&mut pipe.frames);
    assert_eq!(pipe.frames.available(), before);
}

#[test]
fn waiters_are_woken_by_the_other_side() {
    let (reader, writer) = (TaskId(1), TaskId(2));
    let mut pipe = Fixture::new(0);
    pipe.fs.wait_for(pipe.reader, POLLIN, reader);
    pipe.fs.wait_for(pipe.reader, POLLIN, reader);
    pipe.fill(4096);
    assert_eq!(core::mem::take(&mut pipe.fs.woken), [reader]);
    pipe.fs.wait_for(pipe.writer, POLLOUT, writer);
    pipe.read(4095).expect("there is something");
    assert_eq!(pipe.fs.woken, []);
    pipe.read(1).expect("there is something");
    assert_eq!(core::mem::take(&mut pipe.fs.woken), [writer]);
    pipe.fs.wait_for(pipe.reader, POLLIN, reader);
    pipe.fs.wait_for(pipe.writer, POLLOUT, writer);
    pipe.fs.close_file(pipe.reader);
    assert_eq!(pipe.fs.woken, [reader, writer]);
}

#[test]
fn a_fault_in_the_middle_shortens_the_transfer() {
    let mut pipe = Fixture::new(0);
    let mut source = TestBuffer::to_empty(&[3; 6000], &mut pipe.frames);
    source.limit = 5000;
    assert_eq!(pipe.fs.write(pipe.writer, None, &mut source), Ok(4096));
    let mut source = TestBuffer::to_empty(&[3; 10], &mut pipe.frames);
    source.limit = 5;
    assert_eq!(
        pipe.fs.write(pipe.writer, None, &mut source),
        Err(Errno::EFAULT)
    );

    let mut random = crate::kernel::Random::new([1; 4]);
    let mut sink = TestBuffer::to_fill(100, &mut pipe.frames);
    sink.limit = 50;
    assert_eq!(
        pipe.fs.read(pipe.reader, None, &mut sink, &mut random),
        Err(Errno::EFAULT)
    );
    assert_eq!(pipe.read(5000).map(|bytes| bytes.len()), Ok(4096));
}

#[test]
fn packets_keep_their_borders() {
    let mut pipe = Fixture::new(O_DIRECT);
    assert_eq!(pipe.write(b"one"), Ok(3));
    assert_eq!(pipe.write(b"three"), Ok(5));
    assert_eq!(pipe.read(100).as_deref(), Ok(&b"one"[..]));
    assert_eq!(pipe.read(2).as_deref(), Ok(&b"th"[..]));
    assert_eq!(pipe.read(100), Err(Errno::EAGAIN));
}

#[test]
fn capacity_can_be_set() {
    let mut pipe = Fixture::new(0);
    assert_eq!(pipe.fs.resize_pipe(pipe.writer, 5000), Ok(8192));
    assert_eq!(pipe.fill(4096), 8192);
    assert_eq!(pipe.fs.resize_pipe(pipe.writer, 4096), Err(Errno::EBUSY));
    assert_eq!(pipe.fs.resize_pipe(pipe.writer, 0), Err(Errno::EBUSY));
    assert_eq!(
        pipe.fs.resize_pipe(pipe.writer, 1 << 32),
        Err(Errno::EINVAL)
    );
    assert_eq!(pipe.fs.resize_pipe(pipe.writer, 1 << 21), Err(Errno::EPERM));
    assert_eq!(pipe.fs.resize_pipe(pipe.writer, 1 << 20), Ok(1 << 20));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the sizes, the bytes come out as they went in, and a short write took exactly what it said.
    #[test]
    fn bytes_in_are_bytes_out(steps in prop::collection::vec((any::<bool>(), 1usize..9000), 1..100)) {
        let mut pipe = Fixture::new(0);
        let mut expected = VecDeque::new();
        let mut next = 0u8;
        for (writes, size) in steps {
            if writes {
                let bytes: Vec<u8> = (0..size).map(|byte| byte.to_le_bytes()[0] ^ next).collect();
                next = next.wrapping_add(1);
                match pipe.write(&bytes) {
                    Ok(count) => {
                        prop_assert!(count == size || size > 4096);
                        expected.extend(&bytes[..count]);
                    }
                    Err(error) => prop_assert_eq!(error, Errno::EAGAIN),
                }
            } else {
                match pipe.read(size) {
                    Ok(bytes) => {
                        prop_assert_eq!(bytes.len(), size.min(expected.len()));
                        prop_assert!(bytes.iter().eq(expected.drain(..bytes.len()).collect::<Vec<u8>>().iter()));
                    }
                    Err(error) => prop_assert_eq!((error, expected.len()), (Errno::EAGAIN, 0)),
                }
            }
        }
        prop_assert_eq!(pipe.fs.bytes_to_read(pipe.reader), Ok(u32::try_from(expected.len()).expect("at most 64 KiB")));
    }
}
