//! Goal: each half of a join is run once, by one thread, and has ended when the join returns, under
//! every interleaving of push, pop, offer, steal, force, help, sleep and wake. The same for scopes.
//!
//! Method: a crew of two, the second of which asks, forces, or both, a bounded number of times. The
//! halves write to cells that loom watches. Waiting spins once, then sleeps, so that a lost wake is
//! a deadlock that loom reports.

use std::collections::VecDeque;

use stealyard_sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use stealyard_sync::cell::UnsafeCell;
use stealyard_sync::{Arc, Mutex, asymmetric, model, thread};
use stealyard_task::fork_join::{Boards, JoinHost, JoinStack};
use stealyard_task::{Ran, Task, join, scope};

struct Crew {
    boards: Arc<Boards>,
    stacks: [JoinStack; 2],
    queue: Mutex<VecDeque<Task>>,
}

// SAFETY: 1. no method unwinds; 2. the boards are a field, and the numbers are below what they were
// made for.
unsafe impl JoinHost for Crew {
    fn announce_offer(&self) {}

    fn has_idle_worker(&self) -> bool {
        false
    }

    fn push(&self, task: Task) {
        self.queue.lock().unwrap().push_back(task);
    }

    fn boards(&self) -> &Arc<Boards> {
        &self.boards
    }

    fn index(&self) -> usize {
        0
    }
}

impl Crew {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            boards: Arc::new(Boards::new(2)),
            stacks: [JoinStack::new(), JoinStack::new()],
            queue: Mutex::new(VecDeque::new()),
        })
    }

    /// Runs `f` as worker `index`, then what is left in the queue.
    fn enter<R>(&self, index: usize, f: impl FnOnce(&JoinStack) -> R) -> R {
        // SAFETY: 1. each thread its own; 2. dropped below; 3. the `Arc` is shared by both threads,
        // and the model joins them before it ends.
        let entered = unsafe { self.stacks[index].enter(self) };
        let result = f(&self.stacks[1 - index]);
        loop {
            let task = self.queue.lock().unwrap().pop_front();
            let Some(task) = task else { break };
            run(task);
        }
        drop(entered);
        result
    }
}

fn run(task: Task) {
    assert!(matches!(task.run(), Ran::Done));
}

/// A value that loom watches.
struct Watched(UnsafeCell<u32>);

// SAFETY: 1. the models hand it over; loom checks that they do.
unsafe impl Sync for Watched {}
// SAFETY: 1. as above.
unsafe impl Send for Watched {}

impl Watched {
    fn new() -> Self {
        Self(UnsafeCell::new(0))
    }

    fn touch(&self) -> u32 {
        self.0.with_mut(|value| {
            // SAFETY: 1. loom checks that no other thread uses it.
            let value = unsafe { &mut *value };
            *value += 1;
            *value
        })
    }
}

/// Runs `main` as worker 0. Worker 1, meanwhile, runs what `take` takes from it.
fn race(
    crew: &Arc<Crew>,
    take: impl FnOnce(&JoinStack) -> Option<Task> + Send + 'static,
    main: impl FnOnce(),
) {
    let thief = {
        let crew = Arc::clone(crew);
        thread::spawn(move || {
            crew.enter(1, |victim| {
                if let Some(task) = take(victim) {
                    run(task);
                }
            });
        })
    };
    crew.enter(0, |_| main());
    thief.join().unwrap();
}

/// Joins twice in a row, so that a frame is used again.
fn two_joins() {
    for _ in 0..2 {
        let (left, right) = (Watched::new(), Watched::new());
        let sum = join(|| left.touch(), || right.touch());
        assert_eq!(sum, (1, 1));
        assert_eq!((left.touch(), right.touch()), (2, 2), "each ran once");
    }
}

/// Two joins in a row against a thief that has asked before, and does `steal`.
fn two_joins_against(steal: fn(&JoinStack) -> Option<Task>) {
    let crew = Crew::new();
    crew.stacks[0].request_offer();
    race(&crew, steal, two_joins);
}

#[test]
fn f4_an_offered_half_is_stolen_or_taken_back() {
    model::check(4, || two_joins_against(JoinStack::steal));
}

#[test]
fn f4_a_private_half_is_forced_or_popped() {
    model::check(4, || race(&Crew::new(), JoinStack::force, two_joins));
}

#[test]
fn f3_force_and_offer_move_the_base_one_at_a_time() {
    model::check(4, || two_joins_against(JoinStack::force));
}

/// Two pending halves, one offered or forced while the other is popped.
#[test]
fn f2_the_oldest_goes_first() {
    model::check(4, || {
        let take = |victim: &JoinStack| {
            victim.request_offer();
            victim.force()
        };
        race(&Crew::new(), take, || {
            let (outer, inner) = (Watched::new(), Watched::new());
            join(|| join(|| (), || inner.touch()), || outer.touch());
            assert_eq!((outer.touch(), inner.touch()), (2, 2), "each ran once");
        });
    });
}

/// The owner waits for a stolen half and helps it. A lost wake would be a deadlock: the stolen half
/// ends only when its own second half was begun by the thread that waits.
#[test]
fn f6_the_owner_helps_its_thief() {
    model::check(4, || {
        let crew = Crew::new();
        let begun = Arc::new(AtomicBool::new(false));
        crew.stacks[0].request_offer();
        let parts = [Watched::new(), Watched::new()];
        race(&crew, JoinStack::steal, || {
            let main = thread::current().id();
            join(
                || (),
                || {
                    let stolen = thread::current().id() != main;
                    join(
                        || {
                            parts[0].touch();
                            // Ordering: Acquire; pairs with the store below.
                            while stolen && !begun.load(Ordering::Acquire) {
                                thread::yield_now();
                            }
                        },
                        || {
                            // Ordering: Release; pairs with the load above.
                            begun.store(true, Ordering::Release);
                            parts[1].touch();
                        },
                    )
                },
            );
            assert_eq!(
                (parts[0].touch(), parts[1].touch()),
                (2, 2),
                "each ran once"
            );
        });
    });
}

/// A worker that is about to sleep asks for an offer, passes a heavy fence and looks. If it does
/// not see a join that is pushed meanwhile, the joiner sees the request.
#[test]
fn j15_a_join_is_seen_by_the_last_look_or_offered() {
    const NOT_YET: usize = 0;
    const SAW_NOTHING: usize = 1;
    const SAW_WORK: usize = 2;
    model::check(4, || {
        let crew = Crew::new();
        let look = Arc::new(AtomicUsize::new(NOT_YET));
        let sleepy = {
            let (crew, look) = (Arc::clone(&crew), Arc::clone(&look));
            thread::spawn(move || {
                let stack = &crew.stacks[0];
                stack.request_offer();
                asymmetric::heavy();
                let seen = if stack.has_work() {
                    SAW_WORK
                } else {
                    SAW_NOTHING
                };
                // Ordering: Release; pairs with the loads below.
                look.store(seen, Ordering::Release);
            })
        };
        crew.enter(0, |_| {
            // The join is pending until the other thread has looked.
            let wait = || {
                // Ordering: Acquire; pairs with the store above.
                while look.load(Ordering::Acquire) == NOT_YET {
                    thread::yield_now();
                }
            };
            join(wait, || ());
            // Ordering: Acquire; pairs with the store above.
            let seen = look.load(Ordering::Acquire);
            let offers = crew.stacks[0].offers();
            assert!(seen == SAW_WORK || offers == 1, "neither saw the other");
        });
        sleepy.join().unwrap();
    });
}

/// A scope's jobs end before it does; the ticket may come late.
#[test]
fn sc1_a_scope_ends_after_its_jobs() {
    model::check(4, || {
        race(
            &Crew::new(),
            |_| None,
            || {
                let values = [Watched::new(), Watched::new()];
                scope(|s| {
                    for value in &values {
                        s.spawn(move |_| {
                            value.touch();
                        });
                    }
                });
                for value in &values {
                    assert_eq!(value.touch(), 2, "it ran once");
                }
            },
        );
    });
}

/// A job that runs elsewhere spawns another when the scope's own thread may sleep already.
#[test]
fn sc1_a_late_job_wakes_the_scope() {
    model::check(4, || {
        let value = Arc::new(Watched::new());
        let spawner = Arc::clone(&value);
        scope(|s| {
            s.spawn(move |_| {
                spawner.touch();
            });
        });
        assert_eq!(value.touch(), 2);
        // And with a thread of the user's own.
        let crew = Crew::new();
        let thief = {
            let crew = Arc::clone(&crew);
            thread::spawn(move || crew.enter(1, |_| ()))
        };
        crew.enter(0, |_| {
            let values = [Watched::new(), Watched::new()];
            scope(|s| {
                s.spawn(|s| {
                    values[0].touch();
                    s.spawn(|_| {
                        values[1].touch();
                    });
                });
            });
            assert_eq!((values[0].touch(), values[1].touch()), (2, 2));
        });
        thief.join().unwrap();
    });
}
