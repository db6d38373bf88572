//! Goal: both halves of a join, and all jobs of a scope, end before it returns, wherever they run
//! and whichever of them panics. A thread that waits runs nothing foreign, and depth does not pile
//! frames.
//!
//! Method: a crew of threads that do nothing but ask for halves and run them, driven by the test,
//! and the same calls on a thread that is no worker.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/crew.rs"]
mod crew;
#[path = "support/quietly.rs"]
mod quietly;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crew::Crew;
use quietly::quietly;
use stealyard_task::{join, scope};

fn fib(n: u32) -> u64 {
    if n < 2 {
        return u64::from(n);
    }
    let (a, b) = join(|| fib(n - 1), || fib(n - 2));
    a + b
}

/// Waits for another thread to do something, within a join.
fn wait_for(flag: &AtomicBool) {
    // Ordering: Acquire; pairs with the Release in `set`.
    while !flag.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
}

fn set(flag: &AtomicBool) {
    // Ordering: Release; pairs with `wait_for`.
    flag.store(true, Ordering::Release);
}

#[test]
fn outside_of_an_executor_both_run_on_this_thread_in_order() {
    let order = Mutex::new(Vec::new());
    let here = std::thread::current().id();
    let run = |name| {
        assert_eq!(std::thread::current().id(), here);
        order.lock().unwrap().push(name);
    };
    join(|| run("a"), || run("b"));
    scope(|s| {
        s.spawn(|s| {
            run("c");
            s.spawn(|_| run("e"));
        });
        s.spawn(|_| run("d"));
        run("body");
    });
    assert_eq!(*order.lock().unwrap(), ["a", "b", "body", "c", "d", "e"]);
}

#[test]
fn fib_is_right_with_any_number_of_thieves() {
    for thieves in [0, 1, 3] {
        let crew = Crew::new(thieves);
        let sum = crew.install(|| fib(20));
        assert_eq!(sum, 6765);
    }
}

#[test]
fn a_half_is_offered_to_an_idle_worker_and_stolen() {
    let crew = Crew::new(1);
    crew.only_offers();
    crew.install(|| {
        let here = std::thread::current().id();
        let stolen = AtomicBool::new(false);
        let (_, there) = join(
            || wait_for(&stolen),
            || {
                set(&stolen);
                std::thread::current().id()
            },
        );
        assert_ne!(here, there);
    });
    assert!(crew.offers() >= 1);
}

#[test]
fn a_half_behind_a_long_leaf_is_forced_out() {
    let crew = Crew::new(1);
    crew.pause_thieves(true);
    crew.install(|| {
        let stolen = AtomicBool::new(false);
        join(
            || {
                // No worker was idle when the join began, and this leaf joins no more.
                crew.pause_thieves(false);
                wait_for(&stolen);
            },
            || set(&stolen),
        );
    });
}

#[test]
fn nothing_is_offered_when_no_worker_is_idle() {
    let crew = Crew::new(0);
    crew.install(|| fib(15));
    assert_eq!(crew.offers(), 0);
}

/// `a` and `b` × panic or not × stolen or not: the other half has always ended, or never begun.
#[test]
fn t6_no_half_outlives_the_join_when_the_other_panics() {
    quietly(|| {
        let crew = Crew::new(1);
        for case in 0..8 {
            let (a_panics, b_panics, stolen) = (case & 1 != 0, case & 2 != 0, case & 4 != 0);
            let (a_ended, b_began, b_ended) = (
                AtomicBool::new(false),
                AtomicBool::new(false),
                AtomicBool::new(false),
            );
            let may_end = AtomicBool::new(!stolen);
            crew.settle(!stolen);
            let result = crew.install(|| {
                catch_unwind(AssertUnwindSafe(|| {
                    join(
                        || {
                            if stolen {
                                wait_for(&b_began);
                                set(&may_end);
                            }
                            set(&a_ended);
                            if a_panics {
                                std::panic::panic_any("a");
                            }
                            "a"
                        },
                        || {
                            set(&b_began);
                            wait_for(&may_end);
                            set(&b_ended);
                            if b_panics {
                                std::panic::panic_any("b");
                            }
                            "b"
                        },
                    )
                }))
            });
            let payload = result.map_err(|payload| *payload.downcast::<&str>().unwrap());
            let expected = match (a_panics, b_panics) {
                (true, _) => Err("a"),
                (false, true) => Err("b"),
                (false, false) => Ok(("a", "b")),
            };
            assert_eq!(payload, expected, "case {case}");
            // Ordering: Relaxed; the join has returned.
            let read = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
            assert!(read(&a_ended));
            let b_must_run = stolen || !a_panics;
            assert_eq!(read(&b_began), b_must_run, "case {case}");
            assert_eq!(read(&b_began), read(&b_ended), "case {case}");
        }
    });
}

#[test]
fn t6_a_half_that_is_never_run_is_dropped() {
    struct Dropped<'a>(&'a AtomicUsize);
    impl Drop for Dropped<'_> {
        fn drop(&mut self) {
            // Ordering: Relaxed; one thread.
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    quietly(|| {
        let drops = AtomicUsize::new(0);
        let held = Dropped(&drops);
        let crew = Crew::new(0);
        let result = crew.install(|| {
            catch_unwind(AssertUnwindSafe(|| {
                join(|| std::panic::panic_any("a"), move || drop(held))
            }))
        });
        assert!(result.is_err());
        // Ordering: Relaxed; one thread.
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn t9_depth_does_not_pile_frames() {
    fn down(n: usize) -> usize {
        if n == 0 {
            return 0;
        }
        let (a, b) = join(|| down(n - 1), || 1);
        a + b
    }
    fn down_second(n: usize) -> usize {
        if n == 0 {
            return 0;
        }
        let (a, b) = join(|| 1, || down_second(n - 1));
        a + b
    }
    let depths: &[usize] = if cfg!(debug_assertions) {
        &[2_000, 20_000]
    } else {
        &[2_000, 20_000, 200_000]
    };
    for &depth in depths {
        for thieves in [0, 2] {
            // Stacks are mapped, not touched: what is paid for is what the depth really takes.
            let crew = Crew::with_stack(thieves, 256 * 1024 * 1024);
            assert_eq!(crew.install(|| down(depth)), depth);
            assert_eq!(crew.install(|| down_second(depth)), depth);
        }
    }
}

/// The half that waits holds a lock. Unrelated work that wants the lock is offered, and must not be
/// run inside the wait.
#[test]
fn t10_a_waiting_thread_runs_nothing_foreign() {
    let crew = Crew::new(2);
    let lock = Mutex::new(0);
    for _ in 0..200 {
        crew.install(|| {
            join(
                || {
                    let mut held = lock.lock().unwrap();
                    let (x, y) = join(|| fib(8), || fib(8));
                    *held += x + y;
                },
                || {
                    join(
                        || *lock.lock().unwrap() += fib(5),
                        || *lock.lock().unwrap() += fib(5),
                    );
                },
            );
        });
    }
    assert_eq!(*lock.lock().unwrap(), 200 * (2 * 21 + 2 * 5));
}

#[test]
fn t10_a_waiting_scope_runs_only_its_own_jobs() {
    let crew = Crew::new(2);
    let lock = Mutex::new(0);
    for _ in 0..100 {
        crew.install(|| {
            scope(|outer| {
                for _ in 0..4 {
                    outer.spawn(|_| {
                        let mut held = lock.lock().unwrap();
                        let sum = AtomicUsize::new(0);
                        scope(|inner| {
                            for _ in 0..4 {
                                inner.spawn(|_| {
                                    // Ordering: Relaxed; the scope's end publishes the sum.
                                    sum.fetch_add(1, Ordering::Relaxed);
                                });
                            }
                        });
                        *held += sum.into_inner();
                    });
                }
            });
        });
    }
    assert_eq!(*lock.lock().unwrap(), 100 * 4 * 4);
}

#[test]
fn a_scope_ends_when_all_its_jobs_have() {
    for thieves in [0, 1, 3] {
        let crew = Crew::new(thieves);
        let count = AtomicUsize::new(0);
        let answer = crew.install(|| {
            scope(|s| {
                for _ in 0..100 {
                    s.spawn(|s| {
                        for _ in 0..10 {
                            s.spawn(|_| {
                                // Ordering: Relaxed; the scope's end publishes the count.
                                count.fetch_add(1, Ordering::Relaxed);
                            });
                        }
                    });
                }
                7
            })
        });
        assert_eq!(answer, 7);
        assert_eq!(count.into_inner(), 1000);
    }
}

#[test]
fn t6_a_scope_ends_before_its_panic_goes_on() {
    quietly(|| {
        let crew = Crew::new(1);
        for body_panics in [false, true] {
            let count = AtomicUsize::new(0);
            let result = crew.install(|| {
                catch_unwind(AssertUnwindSafe(|| {
                    scope(|s| {
                        for index in 0..50 {
                            let count = &count;
                            s.spawn(move |_| {
                                // Ordering: Relaxed; the scope's end publishes the count.
                                count.fetch_add(1, Ordering::Relaxed);
                                if index == 20 {
                                    std::panic::panic_any("job");
                                }
                            });
                        }
                        if body_panics {
                            std::panic::panic_any("body");
                        }
                    });
                }))
            });
            let expected = if body_panics { "body" } else { "job" };
            assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), expected);
            assert_eq!(count.into_inner(), 50);
        }
    });
}

#[test]
fn a_thread_of_the_users_own_may_spawn_on_a_scope() {
    let crew = Crew::new(1);
    let count = AtomicUsize::new(0);
    crew.install(|| {
        scope(|s| {
            std::thread::scope(|threads| {
                threads.spawn(|| {
                    s.spawn(|_| {
                        // Ordering: Relaxed; the scope's end publishes the count.
                        count.fetch_add(1, Ordering::Relaxed);
                    });
                });
            });
        });
    });
    assert_eq!(count.into_inner(), 1);
}

#[test]
fn joins_of_many_sizes_give_the_right_sums_with_idle_thieves() {
    fn sum(values: &[u64]) -> u64 {
        if values.len() <= 3 {
            return values.iter().sum();
        }
        let (left, right) = values.split_at(values.len() / 3 + 1);
        let (a, b) = join(|| sum(left), || sum(right));
        a + b
    }
    let values: Vec<u64> = (0..20_000).collect();
    let crew = Crew::new(3);
    for _ in 0..50 {
        assert_eq!(crew.install(|| sum(&values)), 19_999 * 20_000 / 2);
    }
}
