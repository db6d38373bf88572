//! A waker for models.

use std::task::{RawWaker, RawWakerVTable, Waker};

use stealyard_sync::Arc;
use stealyard_sync::atomic::{AtomicUsize, Ordering};

/// A waker that counts, of a kind that loom's `Arc` allows.
pub(crate) fn counting(count: &Arc<AtomicUsize>) -> Waker {
    fn raw(count: Arc<AtomicUsize>) -> RawWaker {
        RawWaker::new(Box::into_raw(Box::new(count)).cast_const().cast(), &VTABLE)
    }
    /// # Safety
    /// 1. `data` is a living waker's.
    unsafe fn shared(data: *const ()) -> &'static Arc<AtomicUsize> {
        // SAFETY: 1. made by `raw`, not dropped yet.
        unsafe { &*data.cast() }
    }
    /// # Safety
    /// 1. `data` is a waker's that is not used again.
    unsafe fn free(data: *const ()) {
        // SAFETY: 1. made by `raw`, dropped once.
        drop(unsafe { Box::from_raw(data.cast_mut().cast::<Arc<AtomicUsize>>()) });
    }
    /// # Safety
    /// 1. `data` is a living waker's.
    unsafe fn hit(data: *const ()) {
        // Ordering: Relaxed; a count.
        // SAFETY: 1. as the caller promises.
        unsafe { shared(data) }.fetch_add(1, Ordering::Relaxed);
    }
    static VTABLE: RawWakerVTable = RawWakerVTable::new(
        // SAFETY: 1. the waker lives.
        |data| raw(Arc::clone(unsafe { shared(data) })),
        |data| {
            // SAFETY: 1. the waker lives until the next line.
            unsafe { hit(data) };
            // SAFETY: 1. used up.
            unsafe { free(data) };
        },
        // SAFETY: 1. the waker lives.
        |data| unsafe { hit(data) },
        // SAFETY: 1. used up.
        |data| unsafe { free(data) },
    );
    // SAFETY: 1. the four functions keep the contract.
    unsafe { Waker::from_raw(raw(Arc::clone(count))) }
}
