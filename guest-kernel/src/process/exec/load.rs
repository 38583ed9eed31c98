//! Maps a checked program: its segments straight from the file, private.

use crate::errno::Errno;
use crate::fs::ProgramFile;
use crate::memory::address::{page_down, page_up};
use crate::memory::map::{MapRequest, Placement};
use crate::memory::space::{Backing, Protection};
use crate::memory::{Access, AddressSpace, Frames, UserMemory};
use crate::process::elf::{Program, Segment};
use forkvm_abi::PAGE_SIZE;
use forkvm_abi::inspect::vma;

/// Where static-PIE and dynamic programs are loaded: Linux's ELF_ET_DYN_BASE without randomisation.
const DYNAMIC_BASE: u64 = 0x5555_5555_4000;
/// Bytes of a writable segment that are prepared: they cost frames.
const WRITTEN_AHEAD: u64 = 16 * PAGE_SIZE;
/// Bytes of a read-only segment that are prepared: they cost page-table entries alone.
const READ_AHEAD: u64 = 1 << 20;

/// Where a position-independent program goes, so that its first page is at the base or just above it.
pub(super) fn dynamic_bias(program: &Program) -> u64 {
    let first = program.span().start & !(program.alignment - 1);
    DYNAMIC_BASE
        .next_multiple_of(program.alignment)
        .wrapping_sub(first)
}

/// Where the interpreter goes: where mmap would put as much memory. A fixed one stays where it is.
pub(super) fn interpreter_bias(
    space: &mut AddressSpace,
    frames: &mut Frames,
    interpreter: &Program,
) -> Result<u64, Errno> {
    if !interpreter.relocatable {
        return Ok(0);
    }
    let span = interpreter.span();
    let len = span.end - span.start;
    let base = space.map(frames, &anonymous(Placement::Hint(0), len, 0))?;
    space.unmap(frames, base, len)?;
    Ok(base.wrapping_sub(span.start))
}

/// Maps all segments, `bias` added; returns the page-aligned end, where the program break starts.
pub(super) fn map_program(
    space: &mut AddressSpace,
    frames: &mut Frames,
    file: &ProgramFile,
    program: &Program,
    bias: u64,
) -> Result<u64, Errno> {
    let mut end = 0;
    for segment in &program.segments {
        let placed = Segment {
            address: segment.address.wrapping_add(bias),
            ..*segment
        };
        end = page_up(
            placed
                .address
                .checked_add(placed.memory_bytes)
                .ok_or(Errno::ENOMEM)?,
        )
        .ok_or(Errno::ENOMEM)?;
        map_segment(space, frames, file, &placed)?;
    }
    Ok(end)
}

/// The file's pages straight from the image, private; behind them zeros, beginning in the file's last page.
fn map_segment(
    space: &mut AddressSpace,
    frames: &mut Frames,
    file: &ProgramFile,
    segment: &Segment,
) -> Result<(), Errno> {
    let start = page_down(segment.address);
    let file_end = segment.address + segment.file_bytes;
    let file_pages_end = page_up(file_end).ok_or(Errno::ENOMEM)?;
    let end = page_up(segment.end()).ok_or(Errno::ENOMEM)?;
    if segment.file_bytes > 0 {
        space.map(
            frames,
            &MapRequest {
                placement: Placement::Fixed(start),
                len: file_pages_end - start,
                protection: segment.protection,
                flags: 0,
                backing: file.backing(page_down(segment.offset)),
            },
        )?;
    }
    let zeros_start = if segment.file_bytes > 0 {
        file_pages_end
    } else {
        start
    };
    if end > zeros_start {
        space.map(
            frames,
            &anonymous(
                Placement::Fixed(zeros_start),
                end - zeros_start,
                segment.protection,
            ),
        )?;
    }
    // A read-only segment keeps what the file has there, as on Linux.
    let tail = segment.end().min(file_pages_end).saturating_sub(file_end);
    if segment.file_bytes > 0 && tail > 0 && segment.protection & vma::WRITE != 0 {
        UserMemory { space, frames }
            .with_bytes_mut(file_end, tail, |piece| piece.fill(0))
            .map_err(|_| Errno::ENOMEM)?;
    }
    Ok(())
}

/// Maps ahead what start-up code will touch, where a trap costs more than that: the data it
/// writes, the text and constants it reads.
pub(super) fn prepare_pages(
    space: &mut AddressSpace,
    frames: &mut Frames,
    program: &Program,
    bias: u64,
) {
    for segment in &program.segments {
        let start = page_down(segment.address.wrapping_add(bias));
        let (access, most) = if segment.protection & vma::WRITE != 0 {
            (Access::Write, WRITTEN_AHEAD)
        } else {
            (Access::Read, READ_AHEAD)
        };
        // Only a saving: what cannot be prepared now is faulted in, or refused, when it is touched.
        let _ = space.populate(frames, start, segment.memory_bytes.min(most), access);
    }
}

fn anonymous(placement: Placement, len: u64, protection: Protection) -> MapRequest {
    MapRequest {
        placement,
        len,
        protection,
        flags: 0,
        backing: Backing::Anonymous,
    }
}
