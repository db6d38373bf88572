//! Fork and join for closures that borrow: [`join`] and [`scope`](fn@scope).
//!
//! A join pays only when somebody is hungry. Its second half stays on the joining thread's own stack
//! of jobs, where pushing and popping it costs a few plain instructions. A worker without work raises
//! a flag; the next join that sees it puts the *oldest* job, which is the largest part of the work
//! that is left, into a mailbox where thieves find it.
//!
//! # Operations
//! | operation         | caller          | progress  | cost                                        |
//! |-------------------|-----------------|-----------|---------------------------------------------|
//! | `join`, not stolen | a worker       | wait-free | plain stores, a relaxed load, two branches  |
//! | `join`, offered   | a worker        | waits for a thief in `force` | and one RMW to take it back |
//! | `join`, stolen    | a worker        | waits for the thief | helps it, spins, then sleeps      |
//! | `Jobs::want`      | a hungry worker | wait-free | a load, a store                             |
//! | `Jobs::steal`     | a hungry worker | wait-free | a load; one RMW if there is a job           |
//! | `Jobs::force`     | a worker about to sleep | wait-free | a heavy fence, one RMW              |
//! | `Scope::spawn`    | anyone in the scope | blocks on a lock | an allocation, a lock; a second lock for the first job of a list |
//!
//! # Layout
//! ```text
//!   the owner's stack of pending halves                       thieves
//!   +-----------+-----------+-----------+-----------+
//!   | taken     | in mail   | private   | private   |         wanted: "I am hungry"
//!   +-----------+-----------+-----------+-----------+         mail:   one job, the oldest private
//!                           ^ base                  ^ top             one at the time it was offered
//! ```
//! The stack holds addresses of jobs; the jobs themselves lie in the frames of the `join` calls, with
//! the closure in them and room for its result.
//!
//! # Invariants
//! - **F1** The top is written by the owner alone.
//! - **F2** Jobs leave the private part only from its two ends: `join` pops the newest, an offer takes
//!   the oldest. So if a job was offered, all older ones were.
//! - **F3** The mailbox holds at most one job. Only who has *claimed* the mailbox, by exchanging its
//!   content for a mark, moves the base or puts a job in. So if a job is neither private nor in the
//!   mailbox, no older one is.
//! - **F4** A job that was offered is run once: by whoever took it out of the mailbox, be it a thief,
//!   or the owner that took it back; a job that was forced, by who forced it.
//! - **F5** A frame of `join` ends only when its job is not in the mailbox and not being run, also
//!   when the first half panics (the second half borrows from the frame's callers).
//! - **F6** A thread that waits for a job runs only what descends from that job. By F2 and F3 a waiting
//!   thread has neither private nor mailed jobs older than the one it waits for, and a thief has none
//!   when it begins; so what appears in the thief's mailbox before the job is done descends from it.
//!   Who takes a part looks afterwards whether the job is done, and if so passes the part on.
//!   A lock that the waiting thread's own frames hold can therefore be wanted only by work which
//!   would have wanted it anyway.
//! - **F7** All [`Jobs`](jobs::Jobs) of a crew are made before its threads enter them, and stay in memory
//!   until all have left.
//!
//! # Orderings
//! | label | operation                              | partner | publishes                         |
//! |-------|----------------------------------------|---------|-----------------------------------|
//! | J1    | offer: store `mail`, Release           | J2      | the job, its closure; that older ones are done |
//! | J2    | `steal`, help: swap, CAS `mail`, Acquire | J1    | –                                 |
//! | J3    | done: swap `state`, Release            | J4      | the result, all the job did       |
//! | J4    | wait: load `state`, Acquire            | J3      | –                                 |
//! | J7    | offer: `mail`; fence SeqCst; `helper`  | J8      | store–load: one of the two sees the other |
//! | J8    | wait: `helper`; fence SeqCst; `mail`   | J7      | store–load                        |
//! | J10   | force: `base`; heavy fence; `top`      | J11     | store–load: one of the two sees the other |
//! | J11   | pop: `top`; light fence; `base`        | J10     | store–load                        |
//! | J12   | push: store `top`, Release; force: load `top`, Acquire | – | the slot, the job       |
//! | J13   | release of the claim: store `mail`, Release | J14 | the base, and what `prepare` wrote |
//! | J14   | claim: CAS `mail`, Acquire             | J13     | –                                 |
//! | J15   | push: `top`; light fence; `wanted`     | J16     | store–load: one of the two sees the other |
//! | J16   | who is about to sleep and looks: `wanted`; heavy fence; `top` | J15 | store–load      |
//!
//! Who falls asleep while others search leaves the look to them and passes no fence (I6 of `stealyard_park::idle`): a
//! join that is pushed in that moment may miss the wish, and is offered at the next push, or taken by the watcher.
//!
//! # Why not …
//! A deque that everybody may steal from: the owner pays a fence or a CAS for each join, 15 ns against
//! 2 to 4. A clock that makes joins public now and then (heartbeat): reading it costs more than the
//! join, and its rate is right for one grain of work only. Running any job while waiting: it piles
//! frames without bound and takes locks out of order.
//!
//! # Why `force` takes no job twice
//! By J10 and J11, a pop of the place that is forced either is before the thief's look at the top,
//! which then is not above that place, or sees the raised base and waits for the claim. So after its
//! fence the thief may trust what it reads: if the top is above the place, the job in it stays there.
//! If it is not, the thief puts the base back, under the same claim, and an owner that waits finds its
//! job private after all.
//!
//! # References
//! U. Acar, A. Charguéraud, M. Rainey, *Scheduling parallel programs by work stealing with private
//! deques*, 2013. U. Acar and others, *Heartbeat scheduling*, 2018. D. Wagner, B. Calder,
//! *Leapfrogging*, 1993.

mod board;
mod jobs;
mod scope;
mod sleeper;

use core::mem::{ManuallyDrop, MaybeUninit};
use core::ptr::NonNull;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use stealyard_sync::cell::UnsafeCell;
use stealyard_sync::{Mutex, MutexGuard};

use crate::task::StackJob;
use crate::user_code::drop_unwanted;

pub use board::Boards;
pub use jobs::{Crew, Entered, Jobs};
pub use scope::{Scope, scope};

use jobs::{Pending, Place};

/// No code of a user's runs under the locks of scopes and boards, so a poisoned one is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}

/// The second half of a join, in the frame of the thread that joins.
#[repr(C)]
struct Half<B, RB> {
    pending: Pending,
    closure: UnsafeCell<ManuallyDrop<B>>,
    /// Written by who runs the half elsewhere.
    result: UnsafeCell<MaybeUninit<std::thread::Result<RB>>>,
}

impl<B: FnOnce() -> RB, RB> Half<B, RB> {
    /// Runs a half that was taken out of the mailbox; see [`StackJob::execute`].
    unsafe fn execute(job: NonNull<StackJob>) {
        let half = job.cast::<Self>();
        // SAFETY: 1. the frame stays until the job is done (F5), and it is of this type.
        let half = unsafe { half.as_ref() };
        half.pending.begin();
        // SAFETY: 1. run once (F4), and the owner waits.
        let closure = half.closure.with(|closure| unsafe { closure.read() });
        let result = catch_unwind(AssertUnwindSafe(ManuallyDrop::into_inner(closure)));
        // SAFETY: 1. the owner waits until "done".
        half.result
            .with_mut(|place| unsafe { place.write(MaybeUninit::new(result)) });
        // The frame may be gone when this returns (F5).
        // SAFETY: 1. offered before it was taken; not used again.
        unsafe { Pending::done(job.cast()) };
    }

    /// # Safety
    /// 1. The half was not run, and will not be: the closure is the caller's.
    #[inline(always)]
    unsafe fn take_closure(&self) -> B {
        // SAFETY: 1. as the caller promises.
        let closure = self.closure.with(|closure| unsafe { closure.read() });
        ManuallyDrop::into_inner(closure)
    }

    /// # Safety
    /// 1. The half was run elsewhere, is done, and its result was not taken.
    unsafe fn take_result(&self) -> std::thread::Result<RB> {
        // SAFETY: 1. done: the frame is ours alone again (1).
        let result = self.result.with(|place| unsafe { place.read() });
        // SAFETY: 1. who ran it wrote it (1).
        unsafe { result.assume_init() }
    }
}

/// Takes the second half back when the first one panics (F5).
struct Retract<'a, B: FnOnce() -> RB, RB> {
    jobs: &'a Jobs,
    place: Place,
    half: &'a Half<B, RB>,
}

impl<B: FnOnce() -> RB, RB> Drop for Retract<'_, B, RB> {
    #[cold]
    fn drop(&mut self) {
        if self.jobs.pop(self.place, &self.half.pending) {
            // SAFETY: 1. not run, and ours.
            drop_unwanted(unsafe { self.half.take_closure() });
        } else {
            // The first half's panic goes on; the second one's result or panic is dropped.
            // SAFETY: 1. run elsewhere, done, and taken once.
            let result = unsafe { self.half.take_result() };
            drop_unwanted(result);
        }
    }
}

/// Runs both closures, possibly at the same time, and returns when both have ended.
///
/// On a worker of a [`Scheduler`](crate) the second half may be run by another worker that has
/// nothing to do. Anywhere else both run on this thread, first `a`, then `b`.
///
/// A thread that waits for a stolen half runs nothing but parts of that half, so it is safe to hold a
/// lock across a `join` as long as neither half takes it.
///
/// # Panics
/// If a closure panics, with its payload, after the other has ended or was taken back unrun: if `a`
/// panics before `b` has begun, `b` is dropped. If both panic, with `a`'s payload.
///
/// # Examples
/// ```
/// fn fib(n: u32) -> u64 {
///     if n < 2 {
///         return u64::from(n);
///     }
///     let (a, b) = stealyard_task::join(|| fib(n - 1), || fib(n - 2));
///     a + b
/// }
/// assert_eq!(fib(20), 6765);
/// ```
#[inline]
pub fn join<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    // SAFETY: 1. a thread's `Jobs` outlive every call on it.
    let Some(jobs) = (unsafe { jobs::current() }) else {
        return (a(), b());
    };
    let Some(place) = jobs.reserve() else {
        // As deep as the stack of jobs goes: go on without offering this half, only the older ones.
        return (a(), b());
    };
    let half = Half {
        pending: Pending::new(Half::<B, RB>::execute),
        closure: UnsafeCell::new(ManuallyDrop::new(b)),
        result: UnsafeCell::new(MaybeUninit::uninit()),
    };
    // SAFETY: 1. the frame stays until the half is popped below or by `Retract`.
    unsafe { jobs.push(place, &half.pending) };
    let retract = Retract {
        jobs,
        place,
        half: &half,
    };
    let first = a();
    core::mem::forget(retract);
    if jobs.pop(place, &half.pending) {
        // SAFETY: 1. not run, and ours.
        let closure = unsafe { half.take_closure() };
        (first, closure())
    } else {
        // SAFETY: 1. run elsewhere, done, and taken once.
        match unsafe { half.take_result() } {
            Ok(second) => (first, second),
            Err(panic) => resume_unwind(panic),
        }
    }
}
