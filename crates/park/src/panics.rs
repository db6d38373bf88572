//! Panics of foreign code: kept until everything is in order, or dropped for good.

use core::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

type Payload = Box<dyn Any + Send>;

/// Returns the text of a panic's payload, if it is text.
pub(crate) fn said(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("its payload is no text")
}

/// Drops a payload. If its destructor panics too, the second payload is forgotten, because the
/// destructor of that one might panic again.
pub(crate) fn discard(payload: Payload) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        core::mem::forget(again);
    }
}

/// The first panic of several calls. A panic of one call does not keep the others from being made.
#[derive(Default)]
pub(crate) struct FirstPanic(Option<Payload>);

impl FirstPanic {
    /// Calls `body` and returns its result, or `None` if it panics.
    pub(crate) fn catch<R>(&mut self, body: impl FnOnce() -> R) -> Option<R> {
        match catch_unwind(AssertUnwindSafe(body)) {
            Ok(result) => return Some(result),
            Err(payload) if self.0.is_none() => self.0 = Some(payload),
            Err(payload) => discard(payload),
        }
        None
    }

    /// Resumes the first panic, if there was one.
    pub(crate) fn resume(self) {
        if let Some(payload) = self.0 {
            resume_unwind(payload);
        }
    }
}
