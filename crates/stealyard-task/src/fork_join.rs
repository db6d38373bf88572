//! Fork and join for closures that borrow: [`join`] and [`scope`](fn@scope).
//!
//! A join is made public only when a worker has nothing to do. Its second half stays on the joining
//! thread's own stack of pending joins, where pushing and popping it costs a few plain
//! instructions. A worker without work raises a flag. The next join that sees the flag offers the
//! *oldest* pending half, which is the largest part of the work that is left, in a slot where
//! thieves find it.
//!
//! # Operations
//! | operation                  | caller        | progress            | cost                     |
//! |----------------------------|---------------|---------------------|--------------------------|
//! | `join`, not stolen         | a worker      | wait-free           | stores, a load, branches |
//! | `join`, offered            | a worker      | waits for `force`   | one RMW more             |
//! | `join`, stolen             | a worker      | waits for the thief | helps it, spins, sleeps  |
//! | `JoinStack::request_offer` | a thief       | wait-free           | a load, a store          |
//! | `JoinStack::steal`         | a thief       | wait-free           | a load; one RMW if any   |
//! | `JoinStack::force`         | an idle thief | wait-free           | a heavy fence, one RMW   |
//! | `Scope::spawn`             | body or job   | blocks on a lock    | an allocation, locks     |
//!
//! # Layout
//! ```text
//!   the owner's stack of pending joins                     thieves
//!   +-----------+-----------+-----------+-----------+
//!   | taken     | offered   | private   | private   |      is_wanted: a worker has nothing to do
//!   +-----------+-----------+-----------+-----------+      offer:     one join, the oldest private
//!                           ^ base                  ^ top             one when it was offered
//! ```
//! The stack holds addresses. The pending joins themselves lie in the frames of the `join` calls,
//! each with its closure in it and room for the result.
//!
//! # Invariants
//! - **F1** The owner alone writes the top.
//! - **F2** Joins leave the private part only at its two ends: `join` pops the newest, an offer
//!   takes the oldest. So if a join was offered, all older ones were offered before.
//! - **F3** The offer slot holds at most one join. A thread must have *claimed* the slot, by
//!   exchanging its content for a mark, before it moves the base or puts a join in. So if a join is
//!   neither private nor in the slot, no older one is.
//! - **F4** A join that was offered is run once, by the thread that took it out of the slot: a
//!   thief, or the owner that took it back. A join that was forced out is run by the thread that
//!   forced it.
//! - **F5** A frame of `join` ends only when its second half is neither in the slot nor being run.
//!   This holds as well if the first half panics, because the second half borrows from the frame's
//!   callers.
//! - **F6** A thread that waits for a half runs only what descends from that half. By F2 and F3 a
//!   waiting thread has neither private nor offered joins older than the one it waits for, and a
//!   thief has none when it begins. What appears in the thief's slot before the half is done
//!   therefore descends from it. A thread that takes such a part looks afterwards whether the half
//!   is done, and if so passes the part on. A lock that is held by the waiting thread's own frames
//!   can therefore be wanted only by work that would have wanted it anyway.
//! - **F7** All [`JoinStack`]s of a host are made before its threads enter them, and stay in memory
//!   until every thread has left and no half that was taken is being run.
//!
//! # Orderings
//! | label | operation                              | partner | publishes                    |
//! |-------|----------------------------------------|---------|------------------------------|
//! | J1    | offer: store `offer`, Release          | J2      | the join                     |
//! | J2    | `steal`, help: CAS `offer`, Acquire    | J1      | –                            |
//! | J3    | done: store `state`, Release           | J4      | the result, all the half did |
//! | J4    | wait: load `state`, Acquire            | J3      | –                            |
//! | J7    | offer: `offer`; fence SeqCst; `helper` | J8      | store–load                   |
//! | J8    | wait: `helper`; fence SeqCst; `offer`  | J7      | store–load                   |
//! | J9    | force: load `top`, Acquire             | J12     | –                            |
//! | J10   | force: `base`; heavy fence; `top`      | J11     | store–load                   |
//! | J11   | pop: `top`; light fence; `base`        | J10     | store–load                   |
//! | J12   | push: store `top`, Release             | J9      | the slot, the join           |
//! | J13   | end of a claim: store `offer`, Release | J14     | base, `Offered`              |
//! | J14   | claim: CAS `offer`, Acquire            | J13     | –                            |
//! | J15   | push: `top`; light fence; `is_wanted`  | J16     | store–load                   |
//! | J16   | look: `is_wanted`; heavy fence; `top`  | J15     | store–load                   |
//!
//! Store–load: of the two sides, one sees what the other wrote. J1 also publishes that older joins
//! are done.
//!
//! A worker that falls asleep while others search leaves the last look to them, and passes no fence
//! (the reliance of a parking worker, `idle.rs` of `stealyard-park`, I6). A join that is pushed at
//! that moment may miss the request. It is then offered by the next push, or found by the monitor,
//! if the executor has one.
//!
//! # Why not …
//! - *A deque that any thread may steal from:* the owner pays a fence or a CAS for each join, 15 ns
//!   against 2 to 4.
//! - *A clock that makes joins public now and then* (heartbeat): reading it costs more than the
//!   join, and its rate is right for one grain of work only.
//! - *Running any task while waiting:* it piles up frames without bound and takes locks out of
//!   order.
//!
//! # Why `force` takes no join twice
//! By J10 and J11, a pop of the slot that is forced either comes before the thief's look at the
//! top, which then is not above that slot, or sees the raised base and waits for the claim. So
//! after its fence the thief may trust what it reads: if the top is above the slot, the join in it
//! stays there. If it is not, the thief puts the base back under the same claim, and an owner that
//! waits finds its join private after all.
//!
//! # References
//! U. Acar, A. Charguéraud, M. Rainey, *Scheduling parallel programs by work stealing with private
//! deques*, 2013. U. Acar and others, *Heartbeat scheduling*, 2018. D. Wagner, B. Calder,
//! *Leapfrogging*, 1993.

mod join_stack;
mod scope;
mod sleeper;

use core::mem::{ManuallyDrop, MaybeUninit};
use core::ptr::NonNull;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use stealyard_sync::Arc;
use stealyard_sync::cell::UnsafeCell;

use crate::task::{StackJob, Task};
use crate::user_code::drop_unwanted;

pub use join_stack::{JoinStack, JoinStackGuard};
pub use scope::{Boards, Scope, scope};

use join_stack::{PendingJoin, StackSlot};

/// An executor whose workers run joins and scopes; see the example `joins.rs` of this crate.
///
/// Each worker has a [`JoinStack`], which it enters while it runs tasks. A worker
/// without work looks at the stacks of the others: it takes what is offered there
/// ([`steal`](JoinStack::steal)), else it asks for an offer
/// ([`request_offer`](JoinStack::request_offer)). Before it sleeps it forces one out
/// ([`force`](JoinStack::force)).
///
/// A host that tells no worker of an offer costs parallelism. One that loses a task that was pushed
/// makes a join or a scope wait for ever.
///
/// # Safety
/// 1. No method unwinds: the frames of joins and scopes must not be left.
/// 2. `boards` always returns the same boards, and `index` is below the number of workers they were
///    made for.
pub unsafe trait JoinHost: Sync {
    /// Tells the workers that the calling worker has made an offer: if a worker sleeps and none
    /// searches, this wakes one, as for any other task.
    fn announce_offer(&self);

    /// Whether a worker searches or sleeps, so that the next join should be offered as well.
    fn has_idle_worker(&self) -> bool;

    /// Puts a task into the calling worker's queue, or where the workers find it if the calling
    /// thread is no worker's.
    fn push(&self, task: Task);

    /// Returns the boards on which the scopes of this host show their jobs.
    fn boards(&self) -> &Arc<Boards>;

    /// Returns the number of the calling worker, from 0.
    fn index(&self) -> usize;
}

/// The second half of a join, in the frame of the thread that joins.
#[repr(C)]
struct Half<B, RB> {
    pending: PendingJoin,
    closure: UnsafeCell<ManuallyDrop<B>>,
    /// Written by the thread that runs the half elsewhere.
    result: UnsafeCell<MaybeUninit<std::thread::Result<RB>>>,
}

impl<B: FnOnce() -> RB, RB> Half<B, RB> {
    /// Runs a half that another thread has taken; see [`StackJob::execute`].
    unsafe fn execute(job: NonNull<StackJob>) {
        let half = job.cast::<Self>();
        // SAFETY: 1. the frame stays until the half is done (F5), and it is of this type.
        let half = unsafe { half.as_ref() };
        half.pending.begin();
        // SAFETY: 1. a taken half is run once (F4), and the owner waits.
        let closure = half.closure.with(|closure| unsafe { closure.read() });
        let result = catch_unwind(AssertUnwindSafe(ManuallyDrop::into_inner(closure)));
        // SAFETY: 1. the owner waits until the half is done.
        half.result
            .with_mut(|place| unsafe { place.write(MaybeUninit::new(result)) });
        // The frame may be gone when this returns (F5).
        // SAFETY: 1. prepared before it was taken; not used again.
        unsafe { PendingJoin::done(job.cast()) };
    }

    /// Moves the closure out, to run or to drop it here.
    ///
    /// # Safety
    /// 1. The half was not run, and will not be: the closure is the caller's.
    #[inline(always)]
    unsafe fn take_closure(&self) -> B {
        // SAFETY: 1. as the caller promises.
        let closure = self.closure.with(|closure| unsafe { closure.read() });
        ManuallyDrop::into_inner(closure)
    }

    /// Moves the result out.
    ///
    /// # Safety
    /// 1. The half was run elsewhere, is done, and its result was not taken.
    unsafe fn take_result(&self) -> std::thread::Result<RB> {
        // SAFETY: 1. done: the frame is ours alone again (1).
        let result = self.result.with(|place| unsafe { place.read() });
        // SAFETY: 1. the thread that ran the half wrote it (1).
        unsafe { result.assume_init() }
    }
}

/// Takes the second half back when the first one panics (F5).
struct Retract<'a, B: FnOnce() -> RB, RB> {
    stack: &'a JoinStack,
    slot: StackSlot,
    half: &'a Half<B, RB>,
}

impl<B: FnOnce() -> RB, RB> Drop for Retract<'_, B, RB> {
    #[cold]
    fn drop(&mut self) {
        if self.stack.pop(self.slot, &self.half.pending) {
            // SAFETY: 1. not run, and ours.
            drop_unwanted(unsafe { self.half.take_closure() });
        } else {
            // The first half's panic goes on. The second one's result or panic is dropped.
            // SAFETY: 1. run elsewhere, done, and taken once.
            let result = unsafe { self.half.take_result() };
            drop_unwanted(result);
        }
    }
}

/// Runs both closures, possibly at the same time, and returns when both have ended.
///
/// On a worker of an executor the second half may be run by another worker that has nothing to do.
/// Anywhere else both run on this thread, first `a`, then `b`.
///
/// A thread that waits for a stolen half runs nothing but parts of that half, so it is safe to hold
/// a lock across a `join` as long as neither half takes it.
///
/// # Panics
/// If a closure panics, with its payload, after the other has ended or was taken back unrun. If `a`
/// panics before `b` has begun, `b` is dropped. If both panic, with `a`'s payload.
///
/// # Examples
/// ```
/// # use stealyard_task::join;
/// fn fib(n: u32) -> u64 {
///     if n < 2 {
///         return u64::from(n);
///     }
///     let (a, b) = join(|| fib(n - 1), || fib(n - 2));
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
    // SAFETY: 1. used in this call only.
    let Some(stack) = (unsafe { join_stack::current() }) else {
        return (a(), b());
    };
    let Some(slot) = stack.reserve() else {
        // The stack is full: this half is not offered, only the older ones.
        return (a(), b());
    };
    let half = Half {
        pending: PendingJoin::new(Half::<B, RB>::execute),
        closure: UnsafeCell::new(ManuallyDrop::new(b)),
        result: UnsafeCell::new(MaybeUninit::uninit()),
    };
    // SAFETY: 1. reserved just now; 2. the frame stays until the half is popped below or by
    // `Retract`.
    unsafe { stack.push(slot, &half.pending) };
    let retract = Retract {
        stack,
        slot,
        half: &half,
    };
    let first = a();
    core::mem::forget(retract);
    if stack.pop(slot, &half.pending) {
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
