//! Goal: whatever panics in code of the user's, and whatever the payload of that panic does when it
//! is dropped, no worker ends, no joiner waits, nothing comes out of a `drop`, and the panic is
//! counted and told.
//!
//! Method: payloads whose destructors panic, a few times over or for ever, in each place where the
//! library drops something. Afterwards the scheduler must have all its workers, run tasks, and end.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/common.rs"]
mod support;

use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};

use stealyard::{Builder, Handle, JoinError, LocalQueue, Scheduler, StealPolicy, Task};
use stealyard_deque::{Promises, Ring, Steal, Stealer, Worker};
use support::{Census, FEW_AND_MANY, ends, silence, wait_until, workers};

/// Panics when it is dropped, with another of its kind, so many times.
struct Bomb(u32);

/// Its payload panics once, a few times, and without an end.
const FUSES: [u32; 3] = [2, 5, u32::MAX];

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 {
            panic_any(Self(self.0 - 1));
        }
    }
}

fn explode(fuse: u32) -> ! {
    panic_any(Bomb(fuse))
}

/// For each number of workers and each length of the fuse.
fn each(what: &'static str, place: fn(usize, u32)) {
    silence();
    for count in FEW_AND_MANY {
        for fuse in FUSES {
            ends(what, move || place(count, fuse));
        }
    }
}

/// All workers are there, tasks are run, and the end is an end.
fn works_and_ends(scheduler: Scheduler) {
    wait_until(
        || scheduler.idle().joined() == scheduler.parallelism(),
        || format!("a worker ended: {:?}", scheduler.idle()),
    );
    let tasks: Vec<_> = (0..32).map(|n| scheduler.spawn(async move { n })).collect();
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.join().unwrap(), n);
    }
    drop(scheduler);
}

fn finished<T>(handle: &stealyard::JoinHandle<T>) {
    wait_until(|| handle.is_finished(), || "no answer".to_owned());
}

fn panics_of(scheduler: &Handle, count: u64) {
    wait_until(
        || scheduler.metrics().panics >= count,
        || format!("{} panics counted", scheduler.metrics().panics),
    );
    assert_eq!(scheduler.metrics().panics, count);
}

/// Does what it is told to when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn t5_the_panic_of_a_task_that_is_not_joined_ends_no_worker() {
    each("detached", |count, fuse| {
        let scheduler = workers(count);
        scheduler.spawn_detached(async move { explode(fuse) });
        // Once of the task, once of its payload's destructor.
        panics_of(&scheduler, 2);
        works_and_ends(scheduler);
    });
}

#[test]
fn t5_the_panic_of_a_task_whose_handle_is_dropped_ends_no_worker() {
    each("handle dropped", |count, fuse| {
        let scheduler = workers(count);
        let handle = scheduler.spawn(async move { explode(fuse) });
        finished(&handle);
        drop(handle);
        panics_of(&scheduler, 2);
        let handle = scheduler.spawn(async move {
            stealyard::yield_now().await;
            explode(fuse)
        });
        drop(handle);
        wait_until(|| scheduler.metrics().panics >= 3, || "not run".to_owned());
        works_and_ends(scheduler);
    });
}

#[test]
fn t5_an_output_that_panics_as_its_handle_drops_it_ends_no_worker() {
    each("output", |count, fuse| {
        let told = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&told);
        let scheduler = Builder::new()
            .parallelism(count)
            .on_task_panic(move |payload| {
                assert!(payload.is::<Bomb>(), "the output's own");
                counter.fetch_add(1, Ordering::SeqCst);
            })
            .build()
            .unwrap();
        let handle = scheduler.spawn(async move { Bomb(fuse) });
        finished(&handle);
        drop(handle);
        assert_eq!(
            (told.load(Ordering::SeqCst), scheduler.metrics().panics),
            (1, 1)
        );
        // The same after the scheduler has gone, and inside a task.
        let kept = scheduler.spawn(async move { Bomb(fuse) });
        finished(&kept);
        let inner = scheduler.spawn(async move { Bomb(fuse) });
        finished(&inner);
        scheduler.spawn(async move { drop(inner) }).join().unwrap();
        assert_eq!(
            (told.load(Ordering::SeqCst), scheduler.metrics().panics),
            (2, 2)
        );
        let metrics = scheduler.handle().clone();
        works_and_ends(scheduler);
        drop(kept);
        assert_eq!(
            (told.load(Ordering::SeqCst), metrics.metrics().panics),
            (3, 3)
        );
    });
}

#[test]
fn t5_an_output_that_panics_without_a_handle_ends_no_worker() {
    each("output", |count, fuse| {
        let scheduler = workers(count);
        scheduler.spawn_detached(async move { Bomb(fuse) });
        panics_of(&scheduler, 1);
        let call = scheduler.spawn_blocking(move || Bomb(fuse));
        drop(call);
        panics_of(&scheduler, 2);
        works_and_ends(scheduler);
    });
}

/// A future written by hand, whose fields outlive the panic of its poll.
struct ByHand {
    fuse: u32,
    poll: bool,
}

impl Future for ByHand {
    type Output = Bomb;

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Bomb> {
        if self.poll {
            explode(self.fuse);
        }
        Poll::Ready(Bomb(self.fuse))
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        explode(self.fuse);
    }
}

#[test]
fn t5_a_second_panic_while_a_panicked_future_is_dropped() {
    each("second panic", |count, fuse| {
        let scheduler = workers(count);
        for poll in [true, false] {
            let handle = scheduler.spawn(ByHand { fuse, poll });
            finished(&handle);
            let Err(JoinError::Panic(payload)) = handle.join() else {
                panic!("it panicked");
            };
            std::mem::forget(payload);
        }
        // Each one's result, and what came after it.
        panics_of(&scheduler, 4);
        works_and_ends(scheduler);
    });
}

#[test]
fn t5_a_cancelled_future_whose_destructor_panics_ends_no_worker() {
    each("cancelled", |count, fuse| {
        let scheduler = workers(count);
        let started = Arc::new(Barrier::new(2));
        let starting = Arc::clone(&started);
        let handle = scheduler.spawn(async move {
            let _bomb = Bomb(fuse);
            starting.wait();
            pending::<()>().await;
        });
        started.wait();
        handle.abort();
        finished(&handle);
        drop(handle);
        panics_of(&scheduler, 2);
        let bomb = Bomb(fuse);
        let at_the_end = scheduler.spawn(async move {
            let _bomb = bomb;
            pending::<()>().await;
        });
        works_and_ends(scheduler);
        assert!(at_the_end.is_finished());
    });
}

#[test]
fn t5_a_joiners_waker_that_panics_ends_no_worker() {
    each("waker", |count, fuse| {
        struct Explodes(u32);
        impl Wake for Explodes {
            fn wake(self: Arc<Self>) {
                explode(self.0)
            }
        }
        let scheduler = workers(count);
        let gate = Arc::new(AtomicBool::new(false));
        let open = Arc::clone(&gate);
        let mut handle = scheduler.spawn(async move {
            while !open.load(Ordering::SeqCst) {
                stealyard::yield_now().await;
            }
        });
        let waker = Waker::from(Arc::new(Explodes(fuse)));
        let polled = Pin::new(&mut handle).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        gate.store(true, Ordering::SeqCst);
        panics_of(&scheduler, 1);
        handle.join().unwrap();
        works_and_ends(scheduler);
    });
}

/// A waker that panics when it is dropped.
fn fragile(fuse: u32) -> Waker {
    static VTABLE: RawWakerVTable = RawWakerVTable::new(
        |data| RawWaker::new(data, &VTABLE),
        |_| {},
        |_| {},
        |data| explode(u32::try_from(data.addr()).unwrap()),
    );
    let data = std::ptr::without_provenance(fuse as usize);
    // SAFETY: 1. the functions use the word as a number.
    unsafe { Waker::from_raw(RawWaker::new(data, &VTABLE)) }
}

#[test]
fn t5_a_joiners_waker_that_panics_as_its_handle_drops_it_ends_no_worker() {
    each("waker", |count, fuse| {
        let scheduler = workers(count);
        let mut handle = scheduler.spawn(pending::<()>());
        let waker = std::mem::ManuallyDrop::new(fragile(fuse));
        let polled = Pin::new(&mut handle).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        drop(handle);
        panics_of(&scheduler, 1);
        works_and_ends(scheduler);
    });
}

#[test]
fn t5_a_hook_that_panics_ends_no_worker() {
    each("hooks", |count, fuse| {
        let all = Builder::new()
            .parallelism(count)
            .on_worker_start(move |_| explode(fuse))
            .on_worker_stop(move |_| explode(fuse))
            .on_park(move |_| explode(fuse))
            .on_unpark(move |_| explode(fuse))
            .on_task_panic(move |_| explode(fuse));
        let scheduler = all.build().unwrap();
        let first = scheduler.spawn(async { panic!("on purpose") });
        assert!(first.join().unwrap_err().is_panic());
        // Every hook's panic is told to the last, whose own is counted.
        let panics = scheduler.metrics().panics;
        assert!(panics >= 2 + 2, "{panics} counted");
        let handle = scheduler.handle().clone();
        works_and_ends(scheduler);
        assert!(handle.metrics().panics >= panics + 2 * count as u64);
    });
}

#[test]
fn t5_a_blocking_call_that_panics_ends_no_thread() {
    each("blocking", |count, fuse| {
        let scheduler = workers(count);
        drop(scheduler.spawn_blocking(move || explode(fuse)));
        wait_until(|| scheduler.metrics().panics >= 1, || "not run".to_owned());
        let bomb = Bomb(fuse);
        let late = scheduler.handle().clone();
        works_and_ends(scheduler);
        // Cancelled at once.
        drop(late.spawn_blocking(move || bomb));
        assert!(late.metrics().panics >= 2);
    });
}

#[test]
fn t5_a_local_task_that_panics_ends_no_worker() {
    each("local", |count, fuse| {
        let scheduler = workers(count);
        let outer = scheduler.spawn(async move {
            let asleep = stealyard::spawn_local(async move {
                let _bomb = Bomb(fuse);
                pending::<()>().await;
            });
            drop(stealyard::spawn_local(async move { explode(fuse) }));
            drop(asleep);
        });
        outer.join().unwrap();
        wait_until(|| scheduler.metrics().panics >= 1, || "not run".to_owned());
        works_and_ends(scheduler);
    });
}

#[derive(Debug)]
struct Policy(u32);

impl StealPolicy for Policy {
    fn victim(&self, turn: &mut stealyard::policy::Turn<'_>) -> Option<usize> {
        match turn.below(3) {
            0 => explode(self.0),
            _ => turn.others.first().map(|&(worker, _)| worker),
        }
    }

    fn amount(&self) -> stealyard::StealAmount {
        explode(self.0)
    }

    fn outcome(&self, _memory: &mut stealyard::policy::PolicyMemory, _victim: usize, _took: usize) {
        explode(self.0)
    }

    fn wake_order(
        &self,
        _distances: &stealyard_topology::Matrix,
    ) -> Box<dyn stealyard_park::WakeOrder> {
        struct Explodes(u32);
        impl stealyard_park::WakeOrder for Explodes {
            fn choose(
                &self,
                _from: Option<usize>,
                _sleepers: &stealyard_park::SleeperSet<'_>,
            ) -> Option<usize> {
                explode(self.0)
            }
        }
        Box::new(Explodes(self.0))
    }
}

#[test]
fn t5_a_policy_or_wake_order_that_panics_ends_no_worker() {
    each("policy", |count, fuse| {
        let census = Census::default();
        let scheduler = Builder::new()
            .parallelism(count)
            .steal_policy(Policy(fuse))
            .build()
            .unwrap();
        for _ in 0..10 {
            wait_until(
                || scheduler.idle().sleeping() == count,
                || "awake".to_owned(),
            );
            let tasks: Vec<_> = (0..50)
                .map(|_| {
                    let citizen = census.citizen();
                    scheduler.spawn(async move {
                        stealyard::yield_now().await;
                        citizen.finish();
                    })
                })
                .collect();
            for task in tasks {
                task.join().unwrap();
            }
        }
        assert_eq!(census.finished(), 500);
        works_and_ends(scheduler);
        census.assert_none_is_left();
    });
}

#[test]
fn t6_a_half_or_a_job_that_panics_ends_no_worker() {
    each("fork and join", |count, fuse| {
        let scheduler = workers(count);
        for _ in 0..20 {
            let half = || explode(fuse);
            let caught = catch_unwind(AssertUnwindSafe(|| {
                scheduler.install(|| {
                    stealyard::join(
                        || {
                            std::thread::yield_now();
                            explode(fuse)
                        },
                        half,
                    );
                });
            }));
            std::mem::forget(caught);
            let unrun = Bomb(fuse);
            let caught = catch_unwind(AssertUnwindSafe(|| {
                scheduler.install(|| {
                    stealyard::join(|| panic!("on purpose"), move || drop(unrun));
                });
            }));
            std::mem::forget(caught);
            for body in [false, true] {
                let caught = catch_unwind(AssertUnwindSafe(|| {
                    scheduler.install(|| {
                        stealyard::scope(|scope| {
                            for _ in 0..4 {
                                scope.spawn(|_| explode(fuse));
                            }
                            if body {
                                explode(fuse);
                            }
                            Bomb(fuse)
                        })
                    })
                }));
                std::mem::forget(caught);
            }
        }
        works_and_ends(scheduler);
    });
}

/// A queue of the user's that panics now and then, as it should not.
struct Broken(Ring<Task>, AtomicUsize, u32);

struct BrokenStealer(<Ring<Task> as Worker>::Stealer);

impl Clone for BrokenStealer {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        // Its tasks, whose futures are the user's as well; and then it panics once more.
        while self.0.pop().is_some() {}
        explode(self.2);
    }
}

impl Worker for Broken {
    type Item = Task;
    type Stealer = BrokenStealer;
    const PROMISES: Promises = <Ring<Task> as Worker>::PROMISES;

    fn push(&self, task: Task) -> Result<(), Task> {
        self.0.push(task)
    }

    fn push_or_overflow(&self, task: Task, overflow: impl FnMut(Task)) {
        self.0.push_or_overflow(task, overflow);
    }

    fn pop(&self) -> Option<Task> {
        if self.1.fetch_add(1, Ordering::SeqCst) > 20 {
            explode(self.2);
        }
        self.0.pop()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn capacity(&self) -> Option<usize> {
        Worker::capacity(&self.0)
    }

    fn stealer(&self) -> BrokenStealer {
        BrokenStealer(self.0.stealer())
    }
}

impl Stealer for BrokenStealer {
    type Item = Task;
    type Worker = Broken;

    fn steal(&self) -> Steal<Task> {
        self.0.steal()
    }

    fn steal_batch(&self, dest: &Broken, limit: usize) -> Steal<usize> {
        self.0.steal_batch(&dest.0, limit)
    }

    fn steal_batch_and_pop(&self, dest: &Broken, limit: usize) -> Steal<Task> {
        self.0.steal_batch_and_pop(&dest.0, limit)
    }

    fn len(&self) -> usize {
        Stealer::len(&self.0)
    }
}

/// It ends its workers, one after the other, but neither the process nor a task without an answer.
#[test]
fn t5_a_queue_that_panics_leaves_no_task_without_an_answer() {
    each("queue", |count, fuse| {
        let census = Census::default();
        let queue = LocalQueue::custom(move || Broken(Ring::new(), AtomicUsize::new(0), fuse));
        let scheduler = Builder::new()
            .parallelism(count)
            .local_queue(queue)
            .build()
            .unwrap();
        let tasks: Vec<_> = (0..200)
            .map(|_| {
                let citizen = census.citizen();
                scheduler.spawn(async move {
                    stealyard::yield_now().await;
                    citizen.finish();
                })
            })
            .collect();
        for task in tasks {
            finished(&task);
            // A task that its queue did not give back was cancelled with it.
            assert!(
                task.join()
                    .map_or_else(|error| error.is_cancelled(), |()| true)
            );
        }
        drop(scheduler);
        census.assert_none_is_left();
    });
}

/// A handle that is dropped by a thread that unwinds: what its output throws must not end the
/// process.
#[test]
fn t5_a_handle_dropped_while_a_panic_unwinds_throws_no_second_one() {
    each("dropped by a panic", |count, fuse| {
        let scheduler = workers(count);
        let handles = [
            scheduler.spawn(async move { Bomb(fuse) }),
            scheduler.spawn(async move { explode(fuse) }),
        ];
        handles.iter().for_each(finished);
        let inner = scheduler.spawn(async move { Bomb(fuse) });
        finished(&inner);
        let caught = catch_unwind(AssertUnwindSafe(move || {
            let _held = handles;
            panic!("on purpose");
        }));
        assert!(caught.is_err());
        let task = scheduler.spawn(async move {
            let _held = inner;
            panic!("on purpose");
        });
        assert!(task.join().unwrap_err().is_panic());
        works_and_ends(scheduler);
    });
}

/// An argument that is passed in vain is dropped before the panic that says so.
#[test]
fn t5_an_argument_of_a_refused_call_that_panics_hides_no_message() {
    each("arguments", |count, fuse| {
        let scheduler = workers(count);
        let handle = scheduler.handle().clone();
        let other = workers(1);
        let task = scheduler.spawn(async move {
            let refused: [Box<dyn FnOnce()>; 2] = [
                Box::new(|| {
                    let bomb = Bomb(fuse);
                    handle.block_on(async move { drop(bomb) });
                }),
                Box::new(|| {
                    let bomb = Bomb(fuse);
                    other.install(move || drop(bomb));
                }),
            ];
            for call in refused {
                let text = support::text_of(&*catch_unwind(AssertUnwindSafe(call)).unwrap_err());
                assert!(text.contains("was called inside a task"), "{text}");
            }
        });
        task.join().unwrap();
        // The future's; the closure's is the other scheduler's.
        panics_of(&scheduler, 1);
        let nowhere = stealyard::Place::Worker(count);
        let bomb = Bomb(fuse);
        let refused = scheduler.spawn_on(nowhere, async move { drop(bomb) });
        assert!(refused.is_err());
        panics_of(&scheduler, 2);
        let bomb = Bomb(fuse);
        let outside = catch_unwind(AssertUnwindSafe(|| {
            stealyard::spawn_detached(async move { drop(bomb) });
        }));
        assert!(outside.is_err());
        works_and_ends(scheduler);
    });
}

/// The last to let go of a scheduler drops what the user gave it: here, a waker, on a thread of the
/// user's.
#[test]
fn t5_a_hook_that_panics_as_the_last_waker_drops_it_harms_no_thread() {
    each("hook's own", |count, fuse| {
        let bomb = OnDrop(move || explode(fuse));
        let scheduler = Builder::new()
            .parallelism(count)
            .on_park(move |_| {
                let _held = &bomb;
            })
            .build()
            .unwrap();
        let (send, wakers) = std::sync::mpsc::channel();
        scheduler.spawn_detached(poll_fn(move |context| {
            send.send(context.waker().clone()).unwrap();
            Poll::<()>::Pending
        }));
        let waker: Waker = wakers.recv().unwrap();
        works_and_ends(scheduler);
        drop(waker);
    });
}

/// `std::thread::panicking()` in the destructors of a future whose poll panicked, as in the locals
/// of a function (`docs/decisions/0007-*.md`): so a destructor that checks it does not panic a
/// second time.
#[test]
fn t5_destructors_of_a_panicked_future_see_that_it_panics() {
    struct Notes(Arc<AtomicUsize>, bool);
    impl Drop for Notes {
        fn drop(&mut self) {
            if std::thread::panicking() {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    impl Future for Notes {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<()> {
            assert!(!self.1, "on purpose");
            Poll::Ready(())
        }
    }
    silence();
    for count in FEW_AND_MANY {
        let scheduler = workers(count);
        let seen = Arc::new(AtomicUsize::new(0));
        let notes = |panics| Notes(Arc::clone(&seen), panics);
        assert!(scheduler.spawn(notes(true)).join().is_err());
        assert_eq!(seen.load(Ordering::SeqCst), 1, "a field of a future");
        let local = notes(true);
        let task = scheduler.spawn(async move {
            let _local = &local;
            panic!("on purpose");
        });
        assert!(task.join().is_err());
        assert_eq!(
            seen.load(Ordering::SeqCst),
            2,
            "a variable of an async block"
        );
        let captured = notes(true);
        let call = scheduler.spawn_blocking(move || {
            let _captured = &captured;
            panic!("on purpose");
        });
        assert!(call.join().is_err());
        assert_eq!(seen.load(Ordering::SeqCst), 3, "what a closure holds");
        scheduler.spawn(notes(false)).join().unwrap();
        let aborted = notes(false);
        let task = scheduler.spawn(async move {
            let _aborted = aborted;
            pending::<()>().await;
        });
        drop(scheduler);
        assert!(task.join().unwrap_err().is_cancelled());
        assert_eq!(seen.load(Ordering::SeqCst), 3, "what did not panic");
    }
}
