//! Linux: `set_mempolicy`, and `get_mempolicy` to see that it took effect.

use crate::Error;
use std::io;

/// The kernel's masks are arrays of its `unsigned long`.
const BITS: usize = libc::c_ulong::BITS as usize;

/// Linux has at most 1024 nodes.
const WORDS: usize = 1024 / BITS;

/// One more than the bits of a mask: the kernel counts from 1 here.
const MAX_NODE: usize = WORDS * BITS + 1;

pub(super) fn prefer(node: Option<u32>) -> Result<(), Error> {
    let mut mask = [0 as libc::c_ulong; WORDS];
    let mode = match node {
        None => libc::MPOL_DEFAULT,
        Some(node) => {
            let node = node as usize;
            let Some(word) = mask.get_mut(node / BITS) else {
                return Err(failed("set_mempolicy", libc::EINVAL));
            };
            *word |= 1 << (node % BITS);
            libc::MPOL_PREFERRED
        }
    };
    // SAFETY: the mask is readable for the bits that are told, and the kernel only reads it.
    let result = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask.as_ptr(), MAX_NODE) };
    if result != 0 {
        return Err(failed("set_mempolicy", last_errno()));
    }
    let mut now = [0 as libc::c_ulong; WORDS];
    let mut now_mode: libc::c_int = -1;
    let nowhere: *const libc::c_void = core::ptr::null();
    // SAFETY: 1. the number and the mask are writable, the mask for the bits that are told, and
    // outlive the call; 2. without flags the address is not looked at.
    let result = unsafe {
        libc::syscall(
            libc::SYS_get_mempolicy,
            &raw mut now_mode,
            now.as_mut_ptr(),
            MAX_NODE,
            nowhere,
            0,
        )
    };
    if result != 0 {
        return Err(failed("get_mempolicy", last_errno()));
    }
    // The kernel reports no nodes with the default.
    match now_mode == mode && now == mask {
        true => Ok(()),
        false => Err(failed("set_mempolicy", libc::EINVAL)),
    }
}

fn failed(call: &'static str, errno: i32) -> Error {
    Error::System { call, errno }
}

fn last_errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}
