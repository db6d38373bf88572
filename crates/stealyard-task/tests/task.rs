//! Goal: a task runs to its end exactly once, is dropped exactly once whatever happens to its
//! wakers and its handle, reports its panic to its joiner or its scheduler, and gives its memory
//! back.
//!
//! Method: the task parts under a queue that the test drives by hand. Futures and outputs count
//! their drops. After each test the memory must be back in the pool and the scheduler gone.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/by_hand.rs"]
mod by_hand;
#[path = "support/quietly.rs"]
mod quietly;

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use by_hand::{Counted, Counter, Scheduler};
use quietly::quietly;
use stealyard_task::JoinError;

/// A future that is woken by hand: it hands out its waker each time it is polled.
fn wait_for(slot: &Slot, polls: u32) -> impl Future<Output = u32> + Send + use<> {
    let slot = Arc::clone(slot);
    let mut left = polls;
    poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(polls);
        }
        left -= 1;
        *slot.lock().unwrap() = Some(context.waker().clone());
        Poll::Pending
    })
}

type Slot = Arc<Mutex<Option<Waker>>>;

fn slot() -> Slot {
    Arc::default()
}

fn take(slot: &Slot) -> Waker {
    slot.lock()
        .unwrap()
        .take()
        .expect("the future left its waker")
}

#[test]
fn a_future_gives_its_value_to_the_handle() {
    let scheduler = Scheduler::new();
    let handle = scheduler.spawn(async { 6 * 7 });
    assert!(!handle.is_finished());
    assert_eq!(scheduler.run(), 1);
    assert!(handle.is_finished());
    assert_eq!(handle.join().unwrap(), 42);
    scheduler.finish();
}

#[test]
fn a_closure_gives_its_value_to_the_handle() {
    let scheduler = Scheduler::new();
    let text = String::from("yes");
    let handle = scheduler.spawn_call(move || text + "!");
    scheduler.run();
    assert_eq!(handle.join().unwrap(), "yes!");
    scheduler.finish();
}

#[test]
fn a_task_sleeps_until_it_is_woken_and_runs_once_for_many_wakes() {
    let scheduler = Scheduler::new();
    let slot = slot();
    let handle = scheduler.spawn(wait_for(&slot, 2));
    assert_eq!(scheduler.run(), 1);
    assert_eq!(scheduler.run(), 0, "it sleeps");
    let waker = take(&slot);
    waker.wake_by_ref();
    waker.wake_by_ref();
    waker.wake();
    assert_eq!(scheduler.run(), 1, "three wakes, one poll");
    take(&slot).wake();
    assert_eq!(scheduler.run(), 1);
    assert_eq!(handle.join().unwrap(), 2);
    scheduler.finish();
}

#[test]
fn a_task_that_wakes_itself_runs_again() {
    let scheduler = Scheduler::new();
    let mut left = 5;
    let handle = scheduler.spawn(poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        let clone = context.waker().clone();
        clone.wake();
        Poll::Pending
    }));
    assert_eq!(scheduler.run(), 6);
    handle.join().unwrap();
    scheduler.finish();
}

#[test]
fn a_handle_awaits_another_task_and_may_change_its_waker() {
    let scheduler = Scheduler::new();
    let slot = slot();
    let mut inner = scheduler.spawn(wait_for(&slot, 1));
    scheduler.run();
    let first = Counter::new();
    let second = Counter::new();
    let mut poll = |counter: &Counter| {
        let waker = counter.waker();
        Pin::new(&mut inner).poll(&mut Context::from_waker(&waker))
    };
    assert!(poll(&first).is_pending());
    assert!(poll(&second).is_pending());
    take(&slot).wake();
    scheduler.run();
    assert_eq!((first.wakes(), second.wakes()), (0, 1));
    assert!(matches!(poll(&second), Poll::Ready(Ok(1))));
    drop(inner);
    scheduler.finish();
}

#[test]
fn dropping_the_handle_detaches_and_the_output_is_dropped_once() {
    for when in 0..3 {
        let scheduler = Scheduler::new();
        let counter = Counter::new();
        let slot = slot();
        let output = Counted::new(&counter);
        let wait = wait_for(&slot, 1);
        let handle = scheduler.spawn(async move {
            wait.await;
            output
        });
        let mut handle = Some(handle);
        if when == 0 {
            drop(handle.take());
        }
        scheduler.run();
        if when == 1 {
            drop(handle.take());
        }
        take(&slot).wake();
        scheduler.run();
        if when == 2 {
            assert_eq!(counter.drops(), 0);
            drop(handle.take());
        }
        assert_eq!(counter.drops(), 1);
        scheduler.finish();
    }
}

#[test]
fn an_aborted_task_is_dropped_unpolled() {
    let scheduler = Scheduler::new();
    let counter = Counter::new();
    let held = Counted::new(&counter);
    // Aborted before it began.
    let handle = scheduler.spawn(async move { drop(held) });
    handle.abort();
    scheduler.run();
    assert_eq!(counter.drops(), 1);
    assert!(matches!(handle.join(), Err(JoinError::Cancelled)));
    // Aborted while it sleeps.
    let held = Counted::new(&counter);
    let handle = scheduler.spawn(async move {
        let _held = held;
        pending::<()>().await;
    });
    scheduler.run();
    handle.abort();
    handle.abort();
    assert!(!handle.is_finished());
    assert_eq!(scheduler.run(), 1);
    assert_eq!(counter.drops(), 2);
    assert!(handle.join().unwrap_err().is_cancelled());
    // Aborted when it has ended: the result stays.
    let handle = scheduler.spawn(async { 1 });
    scheduler.run();
    handle.abort();
    assert_eq!(handle.join().unwrap(), 1);
    scheduler.finish();
}

#[test]
fn a_task_that_aborts_itself_ends_when_it_next_waits() {
    let scheduler = Scheduler::new();
    let handle = Arc::new(Mutex::new(None));
    let own = Arc::clone(&handle);
    let task = scheduler.spawn(async move {
        let handle: stealyard_task::JoinHandle<()> = own.lock().unwrap().take().unwrap();
        handle.abort();
        pending::<()>().await;
        drop(handle);
    });
    *handle.lock().unwrap() = Some(task);
    scheduler.run();
    scheduler.finish();
}

#[test]
fn t5_panics_are_caught_wherever_they_happen() {
    struct Bomb(&'static str);
    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any(self.0);
        }
    }
    let message = |error: JoinError| match error {
        JoinError::Panic(payload) => payload.message().unwrap_or("?").to_owned(),
        JoinError::Cancelled => "cancelled".to_owned(),
    };
    quietly(|| {
        let scheduler = Scheduler::new();
        // In a poll, and in a closure.
        let handle = scheduler.spawn(async { std::panic::panic_any("poll") });
        scheduler.run();
        assert_eq!(message(handle.join().unwrap_err()), "poll");
        let handle = scheduler.spawn_call(|| -> u32 { panic!("call {}", 1) });
        scheduler.run();
        assert_eq!(message(handle.join().unwrap_err()), "call 1");
        // In the future's destructor, after it was ready, and when it is cancelled.
        let bomb = Bomb("future");
        let handle = scheduler.spawn(poll_fn(move |_| {
            let _bomb = &bomb;
            Poll::Ready(1)
        }));
        scheduler.run();
        assert_eq!(message(handle.join().unwrap_err()), "future");
        let bomb = Bomb("cancelled future");
        let handle = scheduler.spawn(async move {
            let _bomb = &bomb;
            pending::<()>().await;
        });
        handle.abort();
        scheduler.run();
        assert_eq!(message(handle.join().unwrap_err()), "cancelled future");
        // Twice: the first is kept.
        let bomb = Bomb("second");
        let handle = scheduler.spawn(poll_fn(move |_| -> Poll<()> {
            let _bomb = &bomb;
            std::panic::panic_any("first")
        }));
        scheduler.run();
        assert_eq!(message(handle.join().unwrap_err()), "first");
        // In the destructor of an output that no handle takes: the scheduler is told.
        let heard = scheduler.panics();
        drop(scheduler.spawn(async { Bomb("output") }));
        scheduler.run();
        assert_eq!(scheduler.panics(), heard + 1);
        // In the destructor of an output that the handle drops: the hook hears it, and the dropper
        // does not.
        let heard = scheduler.panics();
        let handle = scheduler.spawn(async { Bomb("handle") });
        scheduler.run();
        drop(handle);
        assert_eq!(scheduler.panics(), heard + 1);
        // In the joiner's waker.
        let mut handle = scheduler.spawn(async {});
        let waker = by_hand::panicking_waker();
        assert!(
            Pin::new(&mut handle)
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        let heard = scheduler.panics();
        scheduler.run();
        assert_eq!(scheduler.panics(), heard + 1);
        handle.join().unwrap();
        scheduler.finish();
    });
}

#[test]
fn t2_a_waker_outlives_the_scheduler() {
    let scheduler = Scheduler::new();
    let counter = Counter::new();
    let slot = slot();
    let held = Counted::new(&counter);
    let wait = wait_for(&slot, 1);
    let handle = scheduler.spawn(async move {
        let _held = held;
        wait.await
    });
    scheduler.run();
    scheduler.close();
    assert_eq!(counter.drops(), 1);
    let waker = take(&slot);
    let second = waker.clone();
    waker.wake();
    second.wake_by_ref();
    assert!(matches!(handle.join(), Err(JoinError::Cancelled)));
    let alive = scheduler.alive();
    drop(scheduler);
    assert!(alive(), "a waker is left");
    drop(second);
    assert!(
        !alive(),
        "the last waker takes the scheduler's memory along"
    );
}

#[test]
fn t2_a_sleeper_that_is_woken_after_the_close_is_dropped() {
    let scheduler = Scheduler::new();
    let slot = slot();
    let handle = scheduler.spawn(wait_for(&slot, 1));
    scheduler.run();
    scheduler.refuse();
    take(&slot).wake();
    assert!(matches!(handle.join(), Err(JoinError::Cancelled)));
    scheduler.finish();
}

#[test]
fn t3_a_waker_may_call_back_into_anything() {
    // The joiner's waker, when it is cloned, woken and dropped, spawns and wakes on its own.
    let scheduler = Scheduler::new();
    let shared = scheduler.share();
    let waker = by_hand::calling_waker(move || {
        drop(shared.spawn(async {}));
    });
    let mut handle = scheduler.spawn(async {});
    assert!(
        Pin::new(&mut handle)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    scheduler.run();
    drop(handle);
    let mut handle = scheduler.spawn(async {});
    assert!(
        Pin::new(&mut handle)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    drop(handle);
    drop(waker);
    scheduler.run();
    scheduler.finish();
}

#[test]
fn t4_a_destructor_may_call_back_into_the_scheduler() {
    // Run by a cancelled sleeper, while the scheduler closes, and by an output that no handle
    // takes.
    struct CallsBack(Scheduler, Counter);
    impl Drop for CallsBack {
        fn drop(&mut self) {
            let counted = Counted::new(&self.1);
            let handle = self.0.spawn(async move { drop(counted) });
            handle.abort();
            self.0.blocks();
            self.0.close();
        }
    }
    let scheduler = Scheduler::new();
    let counter = Counter::new();
    let held = CallsBack(scheduler.share(), counter.clone());
    drop(scheduler.spawn(async move {
        let _held = held;
        pending::<()>().await;
    }));
    let output = CallsBack(scheduler.share(), counter.clone());
    drop(scheduler.spawn(async move { output }));
    scheduler.run();
    scheduler.close();
    assert_eq!(counter.drops(), 2);
    scheduler.finish();
}

#[test]
fn t4_a_task_bound_to_its_thread_is_dropped_there() {
    // A scheduler for local tasks sends what is aborted elsewhere home; the abort itself drops
    // nothing.
    struct Bound(std::thread::ThreadId, Counter);
    impl Drop for Bound {
        fn drop(&mut self) {
            assert_eq!(std::thread::current().id(), self.0);
            drop(Counted::new(&self.1));
        }
    }
    let scheduler = Scheduler::new();
    let counter = Counter::new();
    let bound = Bound(std::thread::current().id(), counter.clone());
    let rc = std::rc::Rc::new(bound);
    // SAFETY: 1. run and dropped on this thread only; 2. the output is `Send`; 3. nothing is
    // borrowed.
    let handle = unsafe {
        scheduler.spawn_unchecked(async move {
            let _rc = rc;
            pending::<()>().await;
        })
    };
    scheduler.run();
    std::thread::spawn(move || {
        handle.abort();
        assert!(!handle.is_finished());
    })
    .join()
    .unwrap();
    assert_eq!(counter.drops(), 0);
    scheduler.run();
    assert_eq!(counter.drops(), 1);
    scheduler.finish();
}

#[test]
fn t13_a_large_future_does_not_pass_over_the_stack_more_often_than_it_must() {
    // A future of 24 KiB. Optimised it is copied once or twice; otherwise the compiler copies a
    // value for each call that it is passed through, 14 times as measured. Three more must fit, and
    // 16 KiB for the rest; five more would not.
    const LARGE: usize = 24 * 1024;
    const COPIES: usize = if cfg!(debug_assertions) { 14 } else { 2 };
    std::thread::Builder::new()
        .stack_size((COPIES + 3) * LARGE + 16 * 1024)
        .spawn(|| {
            let scheduler = Scheduler::new();
            let mut large = [7_u8; LARGE];
            // Otherwise there would be nothing left to copy but the number.
            std::hint::black_box(&mut large);
            let handle = scheduler
                .spawn(async move { large.iter().map(|&byte| u64::from(byte)).sum::<u64>() });
            scheduler.run();
            assert_eq!(handle.join().unwrap(), 7 * LARGE as u64);
            // One that is larger than the stack comes in a box.
            let boxed = vec![1_u8; 1024 * 1024].into_boxed_slice();
            let handle = scheduler.spawn(Box::pin(async move { boxed.len() }));
            scheduler.run();
            assert_eq!(handle.join().unwrap(), 1024 * 1024);
            scheduler.finish();
        })
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn large_and_strictly_aligned_tasks_get_their_layout() {
    #[repr(align(4096))]
    struct Page([u8; 4096]);
    let scheduler = Scheduler::new();
    let page = Page([3; 4096]);
    let handle = scheduler.spawn(async move {
        let address = (&raw const page).addr();
        std::future::ready(()).await;
        (address % 4096, page.0[4095])
    });
    assert_eq!(scheduler.blocks(), 1);
    scheduler.run();
    assert_eq!(handle.join().unwrap(), (0, 3));
    scheduler.finish();
}

#[test]
fn a_small_task_that_sleeps_takes_64_bytes() {
    let scheduler = Scheduler::new();
    let handles: Vec<_> = (0..10_000)
        .map(|index| {
            scheduler.spawn(poll_fn(move |_| {
                if index == u32::MAX {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            }))
        })
        .collect();
    scheduler.run();
    assert_eq!(
        scheduler.slab_bytes(),
        10_000_usize.div_ceil(1023) * 64 * 1024
    );
    drop(handles);
    scheduler.close();
    scheduler.finish();
}

#[test]
fn memory_goes_back_to_the_system_after_a_flood() {
    let scheduler = Scheduler::new();
    let handles: Vec<_> = (0..200_000).map(|_| scheduler.spawn(async {})).collect();
    let peak = scheduler.slab_bytes();
    scheduler.run();
    drop(handles);
    assert!(
        scheduler.slab_bytes() < peak / 4,
        "{} of {peak} bytes kept",
        scheduler.slab_bytes()
    );
    // And what is left serves the next flood.
    for _ in 0..200_000 {
        drop(scheduler.spawn(async {}));
        scheduler.run();
    }
    assert!(scheduler.slab_bytes() < peak / 4);
    scheduler.finish();
}

#[test]
fn joining_inside_a_task_is_an_error_that_says_what_to_do() {
    quietly(|| {
        let scheduler = Scheduler::new();
        let shared = scheduler.share();
        let handle = scheduler.spawn(async move {
            let inner = shared.spawn(async {});
            inner.join().unwrap();
        });
        scheduler.run();
        let Err(JoinError::Panic(payload)) = handle.join() else {
            panic!("it must panic");
        };
        assert!(payload.message().unwrap().contains("`.await` the handle"));
        scheduler.finish();
    });
}
