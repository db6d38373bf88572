//! A scope: any number of closures that borrow, all ended when the scope ends.
//!
//! The scope owns a list of its jobs. The thread that opened it runs jobs of the list when its body
//! has ended, so it runs nothing else while it waits. Workers get at the list by *tickets*: tasks that
//! run jobs of the list as long as there are any. There are never more tickets than workers, however
//! many jobs there are; a ticket that comes late finds an empty list and is gone.
//!
//! # Invariants
//! - **P1** `pending` counts the jobs that were spawned and have not ended, and the body. It reaches
//!   zero once, when nothing of the scope can run any more.
//! - **P2** A job is in the list or with the thread that runs it.
//! - **P3** What a ticket needs is in the `Arc` it shares with the scope: it may come after the end.
//!
//! # Orderings
//! | label | operation                    | partner | publishes                          |
//! |-------|------------------------------|---------|------------------------------------|
//! | P1    | job done: sub `pending`, Release | P1b | all the job did                    |
//! | P1b   | wait: load `pending`, Acquire | P1     | –                                  |

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use stealyard_park::Parker;
use stealyard_sync::atomic::{AtomicUsize, Ordering};
use stealyard_sync::hint::spin_loop;
use stealyard_sync::{Arc, Mutex, MutexGuard};

use super::jobs::{self, SPINS};
use super::sleeper::Sleeper;
use crate::task::{StackJob, Task};
use crate::user_code::drop_unwanted;

/// How many jobs a ticket runs before it goes to the back of its worker's queue.
const JOBS_PER_TURN: u32 = 32;

type JobOf<'scope> = Box<dyn FnOnce(&Scope<'scope>) + Send + 'scope>;
type Job = JobOf<'static>;

struct Shared {
    list: Mutex<VecDeque<Job>>,
    pending: AtomicUsize,
    tickets: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    sleeper: Sleeper,
}

/// What jobs that borrow are spawned on; see [`scope`].
pub struct Scope<'scope> {
    shared: Arc<Shared>,
    /// Invariant in the lifetime; the jobs are sent to other threads.
    jobs: PhantomData<Mutex<JobOf<'scope>>>,
}

/// A task that runs jobs of a scope; the first field makes it one.
#[repr(C)]
struct Ticket {
    job: StackJob,
    scope: Scope<'static>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}

/// Runs `body`, which may spawn closures that borrow what outlives the scope, and returns when all of
/// them have ended.
///
/// On a worker of a scheduler the closures may run on other workers. Anywhere else they run on this
/// thread when the body has ended, in the order they were spawned in.
///
/// # Panics
/// With the body's payload if it panics, else with that of the first closure that did; in both cases
/// after all closures have ended.
///
/// # Examples
/// ```
/// let mut counts = [0; 3];
/// stealyard::scope(|scope| {
///     for (index, count) in counts.iter_mut().enumerate() {
///         scope.spawn(move |_| *count = index * 10);
///     }
/// });
/// assert_eq!(counts, [0, 10, 20]);
/// ```
pub fn scope<'scope, R>(body: impl FnOnce(&Scope<'scope>) -> R) -> R {
    let (sleeper, parker) = Sleeper::new();
    let scope = Scope {
        shared: Arc::new(Shared {
            list: Mutex::new(VecDeque::new()),
            pending: AtomicUsize::new(1),
            tickets: AtomicUsize::new(0),
            panic: Mutex::new(None),
            sleeper,
        }),
        jobs: PhantomData,
    };
    let result = catch_unwind(AssertUnwindSafe(|| body(&scope)));
    scope.ended();
    scope.wait(&parker);
    let panic = lock(&scope.shared.panic).take();
    // What is not given is dropped here: a panic of its destructor would end the process while the other unwinds.
    match (result, panic) {
        (Ok(value), None) => value,
        (Err(panic), other) => {
            drop_unwanted(other);
            resume_unwind(panic)
        }
        (Ok(value), Some(panic)) => {
            drop_unwanted(value);
            resume_unwind(panic)
        }
    }
}

impl<'scope> Scope<'scope> {
    /// Spawns a closure that ends before the scope does. It may spawn others on the scope it is given.
    ///
    /// Blocks on a lock that is held for a few instructions.
    pub fn spawn<F>(&self, job: F)
    where
        F: FnOnce(&Scope<'scope>) + Send + 'scope,
    {
        let job: JobOf<'scope> = Box::new(job);
        // SAFETY: 1. only lifetimes change: `scope` does not return before the job has ended (P1).
        let job = unsafe { core::mem::transmute::<JobOf<'scope>, Job>(job) };
        // Ordering: Relaxed; it cannot be zero: the caller is the body or a job (P1), and the list's
        // lock publishes the job.
        self.shared.pending.fetch_add(1, Ordering::Relaxed);
        lock(&self.shared.list).push_back(job);
        self.shared.sleeper.wake();
        // SAFETY: 1. used in this call only.
        let crew = unsafe { jobs::current() }.and_then(jobs::Jobs::crew);
        let Some(crew) = crew else { return };
        // Ordering: Relaxed; a count of its own, which bounds the tickets.
        let ticket =
            self.shared
                .tickets
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tickets| {
                    (tickets + 1 < crew.workers()).then_some(tickets + 1)
                });
        if ticket.is_ok() {
            crew.push(self.ticket());
        }
    }

    fn ticket(&self) -> Task {
        let ticket = Box::new(Ticket {
            job: StackJob {
                execute: Ticket::execute,
            },
            scope: Scope {
                shared: Arc::clone(&self.shared),
                jobs: PhantomData,
            },
        });
        let ticket = NonNull::from(Box::leak(ticket)).cast::<StackJob>();
        // SAFETY: 1. on the heap until it was executed, and this is its only `Task`.
        unsafe { Task::from_job(ticket) }
    }

    /// Runs the next job of the list; false if there is none.
    fn run_one(&self) -> bool {
        let job = lock(&self.shared.list).pop_front();
        let Some(job) = job else { return false };
        // SAFETY: 1. only the lifetime changes, which the job was made with.
        let scope = unsafe { core::mem::transmute::<&Self, &Scope<'static>>(self) };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job(scope))) {
            let second = {
                let mut first = lock(&self.shared.panic);
                match *first {
                    Some(_) => Some(panic),
                    None => {
                        *first = Some(panic);
                        None
                    }
                }
            };
            // A payload's destructor is the user's code: without the lock, and its panic ends here.
            drop_unwanted(second);
        }
        self.ended();
        true
    }

    /// The body or a job has ended.
    fn ended(&self) {
        // Ordering: Release (P1); the release sequence of the count carries all jobs.
        if self.shared.pending.fetch_sub(1, Ordering::Release) == 1 {
            // The caller shares the `Arc` (P3): the scope may have returned.
            self.shared.sleeper.wake();
        }
    }

    /// Until all jobs have ended: runs those of the list, looks a while, sleeps.
    fn wait(&self, parker: &Parker) {
        let has_ended = || {
            // Ordering: Acquire (P1b).
            self.shared.pending.load(Ordering::Acquire) == 0
        };
        let mut spins = 0;
        while !has_ended() {
            if self.run_one() {
                spins = 0;
            } else if spins < SPINS {
                spins += 1;
                spin_loop();
            } else {
                self.shared.sleeper.sleep_unless(parker, || {
                    has_ended() || !lock(&self.shared.list).is_empty()
                });
            }
        }
    }
}

impl Ticket {
    /// Runs jobs of the scope; see [`StackJob::execute`].
    unsafe fn execute(job: NonNull<StackJob>) {
        // SAFETY: 1. leaked in `ticket`, and this is its only use.
        let ticket = unsafe { Box::from_raw(job.cast::<Self>().as_ptr()) };
        let scope = &ticket.scope;
        // SAFETY: 1. used in this call only.
        let crew = unsafe { jobs::current() }.and_then(jobs::Jobs::crew);
        let mut left = JOBS_PER_TURN;
        loop {
            if !scope.run_one() {
                // Ordering: Relaxed; a count of its own. A job that is spawned now gets a ticket of its
                // own, or is met by one that is left; the scope's thread runs what nobody meets.
                scope.shared.tickets.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            left -= 1;
            if left == 0 {
                if let Some(crew) = crew {
                    crew.push(scope.ticket());
                    return;
                }
                left = JOBS_PER_TURN;
            }
        }
    }
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Ordering: Relaxed; for show.
        let pending = self.shared.pending.load(Ordering::Relaxed);
        f.debug_struct("Scope")
            .field("pending", &pending)
            .finish_non_exhaustive()
    }
}
