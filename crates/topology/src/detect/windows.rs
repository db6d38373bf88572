//! Windows: `GetLogicalProcessorInformationEx`, on systems of 64 bits; elsewhere a flat machine.

use crate::{Error, Topology};

#[cfg(target_pointer_width = "64")]
pub(super) fn detect() -> Result<Topology, Error> {
    super::processor_information::machine(&ask()?)
}

#[cfg(not(target_pointer_width = "64"))]
pub(super) fn detect() -> Result<Topology, Error> {
    Ok(super::flat(
        "Windows of 32 bits describes no more than 32 processors a group",
    ))
}

#[cfg(target_pointer_width = "64")]
#[link(name = "kernel32")]
unsafe extern "system" {
    fn GetLogicalProcessorInformationEx(kind: i32, buffer: *mut u8, length: *mut u32) -> i32;
}

/// `RelationAll`.
#[cfg(target_pointer_width = "64")]
const ALL: i32 = 0xffff;

/// Asks for all records. CPUs may be added between the question for the size and that for the
/// records.
#[cfg(target_pointer_width = "64")]
fn ask() -> Result<Vec<u8>, Error> {
    const TOO_SMALL: i32 = 122; // ERROR_INSUFFICIENT_BUFFER
    // Words, because the system wants the buffer aligned.
    let mut buffer: Vec<u64> = Vec::new();
    loop {
        let mut length = u32::try_from(size_of_val(&*buffer)).unwrap_or(u32::MAX);
        // SAFETY: `length` bytes are writable, and the system writes no more and says how many it
        // has written or would need.
        let filled = unsafe {
            GetLogicalProcessorInformationEx(ALL, buffer.as_mut_ptr().cast(), &raw mut length)
        };
        let length = length as usize;
        if filled != 0 {
            let mut bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_ne_bytes()).collect();
            bytes.truncate(length);
            return Ok(bytes);
        }
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
        if errno != TOO_SMALL || length <= size_of_val(&*buffer) {
            let call = "GetLogicalProcessorInformationEx";
            return Err(Error::System { call, errno });
        }
        buffer.resize(length.div_ceil(8), 0);
    }
}
