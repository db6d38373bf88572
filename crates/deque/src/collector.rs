//! The epoch collector that frees the replaced buffers of all queues of this crate.
//!
//! crossbeam-epoch has a default collector that every library of a process shares. It does not fit
//! here, for two reasons:
//! - Any safe code can defer a closure there, and a thread that pins or flushes the collector may
//!   have to run that closure. The closure could push to the very queue that is about to replace
//!   its buffer, or panic.
//! - A program that stays pinned there would hold up our buffers, as ours would hold up its
//!   garbage.
//!
//! So this crate has a collector of its own, which no code outside can reach. All that is ever
//! deferred there is to free a [`Buffer`](crate::buffer). Pinning runs no foreign code but the
//! allocator.
//!
//! # Cost
//! One more record, of some two kilobytes, for each thread that steals from a growable queue or
//! whose queue replaced a buffer. It is freed with the thread.

use crossbeam_epoch::{Collector, Guard, LocalHandle};

stealyard_sync::lazy_static! {
    static ref COLLECTOR: Collector = Collector::new();
}

stealyard_sync::thread_local! {
    /// This thread's record in the collector, made on its first pin.
    static HANDLE: LocalHandle = COLLECTOR.register();
}

/// Pins the thread: every buffer that is current now, or becomes current, is not freed until the
/// guard is dropped.
///
/// This also works in destructors of thread-local variables that run after this thread's record is
/// gone. There, each pin makes a record for itself.
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
