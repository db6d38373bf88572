//! A scope: any number of closures that borrow, all ended when the scope ends.
//!
//! The scope owns a list of its jobs. The thread that opened it runs jobs of the list when its body
//! has ended, so it runs nothing else while it waits. Workers find the list on a board, and are
//! sent there by tickets (see [`board`](self::board)).
//!
//! SB1 to SB4, TB1 and TB2 are those of `board.rs`; Z1 and Z2 are those of `sleeper.rs`.
//!
//! # Invariants
//! - **SC1** `pending` counts the jobs that were spawned and have not ended, and the body. It
//!   reaches zero once, when nothing of the scope can run any more.
//! - **SC2** A job is in the list or with the thread that runs it.
//! - **SC3** What a ticket needs is in the `Arc` that it shares with the scope: it may look at the
//!   list after the end.
//! - **SC4** The host outlives the scope. The thread that opened the scope is inside its worker's
//!   loop until the scope has ended, and a thread that spawns or takes a job does so while that job
//!   or the body is pending (SC1).
//! - **SC5** *A worker is told of each job*, whichever thread spawns it, also while the opener is
//!   busy or blocked in the body: the tickets see to it (SB4). Running the job takes another
//!   worker. With one worker, or when the others are blocked or have left because the executor
//!   ends, a body that waits for a job waits for ever.
//!
//! # Orderings
//! | label | operation                    | partner | publishes                          |
//! |-------|------------------------------|---------|------------------------------------|
//! | SO1   | job done: sub `pending`, Release | SO2 | all the job did                    |
//! | SO2   | wait: load `pending`, Acquire | SO1    | –                                  |

mod board;

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind, resume_unwind};

use stealyard_park::{Parker, SpinConfig};
use stealyard_sync::atomic::{AtomicUsize, Ordering, fence};
use stealyard_sync::{Arc, Mutex, unpoisoned};

pub use self::board::Boards;
use super::JoinHost;
use super::join_stack::{self, JoinStack};
use super::sleeper::{Sleeper, Spinning};
use crate::user_code::drop_unwanted;

type JobOf<'scope> = Box<dyn FnOnce(&Scope<'scope>) + Send + 'scope>;
type Job = JobOf<'static>;

/// What a scope shares with the tickets that run its jobs. No code of the user's runs under its
/// locks.
pub(super) struct ScopeState {
    list: Mutex<VecDeque<Job>>,
    pending: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    sleeper: Sleeper,
    home: Option<Home>,
}

/// The workers that may run jobs of the scope.
struct Home {
    host: NonNull<dyn JoinHost>,
    /// The worker that opened it.
    worker: usize,
}

// SAFETY: 1. a host is `Sync`, and it is there as long as it is asked (SC4).
unsafe impl Send for Home {}
// SAFETY: 1. as above.
unsafe impl Sync for Home {}

impl UnwindSafe for Home {}
impl RefUnwindSafe for Home {}

impl Home {
    /// Returns that of the calling thread, if it is a worker's and there are others.
    fn here() -> Option<Self> {
        // SAFETY: 1. used in this call only.
        let host = unsafe { join_stack::current() }?.host()?;
        host.boards().are_of_use().then(|| {
            let worker = host.index();
            // SAFETY: 1. only the lifetime changes: it is not used after the scope's end (SC4).
            let host = unsafe {
                core::mem::transmute::<NonNull<dyn JoinHost + '_>, NonNull<dyn JoinHost + 'static>>(
                    NonNull::from(host),
                )
            };
            Self { host, worker }
        })
    }

    /// Returns the host.
    ///
    /// # Safety
    /// 1. The scope has not ended.
    unsafe fn host(&self) -> &dyn JoinHost {
        // SAFETY: 1. the host outlives the scope (SC4, 1).
        unsafe { self.host.as_ref() }
    }
}

/// What jobs that borrow are spawned on; see [`scope`].
pub struct Scope<'scope> {
    state: Arc<ScopeState>,
    /// Invariant in the lifetime; the jobs are sent to other threads.
    jobs: PhantomData<Mutex<JobOf<'scope>>>,
}

/// Runs `body`, which may spawn closures that borrow what outlives the scope, and returns when all
/// of them have ended.
///
/// On a worker of an executor the closures may run on other workers, from the moment they are
/// spawned. Anywhere else they run on this thread when the body has ended, in the order they were
/// spawned in. A body, or a closure, that waits for another closure to have run relies on a second
/// worker that is not blocked and does not leave because the executor ends. Without one it waits
/// for ever.
///
/// # Panics
/// With the body's payload if it panics, else with that of the first closure that did. In both
/// cases all closures have ended before.
///
/// # Examples
/// ```
/// # use stealyard_task::scope;
/// let mut counts = [0; 3];
/// scope(|scope| {
///     for (index, count) in counts.iter_mut().enumerate() {
///         scope.spawn(move |_| *count = index * 10);
///     }
/// });
/// assert_eq!(counts, [0, 10, 20]);
/// ```
pub fn scope<'scope, R>(body: impl FnOnce(&Scope<'scope>) -> R) -> R {
    let (scope, parker) = Scope::open();
    let result = catch_unwind(AssertUnwindSafe(|| body(&scope)));
    scope.ended();
    scope.wait(&parker);
    let panic = unpoisoned::lock(&scope.state.panic).take();
    // A result that is not returned is dropped here: a panic of its destructor would end the
    // process while the other one unwinds.
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
    /// Makes a scope of the calling thread, with the parker that it waits with.
    fn open() -> (Self, Parker) {
        // SAFETY: 1. used in this call only.
        let stack = unsafe { join_stack::current() };
        let spin = stack.map_or(SpinConfig::default(), JoinStack::spin);
        let (sleeper, parker) = Sleeper::new(spin);
        let scope = Self {
            state: Arc::new(ScopeState {
                list: Mutex::new(VecDeque::new()),
                pending: AtomicUsize::new(1),
                panic: Mutex::new(None),
                sleeper,
                home: Home::here(),
            }),
            jobs: PhantomData,
        };
        (scope, parker)
    }

    /// Spawns a closure that ends before the scope does. It may spawn others on the scope it is
    /// given.
    ///
    /// Blocks on a lock that is held for a few instructions.
    pub fn spawn<F>(&self, job: F)
    where
        F: FnOnce(&Scope<'scope>) + Send + 'scope,
    {
        let job: JobOf<'scope> = Box::new(job);
        // SAFETY: 1. only lifetimes change: `scope` does not return before the job has ended (SC1).
        let job = unsafe { core::mem::transmute::<JobOf<'scope>, Job>(job) };
        let state = &self.state;
        // Ordering: Relaxed; it cannot be zero: the caller is the body or a job (SC1), and the
        // list's lock publishes the job.
        state.pending.fetch_add(1, Ordering::Relaxed);
        // SAFETY: 1. the job is pending.
        let home = unsafe { self.home() };
        let mut list = unpoisoned::lock(&state.list);
        list.push_back(job);
        if let Some((host, worker)) = home
            && list.len() == 1
        {
            host.boards().hang(worker, Arc::clone(state));
        }
        drop(list);
        // Ordering: SeqCst (TB1, Z2); partners TB2, Z1.
        fence(Ordering::SeqCst);
        state.sleeper.wake_after_fence();
        if let Some((host, _)) = home
            && let Some(ticket) = Boards::issue(host.boards())
        {
            host.push(ticket);
        }
    }

    /// Returns the workers that may run jobs, and the number of the one that opened the scope.
    ///
    /// # Safety
    /// 1. The scope has not ended.
    unsafe fn home(&self) -> Option<(&dyn JoinHost, usize)> {
        let home = self.state.home.as_ref()?;
        // SAFETY: 1. as the caller promises (1).
        Some((unsafe { home.host() }, home.worker))
    }

    /// Takes the next job of the list.
    fn next(&self) -> Option<Job> {
        let mut list = unpoisoned::lock(&self.state.list);
        let job = list.pop_front()?;
        // SAFETY: 1. the job is pending.
        if let Some((host, worker)) = unsafe { self.home() }
            && list.is_empty()
        {
            host.boards().remove(worker, &self.state);
        }
        Some(job)
    }

    /// Runs the next job of the list. Returns false if there is none.
    pub(super) fn run_one(&self) -> bool {
        let Some(job) = self.next() else { return false };
        // SAFETY: 1. only the lifetime changes, which the job was made with.
        let scope = unsafe { core::mem::transmute::<&Self, &Scope<'static>>(self) };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job(scope))) {
            let second = {
                let mut first = unpoisoned::lock(&self.state.panic);
                match *first {
                    Some(_) => Some(panic),
                    None => {
                        *first = Some(panic);
                        None
                    }
                }
            };
            // A payload's destructor is the user's code: it runs without the lock, and its panic
            // ends here.
            drop_unwanted(second);
        }
        self.ended();
        true
    }

    /// Counts the body or a job out, which has ended.
    fn ended(&self) {
        // Ordering: Release (SO1); the release sequence of the count carries all jobs.
        if self.state.pending.fetch_sub(1, Ordering::Release) == 1 {
            // The caller shares the `Arc` (SC3): the scope may have returned.
            self.state.sleeper.wake();
        }
    }

    /// Waits until all jobs have ended: runs those of the list, looks for a while, sleeps.
    fn wait(&self, parker: &Parker) {
        let has_ended = || {
            // Ordering: Acquire (SO2).
            self.state.pending.load(Ordering::Acquire) == 0
        };
        let mut spin = Spinning::new(parker);
        while !has_ended() {
            if self.run_one() {
                spin.end(true);
            } else if !spin.goes_on() {
                self.state.sleeper.sleep_unless(parker, || {
                    has_ended() || !unpoisoned::lock(&self.state.list).is_empty()
                });
            }
        }
    }
}

impl Scope<'static> {
    /// Returns the scope as a ticket sees it, which does not know its lifetime.
    pub(super) fn of(state: Arc<ScopeState>) -> Self {
        Self {
            state,
            jobs: PhantomData,
        }
    }
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Ordering: Relaxed; for show.
        let pending = self.state.pending.load(Ordering::Relaxed);
        f.debug_struct("Scope")
            .field("pending", &pending)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(any(stealyard_loom, stealyard_shuttle))))]
mod tests {
    use super::*;
    use crate::task::Task;

    /// A host of one worker.
    struct Alone(Arc<Boards>);

    // SAFETY: 1. nothing unwinds; 2. the boards are made for one worker, number 0.
    unsafe impl JoinHost for Alone {
        fn announce_offer(&self) {}

        fn has_idle_worker(&self) -> bool {
            false
        }

        fn push(&self, task: Task) {
            drop(task);
        }

        fn boards(&self) -> &Arc<Boards> {
            &self.0
        }

        fn index(&self) -> usize {
            0
        }
    }

    #[test]
    fn a_scope_spins_as_the_joins_of_its_thread_do() {
        let host = Alone(Arc::new(Boards::new(1)));
        let budget = || {
            let (scope, parker) = Scope::open();
            scope.ended();
            parker.spin_budget()
        };
        let default = budget();
        assert!(!default.is_zero());
        for (spin, expected) in [
            (SpinConfig::OFF, core::time::Duration::ZERO),
            (SpinConfig::default(), default),
        ] {
            let stack = JoinStack::with_spin(spin);
            // SAFETY: 1. to 3. no other thread, no join, and the guard goes before the stack.
            let entered = unsafe { stack.enter(&host) };
            assert_eq!(budget(), expected);
            drop(entered);
        }
    }
}
