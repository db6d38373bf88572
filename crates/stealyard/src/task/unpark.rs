//! Blocks a thread on a future, with the thread's parker as the waker.

use core::mem::ManuallyDrop;
use core::pin::Pin;
use core::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use stealyard_park::{Parker, Unparker};
use stealyard_sync::Arc;

/// The standard library's `Wake` knows only its own `Arc`.
static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

fn waker(unparker: Arc<Unparker>) -> Waker {
    let raw = RawWaker::new(Arc::into_raw(unparker).cast(), &VTABLE);
    // SAFETY: 1. each waker stands for one count of the `Arc`, as the four functions keep it.
    unsafe { Waker::from_raw(raw) }
}

/// # Safety
/// 1. `data` is of a waker that lives as long as the value is used.
unsafe fn borrow(data: *const ()) -> ManuallyDrop<Arc<Unparker>> {
    // SAFETY: 1. it stands for a count, which is not given up here (1).
    ManuallyDrop::new(unsafe { Arc::from_raw(data.cast()) })
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: 1. the waker that is cloned lives.
    let unparker = unsafe { borrow(data) };
    RawWaker::new(Arc::into_raw(Arc::clone(&unparker)).cast(), &VTABLE)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: 1. the waker's count, given up here.
    let unparker = unsafe { Arc::from_raw(data.cast::<Unparker>()) };
    unparker.unpark();
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: 1. the waker lives.
    unsafe { borrow(data) }.unpark();
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: 1. the waker's count, given up here.
    drop(unsafe { Arc::from_raw(data.cast::<Unparker>()) });
}

/// Polls until it is ready, asleep in between.
pub(super) fn block_on<F: Future + Unpin>(future: &mut F) -> F::Output {
    let parker = Parker::new();
    let waker = waker(Arc::new(parker.unparker()));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = Pin::new(&mut *future).poll(&mut context) {
            return output;
        }
        parker.park();
    }
}
