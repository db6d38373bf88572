//! Goal: freed blocks go back to the allocator whatever other code does with crossbeam-epoch (Q14,
//! Q21). Method: an allocator that counts; a guard of the default collector that is never dropped.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use stealyard_injector::Segmented;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: 1. the system's allocator does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: 1. as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: 1. as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn q14_q21_a_foreign_pin_that_never_ends_keeps_no_block() {
    std::mem::forget(crossbeam_epoch::pin());
    let queue = Segmented::new();
    let before = LIVE.load(Ordering::Relaxed);
    for _ in 0..2_000 {
        queue.push_batch(0..252_usize);
        while queue.pop_batch(252, 1, |_| ()) > 0 {}
    }
    let kept = LIVE.load(Ordering::Relaxed).saturating_sub(before);
    // A block is some 2.5 KiB. 2,000 of them are 5 MiB, and the collector holds some dozens.
    assert!(kept < 1 << 20, "{kept} bytes are kept");
}
