//! macOS: `sysctl`, without the limits and the affinity that it does not have.

use super::sysctl;
use crate::{Error, Topology};
use std::ffi::CString;

pub(super) fn detect() -> Result<Topology, Error> {
    let number = |name: &str| match ask(name)?.as_slice() {
        bytes @ [_, _, _, _] => Some(u64::from(u32::from_ne_bytes(bytes.try_into().ok()?))),
        bytes => Some(u64::from_ne_bytes(bytes.try_into().ok()?)),
    };
    let numbers = |name: &str| -> Vec<u64> {
        let bytes = ask(name).unwrap_or_default();
        let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
        bytes.chunks_exact(8).map(number).collect()
    };
    sysctl::machine(number, numbers)
}

/// Returns the bytes of an answer; `None` if there is no such name.
fn ask(name: &str) -> Option<Vec<u8>> {
    let name = CString::new(name).ok()?;
    let mut buffer = vec![0u8; 256];
    let mut length = buffer.len();
    // SAFETY: 1. the name ends in a zero byte and outlives the call; 2. `length` bytes are
    // writable, and the system writes no more and says how many; 3. nothing is set.
    let result = unsafe {
        libc::sysctlbyname(
            name.as_ptr(),
            buffer.as_mut_ptr().cast(),
            &raw mut length,
            core::ptr::null_mut(),
            0,
        )
    };
    buffer.truncate(length);
    (result == 0 && !buffer.is_empty()).then_some(buffer)
}
