//! The epoch collector that frees the replaced buffers of all queues of this crate.
//!
//! crossbeam-epoch has a collector that everyone may use: any safe code can defer a closure there, and a thread
//! that pins or flushes it may have to run that closure. It could push to the very queue that is about to
//! replace its buffer, or panic. And a program that stays pinned there would hold up our buffers, as ours would
//! hold up its garbage. So this crate has a collector of its own, which nothing outside can reach: all that is
//! ever deferred there is to free a [`Buffer`](crate::buffer), and pinning runs no foreign code but the
//! allocator.
//!
//! # Cost
//! One more record of some two kilobytes for each thread that steals from a growable queue, or whose queue
//! replaced a buffer; freed with the thread.

use crossbeam_epoch::{Collector, Guard, LocalHandle};

stealyard_sync::lazy_static! {
    static ref COLLECTOR: Collector = Collector::new();
}

stealyard_sync::thread_local! {
    /// This thread's record in the collector, made on its first pin.
    static HANDLE: LocalHandle = COLLECTOR.register();
}

/// Keeps every buffer that is current now, or becomes so, from being freed until the guard is dropped.
///
/// Also in destructors of thread-local variables that run after this thread's record is gone: there each pin
/// makes a record for itself.
#[cfg_attr(
    not(stealyard_loom),
    expect(unreachable_pub, reason = "models pin, too")
)]
#[inline]
pub fn pin() -> Guard {
    HANDLE
        .try_with(LocalHandle::pin)
        .unwrap_or_else(|_| COLLECTOR.register().pin())
}
