//! Goal: every action in a hook has the outcome that the table of `Hooks` promises, in every hook,
//! with one worker and with several. A task that it makes just before a worker sleeps is neither
//! stuck nor late. The hooks come in order. Method: a table of hooks, actions and outcomes. The
//! monitor is off, and nothing else happens after the hook, so a forgotten task is a hang.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/common.rs"]
mod support;

use std::collections::HashMap;
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread::ThreadId;
use std::time::Duration;

use stealyard::{
    Builder, Handle, JoinHandle, Place, Scheduler, Shutdown, StealPolicy, spawn_local,
};
use support::{Census, FEW_AND_MANY, ends, silence, text_of, wait_until};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Hook {
    Start,
    Stop,
    Park,
    Unpark,
    Panic,
}

const HOOKS: [Hook; 5] = [
    Hook::Start,
    Hook::Stop,
    Hook::Park,
    Hook::Unpark,
    Hook::Panic,
];

/// What the hook works with, and what it leaves.
#[derive(Default)]
struct Bench {
    armed: AtomicBool,
    done: AtomicBool,
    scheduler: Mutex<Option<Scheduler>>,
    other: Mutex<Option<Handle>>,
    /// Of the task that sleeps.
    waker: Mutex<Option<Waker>>,
    asleep: Mutex<Option<JoinHandle<u32>>>,
    /// Of what the hook made.
    made: Mutex<Option<JoinHandle<u32>>>,
    said: Mutex<String>,
    /// The sleeping task may end.
    may_end: AtomicBool,
    /// Which case it is.
    case: String,
    census: Census,
}

impl Bench {
    fn say(&self, text: impl Into<String>) {
        *self.said.lock().unwrap() = text.into();
    }

    /// Notes what `call` gave, or what it panicked with.
    fn note(&self, call: impl FnOnce() -> String) {
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(text) => self.say(text),
            Err(panic) => self.say(text_of(&*panic)),
        }
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    fn make(&self, handle: JoinHandle<u32>) {
        *self.made.lock().unwrap() = Some(handle);
    }

    /// What became of the task that the hook made, once something has.
    fn outcome(&self) -> Outcome {
        let made = self.made.lock().unwrap().take();
        outcome(&self.case, made)
    }

    fn other(&self) -> Handle {
        self.other.lock().unwrap().clone().unwrap()
    }
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Ran(u32),
    Cancelled,
    Nothing,
}

fn outcome(case: &str, handle: Option<JoinHandle<u32>>) -> Outcome {
    let Some(handle) = handle else {
        return Outcome::Nothing;
    };
    wait_until(
        || handle.is_finished(),
        || format!("{case}: what the hook made is stuck"),
    );
    match handle.join() {
        Ok(number) => Outcome::Ran(number),
        Err(error) if error.is_cancelled() => Outcome::Cancelled,
        Err(error) => panic!("{error}"),
    }
}

/// What is done in the hook, and what must come of it.
struct Action {
    name: &'static str,
    act: fn(&Bench, &Handle),
    check: fn(Hook, usize, &Bench, &Handle),
}

/// Made tasks run, but at the end, when they are cancelled.
fn runs(hook: Hook, bench: &Bench) {
    match hook {
        Hook::Stop => assert_eq!(bench.outcome(), Outcome::Cancelled),
        _ => assert_eq!(bench.outcome(), Outcome::Ran(7)),
    }
}

/// It says that it must not be called in the hook.
fn refused(hook: Hook, bench: &Bench, call: &str) {
    let name = match hook {
        Hook::Start => "on_worker_start",
        Hook::Stop => "on_worker_stop",
        Hook::Park => "on_park",
        Hook::Unpark => "on_unpark",
        Hook::Panic => "on_task_panic",
    };
    let said = bench.said();
    let wanted = format!("{call} was called inside the hook {name}");
    assert!(said.contains(&wanted), "{hook:?}: {said}");
}

const ACTIONS: &[Action] = &[
    Action {
        name: "spawn",
        act: |bench, _| bench.make(stealyard::spawn(async { 7 })),
        check: |hook, _, bench, _| runs(hook, bench),
    },
    Action {
        name: "spawn through a handle, of a task that yields and spawns",
        act: |bench, handle| {
            bench.make(handle.spawn(async {
                stealyard::yield_now().await;
                stealyard::spawn(async { 7 }).await.unwrap()
            }));
        },
        check: |hook, _, bench, _| runs(hook, bench),
    },
    Action {
        name: "spawn_detached, several",
        act: |bench, handle| {
            for _ in 0..1000 {
                let citizen = bench.census.citizen();
                handle.spawn_detached(async move { citizen.finish() });
            }
        },
        check: |hook, _, bench, _| {
            wait_until(
                || bench.census.died() == 1000,
                || format!("{} went", bench.census.died()),
            );
            let ran = if hook == Hook::Stop { 0 } else { 1000 };
            assert_eq!(bench.census.finished(), ran);
        },
    },
    Action {
        name: "spawn_on worker 0",
        act: |bench, handle| bench.make(handle.spawn_on(Place::Worker(0), async { 7 }).unwrap()),
        check: |hook, _, bench, _| runs(hook, bench),
    },
    Action {
        name: "spawn_on the last worker",
        act: |bench, handle| {
            let last = Place::Worker(handle.parallelism() - 1);
            bench.make(handle.spawn_on(last, async { 7 }).unwrap());
        },
        check: |hook, _, bench, _| runs(hook, bench),
    },
    Action {
        name: "spawn_local",
        act: |bench, _| {
            bench.note(|| {
                bench.make(spawn_local(async {
                    stealyard::yield_now().await;
                    7
                }));
                "made".to_owned()
            });
        },
        check: |hook, _, bench, _| {
            if hook == Hook::Stop {
                assert_eq!(bench.outcome(), Outcome::Nothing);
                assert!(
                    bench.said().contains("the scheduler is at its end"),
                    "{}",
                    bench.said()
                );
            } else {
                assert_eq!(bench.said(), "made");
                runs(hook, bench);
            }
        },
    },
    Action {
        name: "spawn_blocking",
        act: |bench, handle| bench.make(handle.spawn_blocking(|| 7)),
        check: |hook, _, bench, _| runs(hook, bench),
    },
    Action {
        name: "wake",
        act: |bench, _| {
            bench.may_end.store(true, Ordering::SeqCst);
            // None before the first worker's first task: then its first poll is its last.
            let waker = bench.waker.lock().unwrap().take();
            bench.make(bench.asleep.lock().unwrap().take().unwrap());
            if let Some(waker) = waker {
                waker.wake();
            }
        },
        check: |hook, _, bench, _| runs(hook, bench),
    },
    Action {
        name: "abort",
        act: |bench, _| {
            let asleep = bench.asleep.lock().unwrap().take().unwrap();
            asleep.abort();
            bench.make(asleep);
        },
        check: |_, _, bench, _| assert_eq!(bench.outcome(), Outcome::Cancelled),
    },
    Action {
        name: "JoinHandle::join",
        act: |bench, _| bench.note(|| format!("{:?}", bench.other().spawn(pending::<()>()).join())),
        check: |hook, _, bench, _| refused(hook, bench, "JoinHandle::join"),
    },
    Action {
        name: "block_on",
        act: |bench, handle| bench.note(|| handle.block_on(async { "waited".to_owned() })),
        check: |hook, _, bench, _| refused(hook, bench, "block_on"),
    },
    Action {
        name: "install",
        act: |bench, handle| bench.note(|| handle.install(|| "called".to_owned())),
        check: |hook, _, bench, _| match hook {
            Hook::Stop => refused(hook, bench, "install"),
            _ => assert_eq!(bench.said(), "called"),
        },
    },
    Action {
        name: "install into another",
        act: |bench, _| bench.note(|| bench.other().install(|| "called".to_owned())),
        check: |hook, _, bench, _| refused(hook, bench, "install"),
    },
    Action {
        name: "join and scope",
        act: |bench, _| {
            let (one, two) = stealyard::join(|| 1, || 2);
            let sum = AtomicUsize::new(one + two);
            stealyard::scope(|scope| {
                for _ in 0..10 {
                    scope.spawn(|_| {
                        sum.fetch_add(1, Ordering::SeqCst);
                    });
                }
            });
            bench.say(sum.into_inner().to_string());
        },
        check: |_, _, bench, _| assert_eq!(bench.said(), "13"),
    },
    Action {
        name: "panic",
        act: |bench, _| {
            bench.done.store(true, Ordering::SeqCst);
            panic!("on purpose");
        },
        check: |hook, _, _, handle| {
            let panics = if hook == Hook::Panic { 2 } else { 1 };
            wait_until(
                || handle.metrics().panics == panics,
                || format!("{:?}", handle.metrics()),
            );
        },
    },
    Action {
        name: "metrics",
        act: |bench, handle| bench.say(handle.metrics().workers.len().to_string()),
        check: |_, count, bench, _| assert_eq!(bench.said(), count.to_string()),
    },
    Action {
        name: "dropping the scheduler",
        act: |bench, _| drop(bench.scheduler.lock().unwrap().take()),
        check: |_, _, bench, handle| {
            wait_until(
                || handle.spawn(async {}).is_finished(),
                || "no end".to_owned(),
            );
            let asleep = bench.asleep.lock().unwrap().take();
            assert_eq!(outcome(&bench.case, asleep), Outcome::Cancelled);
        },
    },
    Action {
        name: "draining the scheduler, with work",
        act: |bench, handle| {
            let scheduler = bench.scheduler.lock().unwrap().take();
            bench.make(handle.spawn(async {
                stealyard::yield_now().await;
                7
            }));
            if let Some(scheduler) = scheduler {
                let _report = scheduler.shutdown(Shutdown::Drain);
            }
        },
        check: |hook, _, bench, _| {
            runs(hook, bench);
            let asleep = bench.asleep.lock().unwrap().take();
            assert_eq!(outcome(&bench.case, asleep), Outcome::Cancelled);
        },
    },
];

/// A scheduler whose hook does the action once, when the bench is armed.
fn build(hook: Hook, count: usize, bench: &Arc<Bench>, act: fn(&Bench, &Handle)) -> Scheduler {
    let own = Arc::clone(bench);
    let call = move || {
        if own.armed.swap(false, Ordering::SeqCst) {
            // `build` has not returned when the first hook is called.
            wait_until(
                || hook == Hook::Stop || own.scheduler.lock().unwrap().is_some(),
                String::new,
            );
            act(&own, &Handle::current().unwrap());
            own.done.store(true, Ordering::SeqCst);
        }
    };
    let builder = Builder::new()
        .parallelism(count)
        .watch(Duration::MAX, Duration::MAX);
    let builder = match hook {
        Hook::Start => builder.on_worker_start(move |_| call()),
        Hook::Stop => builder.on_worker_stop(move |_| call()),
        Hook::Park => builder.on_park(move |_| call()),
        Hook::Unpark => builder.on_unpark(move |_| call()),
        Hook::Panic => builder.on_task_panic(move |_| call()),
    };
    builder.build().unwrap()
}

/// A task that sleeps until its waker is used, and then gives 7.
fn fall_asleep(handle: &Handle, bench: &Arc<Bench>) {
    let own = Arc::clone(bench);
    let asleep = handle.spawn(poll_fn(move |context| {
        *own.waker.lock().unwrap() = Some(context.waker().clone());
        match own.may_end.load(Ordering::SeqCst) {
            true => Poll::Ready(7),
            false => Poll::Pending,
        }
    }));
    *bench.asleep.lock().unwrap() = Some(asleep);
}

fn try_action(hook: Hook, count: usize, action: &'static Action, other: &Handle) {
    let bench = Arc::new(Bench {
        case: format!("{hook:?}, {count} workers, {}", action.name),
        ..Bench::default()
    });
    *bench.other.lock().unwrap() = Some(other.clone());
    bench.armed.store(hook == Hook::Start, Ordering::SeqCst);
    let scheduler = build(hook, count, &bench, action.act);
    let handle = scheduler.handle().clone();
    fall_asleep(&handle, &bench);
    if hook != Hook::Start {
        wait_until(
            || bench.waker.lock().unwrap().is_some(),
            || "not polled".to_owned(),
        );
        wait_until(
            || handle.metrics().sleeping == count,
            || "not asleep".to_owned(),
        );
    }
    *bench.scheduler.lock().unwrap() = Some(scheduler);
    if hook != Hook::Start {
        bench.armed.store(true, Ordering::SeqCst);
    }
    match hook {
        Hook::Start => {}
        Hook::Stop => {
            let scheduler = bench.scheduler.lock().unwrap().take();
            drop(scheduler);
        }
        Hook::Park | Hook::Unpark => handle.spawn_detached(async {}),
        Hook::Panic => handle.spawn_detached(async { panic!("on purpose") }),
    }
    wait_until(|| bench.done.load(Ordering::SeqCst), || bench.case.clone());
    (action.check)(hook, count, &bench, &handle);
    let scheduler = bench.scheduler.lock().unwrap().take();
    drop(scheduler);
}

#[test]
fn t18_every_hook_may_take_every_action() {
    silence();
    for count in FEW_AND_MANY {
        ends("hooks", move || {
            let other = Builder::new().name("other").parallelism(1).build().unwrap();
            for hook in HOOKS {
                for action in ACTIONS {
                    try_action(hook, count, action, &other);
                }
            }
        });
    }
}

/// A hook before each sleep, and one after, that make work a thousand times over: all of it runs,
/// and then all sleep.
#[test]
fn t18_hooks_may_make_work_again_and_again() {
    for count in FEW_AND_MANY {
        for park in [true, false] {
            ends("again and again", move || {
                let census = Census::default();
                let (left, own) = (Arc::new(AtomicUsize::new(1000)), census.clone());
                let again = move |worker: usize| {
                    let step = |left: usize| left.checked_sub(1);
                    if left
                        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, step)
                        .is_ok()
                    {
                        let citizen = own.citizen();
                        if worker.is_multiple_of(2) {
                            stealyard::spawn_detached(async move { citizen.finish() });
                        } else {
                            drop(spawn_local(async move { citizen.finish() }));
                        }
                    }
                };
                let builder = Builder::new()
                    .parallelism(count)
                    .watch(Duration::MAX, Duration::MAX);
                let builder = match park {
                    true => builder.on_park(again),
                    false => builder.on_unpark(again),
                };
                let scheduler = builder.build().unwrap();
                let done = || census.finished() == 1000;
                if park {
                    wait_until(done, || format!("{} ran", census.finished()));
                } else {
                    while !done() {
                        scheduler.spawn(async {}).join().unwrap();
                    }
                }
                wait_until(
                    || scheduler.metrics().sleeping == count,
                    || "awake".to_owned(),
                );
                drop(scheduler);
                census.assert_none_is_left();
            });
        }
    }
}

/// A policy that makes work while its worker looks for some.
#[test]
fn ft3_a_task_that_a_policy_makes_is_run() {
    struct Makes(Census, AtomicUsize);
    impl std::fmt::Debug for Makes {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Makes")
        }
    }
    impl StealPolicy for Makes {
        fn victim(&self, _turn: &mut stealyard::policy::Turn<'_>) -> Option<usize> {
            if self.1.fetch_add(1, Ordering::SeqCst) < 100 {
                let citizen = self.0.citizen();
                stealyard::spawn_detached(async move { citizen.finish() });
            }
            None
        }
    }
    for count in FEW_AND_MANY {
        let census = Census::default();
        let policy = Makes(census.clone(), AtomicUsize::new(0));
        let builder = Builder::new()
            .parallelism(count)
            .watch(Duration::MAX, Duration::MAX);
        let scheduler = builder.steal_policy(policy).build().unwrap();
        wait_until(
            || census.finished() == 100,
            || format!("{} ran", census.finished()),
        );
        drop(scheduler);
    }
}

/// Hooks run when no task does, so a future that asks for a budget there has one.
#[test]
fn t18_a_hook_has_no_budget() {
    for count in FEW_AND_MANY {
        let refused = Arc::new(AtomicUsize::new(0));
        let asked = Arc::new(AtomicUsize::new(0));
        let (refuses, asks) = (Arc::clone(&refused), Arc::clone(&asked));
        let hook = move |_| {
            let mut context = std::task::Context::from_waker(Waker::noop());
            for _ in 0..1000 {
                if stealyard::coop::poll_proceed(&mut context).is_pending() {
                    refuses.fetch_add(1, Ordering::SeqCst);
                }
            }
            asks.fetch_add(1, Ordering::SeqCst);
        };
        let scheduler = Builder::new()
            .parallelism(count)
            .budget(3)
            .on_park(hook.clone())
            .on_unpark(hook)
            .build()
            .unwrap();
        for _ in 0..20 {
            // Uses its budget up.
            let spends = || {
                let mut left = 3;
                poll_fn(move |context| {
                    while left > 0 && stealyard::coop::poll_proceed(context).is_ready() {
                        left -= 1;
                    }
                    Poll::Ready(())
                })
            };
            scheduler.spawn(spends()).join().unwrap();
            wait_until(
                || scheduler.metrics().sleeping == count,
                || "awake".to_owned(),
            );
        }
        drop(scheduler);
        assert!(asked.load(Ordering::SeqCst) >= 20);
        assert_eq!(refused.load(Ordering::SeqCst), 0, "refused in a hook");
    }
}

/// What happened on each thread, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<HashMap<ThreadId, Vec<&'static str>>>>);

impl Log {
    fn note(&self, what: &'static str) {
        let id = std::thread::current().id();
        self.0.lock().unwrap().entry(id).or_default().push(what);
    }
}

struct NotesDrop(Log);

impl Drop for NotesDrop {
    fn drop(&mut self) {
        self.0.note("destructor");
    }
}

/// The order of hooks and destructors on each worker's thread: the first hook is first, the last is
/// last.
#[test]
fn t18_the_last_hook_comes_after_the_last_destructor() {
    for count in FEW_AND_MANY {
        for how in [Shutdown::Cancel, Shutdown::Drain] {
            let log = Log::default();
            let hook = |what| {
                let log = log.clone();
                move |_| log.note(what)
            };
            let scheduler = Builder::new()
                .parallelism(count)
                .on_worker_start(hook("start"))
                .on_worker_stop(hook("stop"))
                .on_park(hook("park"))
                .on_unpark(hook("unpark"))
                .build()
                .unwrap();
            for number in 0..200 {
                let held = NotesDrop(log.clone());
                let own = log.clone();
                scheduler.spawn_detached(async move {
                    let _held = held;
                    if number % 3 == 0 {
                        let held = NotesDrop(own);
                        drop(spawn_local(async move {
                            let _held = held;
                            pending::<()>().await;
                        }));
                    }
                    if number % 2 == 0 {
                        pending::<()>().await;
                    }
                });
            }
            let _report = scheduler.shutdown(how);
            let threads = log.0.lock().unwrap();
            assert_eq!(
                threads.len(),
                count,
                "what is dropped is dropped on workers"
            );
            for events in threads.values() {
                let last = events.len() - 1;
                let at = |what| events.iter().position(|&event| event == what);
                assert_eq!(
                    (at("start"), at("stop")),
                    (Some(0), Some(last)),
                    "{events:?}"
                );
                let sleeps: Vec<_> = events
                    .iter()
                    .filter(|event| event.ends_with("park"))
                    .collect();
                let paired = sleeps.chunks(2).all(|pair| pair == [&"park", &"unpark"]);
                assert!(paired, "{sleeps:?}");
            }
        }
    }
}
