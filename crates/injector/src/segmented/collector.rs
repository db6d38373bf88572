//! The epoch collector of this crate's queues, which has nothing to free but their blocks.
//!
//! crossbeam-epoch has a default collector that every library of a process shares. It has two
//! drawbacks:
//! - Any safe code can defer a closure to it, and any call that pins it may run that closure: in
//!   the middle of a push, on the stack of a thread that does not expect it.
//! - A guard that is kept for long, or forgotten, keeps everything that was deferred after it.
//!
//! A collector of our own has neither. What runs in [`pin`] is the release of blocks, which is no
//! user's code, by G5 of `segmented.rs` (no foreign code). And no guard of it is ever kept beyond a
//! call.
//!
//! Each thread is registered on its first use, and unregistered when it ends. A call from a
//! destructor of another thread-local, after that, registers the thread for as long as the guard
//! lives.

use crossbeam_epoch::{Collector, Guard, LocalHandle};

stealyard_sync::lazy_static! {
    static ref COLLECTOR: Collector = Collector::new();
}

stealyard_sync::thread_local! {
    static HANDLE: LocalHandle = COLLECTOR.register();
}

/// Pins the thread: what the queues' pointers showed it stays alive until the guard is dropped.
pub(super) fn pin() -> Guard {
    HANDLE
        .try_with(LocalHandle::pin)
        .unwrap_or_else(|_| COLLECTOR.register().pin())
}
