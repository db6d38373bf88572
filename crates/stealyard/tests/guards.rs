//! Goal: wherever code of the user's runs, a call that would block a worker panics instead, with a
//! message that names the place and says what to do. Every other message names the state it is
//! given in.
//!
//! Method: one probe, which tries `JoinHandle::join`, `block_on` and `install` on something that
//! never ends and notes what they said, in each place where the library calls code of the user's,
//! with one worker and with several.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/common.rs"]
mod support;

use std::future::{Future, pending, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use stealyard::{Builder, Handle, JoinHandle, Place, Scheduler, StealPolicy, spawn_local};
use stealyard_sync::thread::JoinHandle as ThreadHandle;
use support::{FEW_AND_MANY, ends, silence, text_of, wait_until, workers};

/// Tries every call that blocks, once, and notes what came of it.
#[derive(Clone)]
struct Probe(Arc<Inner>);

struct Inner {
    other: Scheduler,
    said: Mutex<Vec<String>>,
}

impl Probe {
    fn new() -> Self {
        let other = Builder::new().name("other").parallelism(1).build();
        Self(Arc::new(Inner {
            other: other.unwrap(),
            said: Mutex::default(),
        }))
    }

    fn try_all(&self) {
        let other = self.0.other.handle().clone();
        let (waits, runs) = (other.clone(), other.clone());
        let calls: [Box<dyn FnOnce()>; 3] = [
            Box::new(move || drop(other.spawn(pending::<()>()).join())),
            Box::new(move || waits.block_on(pending::<()>())),
            Box::new(move || runs.install(|| ())),
        ];
        let texts = calls.map(|call| match catch_unwind(AssertUnwindSafe(call)) {
            Ok(()) => "did not panic".to_owned(),
            Err(panic) => text_of(&*panic),
        });
        self.0.said.lock().unwrap().extend(texts);
    }

    fn at_drop(&self) -> TriesAtDrop {
        TriesAtDrop(self.clone())
    }

    /// Waits until it was tried, and compares what was said.
    fn assert_said(&self, place: &str) {
        let said = || self.0.said.lock().unwrap().clone();
        wait_until(|| said().len() >= 3, || format!("not tried {place}"));
        let calls = ["JoinHandle::join", "block_on", "install"];
        for (text, call) in said().iter().zip(calls.iter().cycle()) {
            assert!(
                text.contains(&format!("{call} was called")),
                "{place}: {text}"
            );
            assert!(text.contains(place), "{place}: {text}");
            assert!(text.contains("`.await`"), "{place}: {text}");
        }
    }
}

struct TriesAtDrop(Probe);

impl Drop for TriesAtDrop {
    fn drop(&mut self) {
        self.0.try_all();
    }
}

const DESTRUCTOR: &str = "in a destructor on a worker's thread";
const TASK: &str = "inside a task";

fn each(what: &'static str, place: &'static str, test: fn(usize, &Probe)) {
    silence();
    for count in FEW_AND_MANY {
        ends(what, move || {
            let probe = Probe::new();
            test(count, &probe);
            probe.assert_said(place);
        });
    }
}

/// A task that holds the probe and has begun to wait.
fn asleep(scheduler: &Handle, probe: &Probe) -> JoinHandle<()> {
    let started = Arc::new(Barrier::new(2));
    let (held, starting) = (probe.at_drop(), Arc::clone(&started));
    let task = scheduler.spawn(async move {
        let _held = held;
        starting.wait();
        pending::<()>().await;
    });
    started.wait();
    task
}

#[test]
fn t17_blocking_is_refused_in_the_destructor_of_a_task_that_sleeps_at_the_end() {
    each("asleep", DESTRUCTOR, |count, probe| {
        let scheduler = workers(count);
        let task = asleep(&scheduler, probe);
        drop(scheduler);
        assert!(task.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn t17_blocking_is_refused_in_the_destructor_of_an_aborted_task() {
    each("aborted", DESTRUCTOR, |count, probe| {
        let scheduler = workers(count);
        let task = asleep(&scheduler, probe);
        task.abort();
        assert!(task.join().unwrap_err().is_cancelled());
    });
}

/// Keeps every worker busy, and queues by `queue` what the end will cancel.
fn queued(count: usize, queue: impl FnOnce(&Handle)) {
    let scheduler = workers(count);
    let (busy, open) = (
        Arc::new(Barrier::new(count + 1)),
        Arc::new(AtomicBool::new(false)),
    );
    for _ in 0..count {
        let (busy, open) = (Arc::clone(&busy), Arc::clone(&open));
        scheduler.spawn_detached(async move {
            busy.wait();
            while !open.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        });
    }
    busy.wait();
    queue(&scheduler);
    let handle = scheduler.handle().clone();
    std::thread::scope(|scope| {
        scope.spawn(move || drop(scheduler));
        // Refused from outside: it is closed.
        wait_until(
            || handle.spawn(async {}).is_finished(),
            || "open".to_owned(),
        );
        open.store(true, Ordering::SeqCst);
    });
}

#[test]
fn t17_blocking_is_refused_in_the_destructor_of_a_task_that_is_queued_at_the_end() {
    each("queued", DESTRUCTOR, |count, probe| {
        queued(count, |handle| {
            let held = probe.at_drop();
            handle.spawn_detached(async move { drop(held) });
            let held = probe.at_drop();
            let hinted = handle.spawn_on(Place::Worker(0), async move { drop(held) });
            drop(hinted.unwrap());
        });
    });
}

#[test]
fn t17_blocking_is_refused_in_the_destructor_of_a_local_task_at_the_end() {
    each("local", DESTRUCTOR, |count, probe| {
        let scheduler = workers(count);
        let held = probe.at_drop();
        let outer = scheduler.spawn(async move {
            drop(spawn_local(async move {
                let _held = held;
                pending::<()>().await;
            }));
        });
        outer.join().unwrap();
        drop(scheduler);
    });
}

#[test]
fn t17_blocking_is_refused_in_the_destructor_of_an_output_that_no_handle_takes() {
    each("output", TASK, |count, probe| {
        let scheduler = workers(count);
        let held = probe.at_drop();
        scheduler.spawn_detached(async move { held });
        wait_until(
            || scheduler.metrics().total().tasks_run == 1,
            || "not run".to_owned(),
        );
        let held = probe.at_drop();
        let gate = Arc::new(Barrier::new(2));
        let opens = Arc::clone(&gate);
        let handle = scheduler.spawn(async move {
            opens.wait();
            held
        });
        drop(handle);
        gate.wait();
        // Its worker ends only after it.
        drop(scheduler);
    });
}

#[test]
fn t17_blocking_is_refused_in_the_destructor_of_a_payload_that_no_handle_takes() {
    each("payload", TASK, |count, probe| {
        let scheduler = workers(count);
        let held = probe.at_drop();
        scheduler.spawn_detached(async move { std::panic::panic_any(held) });
        wait_until(|| scheduler.metrics().panics == 1, || "not run".to_owned());
        drop(scheduler);
    });
}

struct TriesWhenWoken(Probe);

impl Wake for TriesWhenWoken {
    fn wake(self: Arc<Self>) {
        self.0.try_all();
    }
}

#[test]
fn t17_blocking_is_refused_in_a_joiners_waker() {
    each("waker", TASK, |count, probe| {
        let scheduler = workers(count);
        let gate = Arc::new(Barrier::new(2));
        let opens = Arc::clone(&gate);
        let mut handle = scheduler.spawn(async move { opens.wait() });
        let waker = Waker::from(Arc::new(TriesWhenWoken(probe.clone())));
        let polled = Pin::new(&mut handle).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        gate.wait();
        drop(scheduler);
    });
    each("waker", DESTRUCTOR, |count, probe| {
        let scheduler = workers(count);
        let mut handle = scheduler.spawn(pending::<()>());
        let waker = Waker::from(Arc::new(TriesWhenWoken(probe.clone())));
        let polled = Pin::new(&mut handle).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        drop(scheduler);
    });
}

/// Where `spawn_blocking` has no thread, a worker runs the call.
struct Sparing(usize, AtomicUsize);

impl stealyard_park::pool::Start for Sparing {
    fn start(
        &self,
        name: String,
        stack_size: Option<usize>,
        body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<ThreadHandle<()>> {
        if self.1.fetch_add(1, Ordering::SeqCst) >= self.0 {
            return Err(io::Error::other("no more threads"));
        }
        stealyard_park::pool::OsThreads.start(name, stack_size, body)
    }
}

#[test]
fn t17_blocking_is_refused_in_a_blocking_call_that_a_worker_runs() {
    each(
        "call",
        "inside a blocking call that a worker runs",
        |count, probe| {
            let starter = Sparing(count, AtomicUsize::new(0));
            let scheduler = Builder::new()
                .parallelism(count)
                .starter(starter)
                .build()
                .unwrap();
            let tries = probe.clone();
            scheduler
                .spawn_blocking(move || tries.try_all())
                .join()
                .unwrap();
            // The next task is a task again.
            let own = Probe::new();
            let tries = own.clone();
            scheduler
                .spawn(async move { tries.try_all() })
                .join()
                .unwrap();
            own.assert_said(TASK);
        },
    );
}

#[test]
fn t17_a_blocking_call_that_is_cancelled_may_block() {
    silence();
    for count in FEW_AND_MANY {
        ends("cancelled call", move || {
            let other = Builder::new().name("other").parallelism(1).build().unwrap();
            let scheduler = Builder::new()
                .parallelism(count)
                .blocking_threads_max(1)
                .build()
                .unwrap();
            let (begun, open) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
            let (begins, opens) = (Arc::clone(&begun), Arc::clone(&open));
            let running = scheduler.spawn_blocking(move || {
                begins.wait();
                opens.wait();
            });
            begun.wait();
            struct Waits(Handle, Arc<AtomicUsize>);
            impl Drop for Waits {
                fn drop(&mut self) {
                    let answer = self.0.spawn(async { 3 }).join().unwrap();
                    self.1
                        .fetch_add(answer + self.0.block_on(async { 4 }), Ordering::SeqCst);
                }
            }
            let sum = Arc::new(AtomicUsize::new(0));
            let waits = Waits(other.handle().clone(), Arc::clone(&sum));
            let waiting = scheduler.spawn_blocking(move || drop(waits));
            let report =
                scheduler.shutdown(stealyard::Shutdown::DrainFor(std::time::Duration::ZERO));
            assert_eq!(report.blocking_running, 2);
            open.wait();
            running.join().unwrap();
            assert!(waiting.join().unwrap_err().is_cancelled());
            assert_eq!(sum.load(Ordering::SeqCst), 7);
        });
    }
}

#[test]
fn t17_blocking_is_refused_in_every_hook() {
    type Set = fn(Builder, Probe) -> Builder;
    let hooks: [(&'static str, Set); 5] = [
        ("inside the hook on_worker_start", |builder, probe| {
            builder.on_worker_start(move |_| probe.try_all())
        }),
        ("inside the hook on_worker_stop", |builder, probe| {
            builder.on_worker_stop(move |_| probe.try_all())
        }),
        ("inside the hook on_park", |builder, probe| {
            builder.on_park(move |_| probe.try_all())
        }),
        ("inside the hook on_unpark", |builder, probe| {
            builder.on_unpark(move |_| probe.try_all())
        }),
        ("inside the hook on_task_panic", |builder, probe| {
            builder.on_task_panic(move |_| probe.try_all())
        }),
    ];
    silence();
    for count in FEW_AND_MANY {
        for (place, set) in hooks {
            ends(place, move || {
                let probe = Probe::new();
                let builder = set(Builder::new().parallelism(count), probe.clone());
                let scheduler = builder.build().unwrap();
                // So that there is a sleep, and an end of one. A worker that says it sleeps may
                // still take its last look, and find the task without a sleep: so each has gone to
                // sleep.
                let all_asleep = || {
                    let metrics = scheduler.metrics();
                    metrics.sleeping == count && metrics.total().parks >= count as u64
                };
                wait_until(all_asleep, || "awake".to_owned());
                let task = scheduler.spawn(async { panic!("on purpose") });
                assert!(task.join().unwrap_err().is_panic());
                drop(scheduler);
                probe.assert_said(place);
            });
        }
    }
}

/// On a thread that may block, the hook of panics may not.
#[test]
fn t17_blocking_is_refused_in_the_panic_hook_on_a_users_thread() {
    each("hook", "inside the hook on_task_panic", |count, probe| {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("on purpose");
            }
        }
        let tries = probe.clone();
        let builder = Builder::new()
            .parallelism(count)
            .on_task_panic(move |_| tries.try_all());
        let scheduler = builder.build().unwrap();
        let handle = scheduler.spawn(async { Bomb });
        wait_until(|| handle.is_finished(), || "not run".to_owned());
        drop(handle);
    });
}

#[test]
fn t17_blocking_is_refused_in_a_steal_policy() {
    struct Tries(Probe, AtomicBool);
    impl std::fmt::Debug for Tries {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Tries")
        }
    }
    impl StealPolicy for Tries {
        fn victim(&self, _turn: &mut stealyard::policy::Turn<'_>) -> Option<usize> {
            if !self.1.swap(true, Ordering::SeqCst) {
                self.0.try_all();
            }
            None
        }
    }
    each("policy", "inside a steal policy", |count, probe| {
        let policy = Tries(probe.clone(), AtomicBool::new(false));
        let scheduler = Builder::new()
            .parallelism(count)
            .steal_policy(policy)
            .build()
            .unwrap();
        scheduler.spawn(async {}).join().unwrap();
        probe.assert_said("inside a steal policy");
    });
}

/// After the end, a destructor that runs on a thread of the user's may block there, also on what
/// the same thread has put off until it returns.
#[test]
fn tr4_a_destructor_on_a_thread_of_the_users_waits_for_nothing_that_it_has_put_off() {
    struct Waits(Handle, u32, Arc<AtomicUsize>);
    impl Drop for Waits {
        fn drop(&mut self) {
            let Some(left) = self.1.checked_sub(1) else {
                return;
            };
            let next = Self(self.0.clone(), left, Arc::clone(&self.2));
            let handle = self.0.spawn(async move { drop(next) });
            let cancelled = match left % 3 {
                0 => handle.join().is_err(),
                1 => self.0.block_on(handle).is_err(),
                // Of another crate, which knows nothing of what is put off.
                _ => futures_lite::future::block_on(handle).is_err(),
            };
            self.2.fetch_add(usize::from(cancelled), Ordering::SeqCst);
        }
    }
    silence();
    for count in FEW_AND_MANY {
        ends("put off", move || {
            let scheduler = workers(count);
            let handle = scheduler.handle().clone();
            drop(scheduler);
            let cancelled = Arc::new(AtomicUsize::new(0));
            let first = Waits(handle.clone(), 100, Arc::clone(&cancelled));
            drop(handle.spawn(async move { drop(first) }));
            assert_eq!(cancelled.load(Ordering::SeqCst), 100);
        });
    }
}

/// The same at the very end, on the last worker, where `join` panics: polling the handle is enough.
#[test]
fn tr4_a_destructor_at_the_end_sees_the_end_of_what_it_spawned() {
    struct Polls(Handle, u32, Arc<AtomicUsize>);
    impl Drop for Polls {
        fn drop(&mut self) {
            let Some(left) = self.1.checked_sub(1) else {
                return;
            };
            // Only the last worker cancels what sleeps, when no worker runs anything any more.
            let next = Self(self.0.clone(), left, Arc::clone(&self.2));
            let mut handle = self.0.spawn(async move { drop(next) });
            let mut context = Context::from_waker(Waker::noop());
            if let Poll::Ready(Err(_)) = Pin::new(&mut handle).poll(&mut context) {
                self.2.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    silence();
    for count in FEW_AND_MANY {
        ends("at the end", move || {
            let scheduler = workers(count);
            let seen = Arc::new(AtomicUsize::new(0));
            let held = Polls(scheduler.handle().clone(), 100, Arc::clone(&seen));
            let (send, started) = std::sync::mpsc::channel();
            scheduler.spawn_detached(async move {
                let _held = held;
                send.send(()).unwrap();
                pending::<()>().await;
            });
            started.recv().unwrap();
            drop(scheduler);
            assert_eq!(seen.load(Ordering::SeqCst), 100);
        });
    }
}

fn panics_with(call: impl FnOnce()) -> String {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(()) => "did not panic".to_owned(),
        Err(panic) => text_of(&*panic),
    }
}

/// What `spawn_local` says in each state in which it cannot be called.
#[test]
fn t17_spawn_local_says_where_it_was_called() {
    let local = || panics_with(|| drop(spawn_local(async {})));
    silence();
    let text = local();
    assert!(text.contains("this thread is no worker's"), "{text}");
    for count in FEW_AND_MANY {
        ends("spawn_local", move || {
            let at_stop = Arc::new(Mutex::new(String::new()));
            let says = Arc::clone(&at_stop);
            let scheduler = Builder::new()
                .parallelism(count)
                .on_worker_stop(move |_| *says.lock().unwrap() = local())
                .build()
                .unwrap();
            let text = scheduler.block_on(async move { local() });
            assert!(text.contains("inside block_on"), "{text}");
            let text = scheduler.spawn_blocking(local).join().unwrap();
            assert!(text.contains("runs a blocking call"), "{text}");
            struct Says(Arc<Mutex<String>>);
            impl Drop for Says {
                fn drop(&mut self) {
                    *self.0.lock().unwrap() = panics_with(|| drop(spawn_local(async {})));
                }
            }
            let at_the_end = Arc::new(Mutex::new(String::new()));
            let (send, started) = std::sync::mpsc::channel();
            let says = Says(Arc::clone(&at_the_end));
            scheduler.spawn_detached(poll_fn(move |_| {
                let _held = &says;
                let _ = send.send(());
                Poll::<()>::Pending
            }));
            started.recv().unwrap();
            drop(scheduler);
            for text in [at_stop, at_the_end] {
                let text = text.lock().unwrap();
                assert!(text.contains("the scheduler is at its end"), "{text}");
            }
        });
    }
}

/// `install` into a scheduler that has ended, or ends before the closure's turn.
#[test]
fn t17_install_after_the_end_says_so() {
    silence();
    for count in FEW_AND_MANY {
        let scheduler = workers(count);
        let handle = scheduler.handle().clone();
        drop(scheduler);
        let text = panics_with(|| handle.install(|| ()));
        assert!(text.contains("install: the scheduler has ended"), "{text}");
    }
}
