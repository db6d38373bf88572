//! Goal: no wake is lost, no future or output is touched by two threads or dropped twice, and no
//! memory is given back while it is in use, under every interleaving of wake, run, abort, join and
//! drop.
//!
//! Method: tasks under a queue that each thread of the model drains when it has done its part. The
//! future, the output and the wakers lie in cells that loom watches, so a missing hand-over is a
//! race. After each execution the memory is back in the pool and the scheduler gone.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use stealyard_sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use stealyard_sync::cell::UnsafeCell;
use stealyard_sync::{Arc, Mutex, model, thread};
use stealyard_task::{
    JoinError, JoinHandle, LocalMemory, Ran, Schedule, Task, TaskMemory, Why, spawn, spawn_detached,
};

use super::waker::counting;

struct Shared {
    /// Empty, or closed.
    queue: Mutex<Option<VecDeque<Task>>>,
    memory: TaskMemory<Shared>,
    /// Something on every thread that wakes keeps this as long as the model's wakes last.
    kept: bool,
    /// Read by `schedule` when the task is published, written when the scheduler goes.
    end: UnsafeCell<()>,
}

// SAFETY: 1. loom checks that the end comes after all uses.
unsafe impl Sync for Shared {}

impl Drop for Shared {
    fn drop(&mut self) {
        self.end.with_mut(|_| ());
    }
}

// SAFETY: 1. one memory; 2. no worker's memory is lent; 3. as the model says.
unsafe impl Schedule for Shared {
    fn schedule(&self, task: Task, _why: Why) {
        self.push(task);
        // The task may be gone, but not the scheduler (T1).
        self.end.with(|_| ());
    }

    fn is_kept_by_this_thread(&self) -> bool {
        self.kept
    }

    fn memory(&self) -> &TaskMemory<Self> {
        &self.memory
    }

    fn with_local<R>(&self, f: impl FnOnce(Option<&LocalMemory>) -> R) -> R {
        f(None)
    }
}

impl Shared {
    fn new() -> Arc<Self> {
        Self::with(false)
    }

    /// For a model in which every thread that wakes keeps the scheduler, as its workers do.
    fn kept() -> Arc<Self> {
        Self::with(true)
    }

    fn with(kept: bool) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(Some(VecDeque::new())),
            memory: TaskMemory::new(),
            kept,
            end: UnsafeCell::new(()),
        })
    }

    fn push(&self, task: Task) {
        let mut queue = self.queue.lock().unwrap();
        let refused = match queue.as_mut() {
            Some(queue) => {
                queue.push_back(task);
                None
            }
            None => Some(task),
        };
        drop(queue);
        drop(refused);
    }

    fn run(&self) {
        loop {
            let task = self
                .queue
                .lock()
                .unwrap()
                .as_mut()
                .and_then(VecDeque::pop_front);
            let Some(task) = task else { return };
            if let Ran::Again(task) = task.run() {
                self.push(task);
            }
        }
    }

    fn close(&self) {
        let queue = self.queue.lock().unwrap().take();
        drop(queue);
        self.memory.claim_idle(drop);
    }
}

/// Ends a model: nothing may be left.
fn finish(shared: Arc<Shared>) {
    shared.run();
    shared.close();
    assert_eq!(shared.memory.out(), 0, "all task memory is back");
    assert_eq!(
        Arc::strong_count(&shared),
        1,
        "no reference keeps the scheduler"
    );
}

/// A value that loom watches, and whose drops are counted.
struct Watched {
    cell: UnsafeCell<u32>,
    drops: Arc<AtomicUsize>,
}

// SAFETY: 1. the models hand it over; loom checks that they do.
unsafe impl Sync for Watched {}

impl Watched {
    fn new(drops: &Arc<AtomicUsize>) -> Self {
        Self {
            cell: UnsafeCell::new(0),
            drops: Arc::clone(drops),
        }
    }

    fn touch(&self) -> u32 {
        self.cell.with_mut(|value| {
            // SAFETY: 1. loom checks that no other thread uses it.
            let value = unsafe { &mut *value };
            *value += 1;
            *value
        })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.touch();
        // Ordering: Relaxed; read after the threads were joined.
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

fn drops() -> Arc<AtomicUsize> {
    Arc::new(AtomicUsize::new(0))
}

fn dropped(drops: &Arc<AtomicUsize>) -> usize {
    // Ordering: Relaxed; the threads were joined.
    drops.load(Ordering::Relaxed)
}

/// Where a future leaves its waker.
type Slot = Arc<Mutex<Option<Waker>>>;

fn slot() -> Slot {
    Arc::new(Mutex::new(None))
}

fn take(slot: &Slot) -> Waker {
    slot.lock()
        .unwrap()
        .take()
        .expect("the future left its waker")
}

/// Sleeps until `ready`, which is read relaxed: only the wake orders it.
fn until(
    ready: &Arc<AtomicBool>,
    slot: &Slot,
    watched: Watched,
) -> impl Future<Output = u32> + Send + use<> {
    let (ready, slot) = (Arc::clone(ready), Arc::clone(slot));
    let mut left_waker = false;
    poll_fn(move |context| {
        let touched = watched.touch();
        // Ordering: Relaxed; on purpose, see above.
        if ready.load(Ordering::Relaxed) {
            return Poll::Ready(touched);
        }
        if !left_waker {
            left_waker = true;
            *slot.lock().unwrap() = Some(context.waker().clone());
        }
        Poll::Pending
    })
}

fn flag() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(false))
}

fn set(flag: &Arc<AtomicBool>) {
    // Ordering: Relaxed; on purpose: the wake that follows must publish it (S7).
    flag.store(true, Ordering::Relaxed);
}

fn poll<T>(handle: &mut JoinHandle<T>, waker: &Waker) -> Poll<Result<T, JoinError>> {
    Pin::new(handle).poll(&mut Context::from_waker(waker))
}

/// Two wakers race with each other and with the poll: what was done before a wake is seen by a
/// later poll, and the future goes from thread to thread whole.
fn no_wake_is_lost(shared: Arc<Shared>) {
    let (ready, slot, count) = (flag(), slot(), drops());
    let future = until(&ready, &slot, Watched::new(&count));
    let (task, handle) = spawn(&shared, None, future);
    assert!(matches!(task.run(), Ran::Pending));
    let waker = take(&slot);
    let other = {
        let (shared, ready, waker) = (Arc::clone(&shared), Arc::clone(&ready), waker.clone());
        thread::spawn(move || {
            set(&ready);
            // Dropping the waker would order things, too: not before the task has run.
            waker.wake_by_ref();
            shared.run();
        })
    };
    waker.wake();
    shared.run();
    other.join().unwrap();
    shared.run();
    assert!(handle.is_finished(), "the second wake was lost");
    assert!(handle.join().is_ok());
    assert_eq!(dropped(&count), 1);
    finish(shared);
}

#[test]
fn s7_no_wake_is_lost() {
    model::check(2, || no_wake_is_lost(Shared::new()));
}

#[test]
fn s7_no_wake_is_lost_on_a_thread_of_the_scheduler() {
    model::check(2, || no_wake_is_lost(Shared::kept()));
}

/// The same with a wake that meets the very first poll, which hands the waker out.
fn a_wake_during_the_poll_is_not_lost(shared: Arc<Shared>) {
    let (ready, count) = (flag(), drops());
    let other: Arc<Mutex<Option<thread::JoinHandle<()>>>> = Arc::default();
    let watched = Watched::new(&count);
    let future = {
        let (shared, ready, other) = (Arc::clone(&shared), Arc::clone(&ready), Arc::clone(&other));
        poll_fn(move |context| {
            watched.touch();
            // Ordering: Relaxed; on purpose.
            if ready.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            let (shared, ready, waker) = (
                Arc::clone(&shared),
                Arc::clone(&ready),
                context.waker().clone(),
            );
            let mut other = other.lock().unwrap();
            if other.is_none() {
                *other = Some(thread::spawn(move || {
                    set(&ready);
                    waker.wake();
                    shared.run();
                }));
            }
            Poll::Pending
        })
    };
    let task = spawn_detached(&shared, None, future);
    shared.push(task);
    shared.run();
    let other = other.lock().unwrap().take().unwrap();
    other.join().unwrap();
    shared.run();
    assert_eq!(dropped(&count), 1, "the task ended");
    finish(shared);
}

#[test]
fn s7_a_wake_during_the_poll_is_not_lost() {
    model::check(2, || a_wake_during_the_poll_is_not_lost(Shared::new()));
}

#[test]
fn s7_a_wake_during_the_poll_is_not_lost_on_a_thread_of_the_scheduler() {
    model::check(2, || a_wake_during_the_poll_is_not_lost(Shared::kept()));
}

/// A waker that is dropped, or cloned and dropped, while the task ends elsewhere: one of the two
/// frees.
fn the_last_reference_frees_once(shared: Arc<Shared>) {
    let (ready, slot, count) = (flag(), slot(), drops());
    let task = spawn_detached(&shared, None, until(&ready, &slot, Watched::new(&count)));
    assert!(matches!(task.run(), Ran::Pending));
    let waker = take(&slot);
    set(&ready);
    waker.wake_by_ref();
    let other = thread::spawn(move || {
        drop(waker.clone());
        waker.wake();
    });
    shared.run();
    other.join().unwrap();
    assert_eq!(dropped(&count), 1);
    finish(shared);
}

#[test]
fn s5_the_last_reference_frees_once() {
    model::check(3, || the_last_reference_frees_once(Shared::new()));
}

#[test]
fn s5_the_last_reference_frees_once_on_a_thread_of_the_scheduler() {
    model::check(3, || the_last_reference_frees_once(Shared::kept()));
}

/// Two wakers of a task that has ended are dropped at once.
#[test]
fn s5_two_last_wakers_free_once() {
    model::check(3, || {
        let (shared, slot) = (Shared::new(), slot());
        let leave = Arc::clone(&slot);
        let task = spawn_detached(
            &shared,
            None,
            poll_fn(move |context| {
                *leave.lock().unwrap() = Some(context.waker().clone());
                Poll::Ready(())
            }),
        );
        assert!(matches!(task.run(), Ran::Done));
        let first = take(&slot);
        let second = first.clone();
        let other = thread::spawn(move || drop(second));
        drop(first);
        other.join().unwrap();
        finish(shared);
    });
}

/// A waker is made and dropped by another thread during and after the poll: the runner may take the
/// task for its own only if that thread is done with it.
#[test]
fn s6_alone_means_that_the_others_are_done() {
    model::check(3, || {
        let (shared, slot, count) = (Shared::new(), slot(), drops());
        let watched = Watched::new(&count);
        let leave = Arc::clone(&slot);
        let mut polls = 0;
        let task = spawn_detached(
            &shared,
            None,
            poll_fn(move |context| {
                watched.touch();
                polls += 1;
                if polls == 1 {
                    *leave.lock().unwrap() = Some(context.waker().clone());
                    return Poll::Pending;
                }
                Poll::Ready(())
            }),
        );
        shared.push(task);
        let other = {
            let (shared, slot) = (Arc::clone(&shared), Arc::clone(&slot));
            thread::spawn(move || {
                let waker = slot.lock().unwrap().take();
                let woken = waker.is_some();
                if let Some(waker) = waker {
                    waker.wake();
                    shared.run();
                }
                woken
            })
        };
        shared.run();
        let woken = other.join().unwrap();
        shared.run();
        assert_eq!(dropped(&count), usize::from(woken));
        drop(slot);
        finish(shared);
    });
}

/// The task ends while its handle looks: either it sees the output, or its waker is woken.
#[test]
fn s3_a_joiner_is_woken_or_sees_the_output() {
    model::check(3, || {
        let (shared, count, wakes) = (Shared::new(), drops(), drops());
        let output = Watched::new(&count);
        let (task, mut handle) = spawn(&shared, None, async move {
            output.touch();
            output
        });
        shared.push(task);
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.run())
        };
        let waker = counting(&wakes);
        let output = match poll(&mut handle, &waker) {
            Poll::Ready(output) => {
                other.join().unwrap();
                output
            }
            Poll::Pending => {
                other.join().unwrap();
                assert_eq!(dropped(&wakes), 1, "the joiner was woken");
                handle.join()
            }
        };
        output.unwrap().touch();
        assert_eq!(dropped(&count), 1);
        drop(waker);
        finish(shared);
    });
}

/// The handle changes its waker while the task ends: the last one it left is woken, none is lost.
#[test]
fn s3_a_joiner_changes_its_waker() {
    model::check(2, || {
        let (shared, first, second) = (Shared::new(), drops(), drops());
        let (task, mut handle) = spawn(&shared, None, async { 1 });
        let (one, two) = (counting(&first), counting(&second));
        assert!(poll(&mut handle, &one).is_pending());
        shared.push(task);
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.run())
        };
        let seen = poll(&mut handle, &two);
        other.join().unwrap();
        match seen {
            Poll::Ready(output) => assert_eq!(output.unwrap(), 1),
            Poll::Pending => {
                assert_eq!(dropped(&second), 1, "the second waker was woken");
                assert_eq!(handle.join().unwrap(), 1);
            }
        }
        drop((one, two));
        assert_eq!(Arc::strong_count(&first), 1, "the first waker is gone");
        assert_eq!(Arc::strong_count(&second), 1, "and the second");
        finish(shared);
    });
}

/// The handle is dropped, with a waker in its slot, while the task ends.
#[test]
fn s4_the_output_is_dropped_once() {
    model::check(3, || {
        let (shared, count, wakes) = (Shared::new(), drops(), drops());
        let output = Watched::new(&count);
        let (task, mut handle) = spawn(&shared, None, async move { output });
        let waker = counting(&wakes);
        assert!(poll(&mut handle, &waker).is_pending());
        shared.push(task);
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.run())
        };
        drop(handle);
        other.join().unwrap();
        assert_eq!(dropped(&count), 1);
        drop(waker);
        assert_eq!(Arc::strong_count(&wakes), 1, "no waker is left in a slot");
        finish(shared);
    });
}

/// T15: abort, the last poll, and the end of the handle at once.
fn abort_races_with_the_end(shared: Arc<Shared>) {
    let (ready, slot) = (flag(), slot());
    let (futures, outputs) = (drops(), drops());
    let output = Watched::new(&outputs);
    let future = until(&ready, &slot, Watched::new(&futures));
    let (task, handle) = spawn(&shared, None, async move {
        future.await;
        output
    });
    assert!(matches!(task.run(), Ran::Pending));
    let waker = take(&slot);
    let other = {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            handle.abort();
            drop(handle);
            shared.run();
        })
    };
    set(&ready);
    waker.wake();
    shared.run();
    other.join().unwrap();
    shared.run();
    assert_eq!((dropped(&futures), dropped(&outputs)), (1, 1));
    finish(shared);
}

#[test]
fn t15_abort_races_with_the_end() {
    model::check(2, || abort_races_with_the_end(Shared::new()));
}

#[test]
fn t15_abort_races_with_the_end_on_a_thread_of_the_scheduler() {
    model::check(2, || abort_races_with_the_end(Shared::kept()));
}

/// An abort while the task sleeps, runs, or goes to sleep: the handle hears of one end.
#[test]
fn t15_an_abort_is_not_lost() {
    model::check(3, || {
        let (shared, slot, count) = (Shared::new(), slot(), drops());
        let future = until(&flag(), &slot, Watched::new(&count));
        let (task, handle) = spawn(&shared, None, future);
        shared.push(task);
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.run();
            })
        };
        handle.abort();
        shared.run();
        other.join().unwrap();
        shared.run();
        assert!(handle.is_finished(), "the abort was lost");
        assert!(matches!(handle.join(), Err(JoinError::Cancelled)));
        assert_eq!(dropped(&count), 1);
        drop(slot);
        finish(shared);
    });
}

/// An abort that the scheduler refuses drops the future on the spot, whichever thread polled it
/// before.
#[test]
fn t15_an_abort_meets_a_closed_scheduler() {
    model::check(3, || {
        let (shared, slot, count) = (Shared::new(), slot(), drops());
        let future = until(&flag(), &slot, Watched::new(&count));
        let (task, handle) = spawn(&shared, None, future);
        shared.close();
        let other = thread::spawn(move || match task.run() {
            Ran::Again(task) => drop(task),
            Ran::Pending | Ran::Done => (),
        });
        handle.abort();
        other.join().unwrap();
        assert!(matches!(handle.join(), Err(JoinError::Cancelled)));
        assert_eq!(dropped(&count), 1);
        drop(slot);
        finish(shared);
    });
}

/// ID1, T15: an abort handle names the task, aborts it and goes, while the task names itself and
/// ends.
#[test]
fn id1_an_abort_handle_races_with_the_end() {
    model::check(2, || {
        let (shared, outputs) = (Shared::new(), drops());
        let output = Watched::new(&outputs);
        let (task, handle) = spawn(
            &shared,
            None,
            async move { (output, stealyard_task::task_id()) },
        );
        let abort = handle.abort_handle();
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let id = abort.id();
                abort.abort();
                drop(abort);
                shared.run();
                id
            })
        };
        shared.push(task);
        shared.run();
        let id = other.join().unwrap();
        shared.run();
        match handle.join() {
            Ok((_output, inside)) => assert_eq!(inside, id),
            Err(error) => assert!(error.is_cancelled()),
        }
        assert_eq!(dropped(&outputs), 1);
        finish(shared);
    });
}

/// A thread blocks on the handle while another runs the task.
#[test]
fn a_blocked_joiner_is_woken() {
    model::check(2, || {
        let (shared, count) = (Shared::new(), drops());
        let output = Watched::new(&count);
        let (task, handle) = spawn(&shared, None, async move { output });
        shared.push(task);
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.run())
        };
        handle.join().unwrap().touch();
        other.join().unwrap();
        assert_eq!(dropped(&count), 1);
        finish(shared);
    });
}

/// T1, T2: a foreign waker meets the shutdown: the task is cancelled once, by either, and the last
/// waker takes the scheduler along.
#[test]
fn t1_a_wake_meets_the_shutdown() {
    model::check(2, || {
        let (shared, slot, count) = (Shared::new(), slot(), drops());
        let future = until(&flag(), &slot, Watched::new(&count));
        let task = spawn_detached(&shared, None, future);
        assert!(matches!(task.run(), Ran::Pending));
        let waker = take(&slot);
        drop(slot);
        let other = thread::spawn(move || waker.wake());
        shared.close();
        // The scheduler's own reference may be the last, or the waker's.
        drop(shared);
        other.join().unwrap();
        assert_eq!(dropped(&count), 1);
    });
}

/// The same on a thread that keeps the scheduler, so that the wake gives up its waker in one step.
#[test]
fn t1_a_wake_on_a_thread_of_the_scheduler_meets_the_shutdown() {
    model::check(2, || {
        let (shared, slot, count) = (Shared::kept(), slot(), drops());
        let future = until(&flag(), &slot, Watched::new(&count));
        let task = spawn_detached(&shared, None, future);
        assert!(matches!(task.run(), Ran::Pending));
        let waker = take(&slot);
        drop(slot);
        let kept = Arc::clone(&shared);
        let other = thread::spawn(move || {
            waker.wake();
            drop(kept);
        });
        shared.close();
        drop(shared);
        other.join().unwrap();
        assert_eq!(dropped(&count), 1);
    });
}

/// A waker is still inside `schedule` when the task it woke has slept again, or ended, elsewhere,
/// and all others let go of the scheduler (risk T1).
fn the_scheduler_outlives_the_wake(ends: bool, keep_waker: bool) {
    let (shared, ready, slot, count) = (Shared::new(), flag(), slot(), drops());
    let future = until(&ready, &slot, Watched::new(&count));
    let task = spawn_detached(&shared, None, future);
    assert!(matches!(task.run(), Ran::Pending));
    let waker = take(&slot);
    drop(slot);
    let kept = keep_waker.then(|| waker.clone());
    let other = {
        let ready = Arc::clone(&ready);
        thread::spawn(move || {
            if ends {
                set(&ready);
            }
            waker.wake();
        })
    };
    shared.run();
    shared.close();
    drop(shared);
    drop(kept);
    other.join().unwrap();
    assert_eq!(dropped(&count), 1);
}

#[test]
fn t1_the_scheduler_outlives_a_wake_of_a_task_that_sleeps_again() {
    model::check(2, || the_scheduler_outlives_the_wake(false, false));
}

#[test]
fn t1_the_scheduler_outlives_a_wake_of_a_task_that_ends() {
    model::check(2, || the_scheduler_outlives_the_wake(true, false));
}

#[test]
fn t1_the_scheduler_outlives_a_wake_when_another_waker_is_last() {
    model::check(2, || the_scheduler_outlives_the_wake(true, true));
}

/// Shutdown claims a task that goes to sleep on a worker and is known to no other thread (S6).
#[test]
fn t1_a_sleeping_task_without_a_waker_is_claimed() {
    model::check(3, || {
        let (shared, count) = (Shared::new(), drops());
        let watched = Watched::new(&count);
        let task = spawn_detached(
            &shared,
            None,
            poll_fn(move |_| {
                watched.touch();
                Poll::<()>::Pending
            }),
        );
        let other = thread::spawn(move || assert!(matches!(task.run(), Ran::Pending)));
        let mut claimed = None;
        while claimed.is_none() {
            shared.memory.claim_idle(|task| claimed = Some(task));
            thread::yield_now();
        }
        drop(claimed);
        other.join().unwrap();
        finish(shared);
        assert_eq!(dropped(&count), 1);
    });
}

/// Two threads spawn and free at once: blocks go round without a race.
#[test]
fn m1_a_block_is_in_one_place() {
    model::check(2, || {
        let shared = Shared::new();
        let spin = |shared: &Arc<Shared>| {
            let (task, handle) = spawn(shared, None, async { 5 });
            assert!(matches!(task.run(), Ran::Done));
            assert_eq!(handle.join().unwrap(), 5);
        };
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || spin(&shared))
        };
        spin(&shared);
        other.join().unwrap();
        finish(shared);
    });
}
