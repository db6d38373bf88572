//! Blocks a thread on a handle, with the thread itself as the waker.

use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::task::Wake;

use stealyard_sync::atomic::{AtomicBool, Ordering};
use stealyard_sync::thread::{self, Thread};

/// A thread that waits.
///
/// # Orderings
/// | label | operation                     | partner | publishes                   |
/// |-------|-------------------------------|---------|-----------------------------|
/// | U1    | `wake`: store `woken`, Release | U2      | what the waker did before   |
/// | U2    | `block_on`: swap, Acquire     | U1      | –                           |
struct Waiter {
    thread: Thread,
    /// A token of our own: the thread's may be taken by anyone who parks it.
    woken: AtomicBool,
}

impl Wake for Waiter {
    fn wake(self: std::sync::Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &std::sync::Arc<Self>) {
        // Ordering: Release (U1).
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Polls until it is ready, asleep in between.
pub(super) fn block_on<F: Future + Unpin>(future: &mut F) -> F::Output {
    let waiter = std::sync::Arc::new(Waiter {
        thread: thread::current(),
        woken: AtomicBool::new(false),
    });
    let waker = Waker::from(std::sync::Arc::clone(&waiter));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = Pin::new(&mut *future).poll(&mut context) {
            return output;
        }
        // Ordering: Acquire (U2); the poll that follows sees what the waker did.
        while !waiter.woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}
