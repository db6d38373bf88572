//! Panics of the user's code, as values.
//!
//! # Invariants
//! - **UC1** *Nothing unwinds out of a dropped value.* [`discard`] and [`dispose`] catch what a
//!   destructor throws, also what the payload of that panic throws when it is dropped, and what the
//!   next payload throws, a few times over. What still throws then is leaked.

use core::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a panic carries.
pub type Panic = Box<dyn Any + Send>;

/// How many payloads are dropped that come out of each other's destructors. The next one is leaked.
const PAYLOADS_MAX: u32 = 16;

/// Calls code of the user's, and returns its result.
///
/// # Errors
/// The payload of its panic.
#[inline(always)]
pub fn catch<R>(call: impl FnOnce() -> R) -> Result<R, Panic> {
    catch_unwind(AssertUnwindSafe(call))
}

/// Drops a panic's payload. Does not unwind (UC1).
#[cold]
pub fn dispose(payload: Panic) {
    let mut payload = payload;
    for _ in 0..PAYLOADS_MAX {
        match catch(|| drop(payload)) {
            Ok(()) => return,
            Err(next) => payload = next,
        }
    }
    core::mem::forget(payload);
}

/// Drops what the user's code left, and returns what its destructor panicked with. Does not unwind
/// (UC1).
pub fn discard<T>(value: T) -> Option<Panic> {
    catch(|| drop(value)).err()
}
