//! Goal: a guard of `Handle::enter` makes a scheduler the current one of its thread and changes
//! nothing else. Guards nest, may be forgotten, and panic when they are dropped out of order.
//! Handles know which scheduler they reach. Method: threads of every kind (foreign, worker,
//! blocking, `block_on`, `install`) with guards of their own and of another scheduler, in and out
//! of order, while unwinding, in thread-locals, after the end, and during it.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/common.rs"]
mod support;

use std::cell::RefCell;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use stealyard::{
    Builder, EnterGuard, Handle, JoinError, NoScheduler, Scheduler, Shutdown, join, scope, spawn,
    spawn_blocking, spawn_detached, spawn_local,
};
use support::{Census, wait_until, worker};

fn named(name: &str, workers: usize) -> Scheduler {
    let builder = Builder::new().name(name).parallelism(workers);
    builder.build().unwrap()
}

/// The name of the scheduler whose thread this is.
fn home() -> String {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    name.split('-').next().unwrap_or_default().to_owned()
}

fn current() -> Option<String> {
    Handle::try_current().map(|handle| handle.name().to_owned())
}

/// Where a task runs that is spawned here, in each way there is.
fn spawned_on() -> String {
    let first = Handle::current().unwrap();
    let (send, received) = std::sync::mpsc::channel();
    spawn_detached(async move { send.send(home()).unwrap() });
    let call = spawn_blocking(home);
    let task = spawn(async { home() });
    let names = std::thread::spawn(move || {
        [
            received.recv().unwrap(),
            call.join().unwrap(),
            task.join().unwrap(),
        ]
    });
    // Not on this thread, which may be a worker's: it must go on.
    let names = names.join().unwrap();
    assert!(names.iter().all(|name| name == first.name()), "{names:?}");
    first.name().to_owned()
}

#[test]
fn a_foreign_thread_spawns_within_a_guard_and_not_outside() {
    let scheduler = named("one", 1);
    assert_eq!(Handle::current(), Err(NoScheduler));
    let guard = scheduler.enter();
    assert_eq!(spawned_on(), "one");
    assert_eq!(Handle::current().as_ref(), Ok(scheduler.handle()));
    drop(guard);
    assert_eq!(current(), None);
    assert!(catch_unwind(|| spawn(async {})).is_err());
}

#[test]
fn guards_nest_also_those_of_different_schedulers() {
    let (one, two) = (named("one", 1), named("two", 2));
    let outer = one.enter();
    {
        let inner = two.enter();
        assert_eq!(spawned_on(), "two");
        let innermost = one.enter();
        assert_eq!(spawned_on(), "one");
        drop(innermost);
        let same = two.enter();
        assert_eq!(spawned_on(), "two");
        drop((same, inner));
    }
    assert_eq!(spawned_on(), "one");
    // Within a guard of the other, `block_on` and `install` count, and afterwards the guard.
    assert_eq!(two.block_on(async { spawned_on() }), "two");
    assert_eq!(
        two.install(|| (home(), current())),
        ("two".to_owned(), Some("two".to_owned()))
    );
    assert_eq!(one.install(home), "one");
    assert_eq!(spawned_on(), "one");
    drop(outer);
}

#[test]
fn inside_tasks_and_calls_a_guard_comes_first_and_changes_nothing_else() {
    let (one, two) = (named("one", 2), named("two", 2));
    let other = two.handle().clone();
    let task = one.spawn(async move {
        let (own, index) = (Handle::current().unwrap(), worker());
        let guard = other.enter();
        assert_eq!(spawned_on(), "two");
        // The worker is still a worker, and its own.
        assert!(catch_unwind(AssertUnwindSafe(|| other.block_on(async {}))).is_err());
        let joined = catch_unwind(AssertUnwindSafe(|| own.spawn(async {}).join()));
        assert!(joined.is_err(), "it must not block");
        let local = spawn_local(async { worker() });
        assert_eq!(own.install(worker), index, "it is on a worker already");
        assert_eq!(join(home, || 1).0, "one");
        scope(|s| s.spawn(|_| assert_eq!(home(), "one")));
        drop(guard);
        assert_eq!(current().unwrap(), "one");
        (local.await.unwrap(), index)
    });
    let (local, index) = task.join().unwrap();
    assert_eq!(local, index);
    let other = two.handle().clone();
    let call = one.spawn_blocking(move || {
        let guard = other.enter();
        let inner = spawned_on();
        // A thread for blocking calls may block, within a guard, too.
        assert_eq!(spawn(async { 1 }).join().unwrap(), 1);
        assert_eq!(other.block_on(async { 2 }), 2);
        drop(guard);
        (inner, current().unwrap())
    });
    assert_eq!(call.join().unwrap(), ("two".to_owned(), "one".to_owned()));
}

/// A guard of the worker's own scheduler, or of another: spawns, wakes and joins by handles go on.
#[test]
fn a_worker_with_a_guard_spawns_and_wakes_as_ever() {
    let (one, two) = (named("one", 1), named("two", 1));
    let others = [one.handle().clone(), two.handle().clone()];
    for other in others {
        let own = one.handle().clone();
        let task = one.spawn(async move {
            let (send, received) = async_channel::bounded(1);
            let waiting = own.spawn(async move { received.recv().await.unwrap() });
            stealyard::yield_now().await;
            let spawned: Vec<_> = {
                let _guard = other.enter();
                send.try_send(1).unwrap();
                assert_eq!(own.install(|| join(|| 1, || 2)), (1, 2));
                scope(|s| (0..10).for_each(|_| s.spawn(|_| ())));
                (0..10).map(|n| own.spawn(async move { n })).collect()
            };
            let mut sum = waiting.await.unwrap();
            for task in spawned {
                sum += task.await.unwrap();
            }
            sum
        });
        assert_eq!(task.join().unwrap(), 46);
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or_default()
}

#[test]
fn dropped_out_of_order_a_guard_panics_and_the_others_stay_right() {
    let (one, two, three) = (named("one", 1), named("two", 1), named("three", 1));
    let first = one.enter();
    let second = two.enter();
    let third = three.enter();
    for wrong in [second, first] {
        let panic = catch_unwind(AssertUnwindSafe(|| drop(wrong))).unwrap_err();
        assert!(
            message(&*panic).contains("out of order"),
            "{}",
            message(&*panic)
        );
        assert_eq!(spawned_on(), "three");
    }
    drop(third);
    assert_eq!(current(), None);
    drop((one, two, three));
}

#[test]
fn out_of_order_while_unwinding_is_one_panic() {
    let (one, two) = (named("one", 1), named("two", 1));
    let panic = catch_unwind(AssertUnwindSafe(|| {
        // Dropped in the order of the tuple.
        let _guards = (one.enter(), two.enter());
        std::panic::panic_any("the first");
    }));
    assert_eq!(message(&*panic.unwrap_err()), "the first");
    assert_eq!(current(), None);
}

#[test]
fn a_guard_that_outlives_its_block_on_is_out_of_order_and_one_that_is_forgotten_is_not_in_the_way()
{
    let (one, two) = (named("one", 1), named("two", 1));
    let late = one.block_on(async { two.enter() });
    assert_eq!(current(), None);
    assert!(catch_unwind(AssertUnwindSafe(|| drop(late))).is_err());
    assert_eq!(one.block_on(async { current() }).unwrap(), "one");
    one.block_on(async { forget(two.enter()) });
    assert_eq!(current(), None);
    // Forgotten by a task: the worker stays in order for its next life, and others' handles reach
    // it.
    let other = two.handle().clone();
    one.spawn(async move { forget(other.enter()) })
        .join()
        .unwrap();
    assert_eq!(one.spawn(async { home() }).join().unwrap(), "one");
    forget(two.enter());
    assert_eq!(spawned_on(), "two");
}

/// Never drops the guard, but keeps it where a leak checker finds it.
fn forget(guard: EnterGuard) {
    static FORGOTTEN: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let kept = Box::into_raw(Box::new(guard)).expose_provenance();
    FORGOTTEN.lock().unwrap().push(kept);
}

/// In a future that is not `Send`, across an await: other tasks of the worker may drop theirs
/// first.
#[test]
fn a_guard_across_an_await_of_a_local_task_does_no_harm_beyond_its_thread() {
    let (one, two) = (named("one", 1), named("two", 1));
    let other = two.handle().clone();
    let task = one.spawn(async move {
        let holds: Vec<_> = (0..3)
            .map(|turns| {
                let other = other.clone();
                spawn_local(async move {
                    let _guard = other.enter();
                    for _ in 0..turns {
                        stealyard::yield_now().await;
                    }
                })
            })
            .collect();
        let mut ended = 0;
        for task in holds {
            match task.await {
                Ok(()) | Err(JoinError::Panic(_)) => ended += 1,
                Err(JoinError::Cancelled) => {}
            }
        }
        ended
    });
    assert_eq!(task.join().unwrap(), 3);
    assert_eq!(
        one.spawn(async { current() }).join().unwrap().unwrap(),
        "one"
    );
}

thread_local! {
    static KEPT: RefCell<Vec<EnterGuard>> = const { RefCell::new(Vec::new()) };
}

#[test]
fn guards_in_thread_locals_are_dropped_with_the_thread() {
    let census = Census::default();
    let citizen = census.citizen();
    let scheduler = named("one", 1);
    let handle = scheduler.handle().clone();
    let thread = std::thread::spawn(move || {
        let guard = handle.enter();
        drop(handle);
        let task = spawn(async move { drop(citizen) });
        KEPT.with_borrow_mut(|kept| kept.push(guard));
        task.join().unwrap();
    });
    thread.join().unwrap();
    drop(scheduler);
    census.assert_none_is_left();
}

/// The destructor of a cancelled task takes the guard out of a thread-local, while the spawn that
/// cancels uses it.
#[test]
fn a_guard_may_go_while_a_spawn_within_it_is_under_way() {
    struct Takes;
    impl Drop for Takes {
        fn drop(&mut self) {
            KEPT.with_borrow_mut(Vec::clear);
        }
    }
    for _ in 0..20 {
        let scheduler = named("one", 1);
        let handle = scheduler.handle().clone();
        let thread = std::thread::spawn(move || {
            let guard = handle.enter();
            drop(handle);
            KEPT.with_borrow_mut(|kept| kept.push(guard));
            drop(scheduler);
            let takes = Takes;
            let task = spawn(async move { drop(takes) });
            assert!(task.join().unwrap_err().is_cancelled());
            assert_eq!(current(), None);
        });
        thread.join().unwrap();
    }
}

#[test]
fn a_guard_neither_keeps_the_scheduler_nor_makes_its_thread_one_of_the_schedulers() {
    for how in [Shutdown::Drain, Shutdown::Cancel] {
        let scheduler = named("one", 1);
        let guard = scheduler.enter();
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let draining = scheduler.handle().clone();
        scheduler.spawn_detached(async move { held.recv().is_err() });
        let ender = std::thread::spawn(move || scheduler.shutdown(how));
        // Until it is closed to this thread.
        wait_until(
            || {
                let late = spawn(async {});
                late.is_finished() && late.join().is_err()
            },
            || format!("{how:?}: a thread with a guard still spawns"),
        );
        drop(hold);
        let _report = ender.join().unwrap();
        assert_eq!(
            Handle::current(),
            Ok(draining),
            "it is still the current one"
        );
        assert!(spawn(async {}).join().unwrap_err().is_cancelled());
        drop(guard);
        assert_eq!(current(), None);
    }
}

#[test]
#[expect(
    clippy::mutable_key_type,
    reason = "a handle is hashed by what it reaches, which never changes"
)]
fn handles_are_equal_if_they_reach_the_same_scheduler() {
    let (one, two) = (named("one", 1), named("one", 1));
    assert_eq!(one.handle(), &one.handle().clone());
    assert_ne!(one.handle(), two.handle());
    let inside = one.spawn(async { Handle::current().unwrap() });
    assert_eq!(&inside.join().unwrap(), one.handle());
    let all: HashSet<Handle> = [&one, &two, &one].map(|s| s.handle().clone()).into();
    assert_eq!(all.len(), 2);
    let kept = one.handle().clone();
    drop(one);
    let three = named("one", 1);
    assert_ne!(
        &kept,
        three.handle(),
        "no place is taken twice while a handle lives"
    );
    assert!(all.contains(&kept) && !all.contains(three.handle()));
}
