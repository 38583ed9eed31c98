//! Finds frame records: an array with one for each page of RAM.

use super::InspectError;
use crate::memory::GuestRam;
use forkvm_abi::inspect::{FrameRecord, KernelInfo, frame_index};

/// The record of the frame at a GPA; `None` if that is not RAM.
pub fn record(
    ram: &GuestRam,
    info: &KernelInfo,
    gpa: u64,
) -> Result<Option<FrameRecord>, InspectError> {
    let Some(number) =
        frame_index(gpa, ram.low.end(), ram.high.end()).filter(|number| *number < info.frame_count)
    else {
        return Ok(None);
    };
    let offset = number * size_of::<FrameRecord>() as u64;
    let address = info
        .frame_table
        .checked_add(offset)
        .ok_or(InspectError::Nonsense)?;
    Ok(Some(ram.read(address)?))
}
