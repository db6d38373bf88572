//! Calling code of the user's, and disposing of what it leaves.
//!
//! An executor calls much that it did not write: polls, closures, destructors, hooks. This file has
//! what such calls need: a panic becomes a value or is told to the executor, a value is dropped
//! without its destructor's panic going further, and a call that would block says where it was
//! made. UC1 is that of `panics.rs`.
//!
//! # Invariants
//! - **UC2** *No lock is held* while code of the user's runs, and no reference into what it could
//!   change.

use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use std::borrow::Cow;
use std::panic::panic_any;

pub use crate::panics::{Panic, catch, discard, dispose};
pub use crate::task::NoBlocking;
use crate::task::running::{self, Code};

/// Drops what the user's code left. A panic of its destructor is told to the executor that this
/// thread works for, if it has one ([`report_to`](running::report_to)). Does not unwind (UC1).
pub fn drop_unwanted<T>(value: T) {
    if let Some(panic) = discard(value) {
        report(panic);
    }
}

#[cold]
fn report(panic: Panic) {
    match running::reporter() {
        Some(report) => {
            if let Err(panic) = catch(|| report(panic)) {
                dispose(panic);
            }
        }
        None => dispose(panic),
    }
}

/// Tells a subscriber of an event: code of the user's, on a thread that others rely on. A panic of
/// it is swallowed.
pub fn tell(event: impl FnOnce()) {
    if let Err(panic) = running::within(Code::Subscriber, || catch(event)) {
        dispose(panic);
    }
}

/// A value of the user's whose destructor does not unwind, wherever it is dropped (UC1).
#[derive(Debug)]
pub struct Quiet<T>(ManuallyDrop<T>);

impl<T> Quiet<T> {
    /// Wraps the value.
    pub fn new(value: T) -> Self {
        Self(ManuallyDrop::new(value))
    }
}

impl<T> Deref for Quiet<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Quiet<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> Drop for Quiet<T> {
    fn drop(&mut self) {
        // SAFETY: 1. dropped here, and used by nothing afterwards.
        let value = unsafe { ManuallyDrop::take(&mut self.0) };
        if let Some(panic) = running::within(Code::Destructor, || discard(value)) {
            dispose(panic);
        }
    }
}

/// Panics with `message`, after it has dropped `value`, which a caller passed in vain: a panic in
/// its destructor would end the process if it came while this one unwinds.
///
/// # Panics
/// Always.
#[cold]
#[track_caller]
pub fn refuse<T>(value: T, message: impl Into<Cow<'static, str>>) -> ! {
    drop_unwanted(value);
    match message.into() {
        Cow::Borrowed(message) => panic_any(message),
        Cow::Owned(message) => panic_any(message),
    }
}
