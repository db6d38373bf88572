//! Blocks a thread on a future, with the thread itself as the waker.
//!
//! # Orderings
//! | label | operation                         | partner | publishes                   |
//! |-------|-----------------------------------|---------|-----------------------------|
//! | U1    | `wake_by_ref`: store `woken`, Release | U2  | what the waker did before   |
//! | U2    | `block_on`: swap, Acquire         | U1      | –                           |

use core::mem::ManuallyDrop;
use core::pin::Pin;
use core::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use stealyard_sync::Arc;
use stealyard_sync::atomic::{AtomicBool, Ordering};
use stealyard_sync::thread::{self, Thread};

/// A thread that waits.
struct Waiter {
    thread: Thread,
    /// A token of our own: the thread's may be taken by anyone who parks it.
    woken: AtomicBool,
}

impl Waiter {
    fn wake(&self) {
        // Ordering: Release (U1).
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// The standard library's `Wake` knows only its own `Arc`.
static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

fn waker(waiter: Arc<Waiter>) -> Waker {
    let raw = RawWaker::new(Arc::into_raw(waiter).cast(), &VTABLE);
    // SAFETY: 1. each waker stands for one count of the `Arc`, as the four functions keep it.
    unsafe { Waker::from_raw(raw) }
}

/// # Safety
/// 1. `data` is of a waker that lives as long as the value is used.
unsafe fn borrow(data: *const ()) -> ManuallyDrop<Arc<Waiter>> {
    // SAFETY: 1. it stands for a count, which is not given up here (1).
    ManuallyDrop::new(unsafe { Arc::from_raw(data.cast()) })
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: 1. the waker that is cloned lives.
    let waiter = unsafe { borrow(data) };
    RawWaker::new(Arc::into_raw(Arc::clone(&waiter)).cast(), &VTABLE)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: 1. the waker's count, given up here.
    let waiter = unsafe { Arc::from_raw(data.cast::<Waiter>()) };
    waiter.wake();
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: 1. the waker lives.
    unsafe { borrow(data) }.wake();
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: 1. the waker's count, given up here.
    drop(unsafe { Arc::from_raw(data.cast::<Waiter>()) });
}

/// Polls until it is ready, asleep in between.
pub(super) fn block_on<F: Future + Unpin>(future: &mut F) -> F::Output {
    let waiter = Arc::new(Waiter {
        thread: thread::current(),
        woken: AtomicBool::new(false),
    });
    let waker = waker(Arc::clone(&waiter));
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
