//! Where code of the user's runs, what it may do there, and what becomes of its panics.
//!
//! Everything the library calls that it did not write runs *inside* something
//! (`stealyard_task::running`), so that calls which would block a worker see where they are and
//! panic with a message that names the place. And it runs in a `catch_unwind`, so that a panic ends
//! there.
//!
//! # Code that makes a result
//! Each of these runs inside a task, and its panic is the result of the task, the `join` or the
//! `scope`:
//! - a poll, or a closure of `install`, on a worker;
//! - half of a `join` or a job of a `scope`, on a worker or the caller's thread;
//! - a closure of `spawn_blocking`, on a blocking thread, or on a worker if none could be started;
//! - the destructor of a future that has ended, where it was polled.
//!
//! # Destructors, wakers and payloads
//! - *The future's destructor, while its panic unwinds:* where it was polled, inside the task. A
//!   panic of it is caught.
//! - *The future's destructor, cancelled:* on a worker, or after the end on the thread that spawned
//!   or woke it, inside a destructor. A panic is the task's result.
//! - *The closure's destructor, cancelled:* the same, or on a blocking thread.
//! - *An output's destructor, without a handle:* where the task ended, inside the task or a
//!   destructor. A panic is caught.
//! - *An output's destructor, of a handle dropped after the end:* on the thread that drops the
//!   handle, inside whatever that is inside of. A panic is caught.
//! - *A panic's payload that was not taken:* as an output.
//! - *The joiner's waker, woken:* where the task ended, inside the task or a destructor. A panic is
//!   caught.
//! - *The joiner's waker, dropped with the handle:* on the thread that drops the handle, inside
//!   whatever that is inside of. A panic is caught.
//! - *The joiner's waker, cloned, or dropped because it is replaced:* on the thread that polls the
//!   handle, inside whatever that is inside of. A panic goes on there: the waker is the poller's
//!   own.
//! - *What a `join` or a `scope` drops* (the half whose first half panicked, its result, all panics
//!   of a scope but the first, and its result): on the thread that joins, inside whatever that is
//!   inside of. A panic is caught.
//! - *A future or closure whose call is refused:* its destructor runs on the caller's thread,
//!   inside whatever that is inside of. A panic is caught.
//! - *Destructors of hooks, policies and queues:* on the last thread to let go of the scheduler,
//!   inside a destructor. A panic is swallowed.
//! - *Destructors of thread-locals:* on a worker that has left, inside nothing. A panic ends the
//!   process, as in any thread.
//!
//! # Hooks, policies, queues
//! - *The hooks of a worker:* on that worker, inside that hook. A panic is caught.
//! - *The hook `on_task_panic`:* where the panic was caught, inside that hook. A panic is caught,
//!   and not told to the hook itself.
//! - *A steal policy* (`victim`, `amount`, `outcome`): on a worker, inside a policy. A panic is
//!   caught, as if the policy had named no victim.
//! - *An order of waking:* on any thread that makes work, inside a policy. A panic is swallowed, as
//!   if it had chosen no worker.
//! - *A queue's methods:* on a worker, inside what the caller is inside of. A panic goes on there:
//!   in a spawn it is the task's, in the worker's loop it ends the thread, whose tasks the others
//!   run.
//! - *A subscriber of `tracing` events:* on the thread that tells it, inside a subscriber. A panic
//!   is swallowed.
//! - *A future of `block_on`:* on the caller's thread, inside whatever that is inside of. A panic
//!   goes on there.
//!
//! *Caught* means three things: the panic is counted in `Metrics::panics` of the scheduler that it
//! belongs to, or else of the one that the thread works for, if it does; it is told to
//! `on_task_panic`; and it is disposed of. *Swallowed* means disposed of, where there is no
//! scheduler left to tell, or where telling would call the same code again.
//!
//! **What it may do.** Inside anything on a worker's thread, and inside a hook on any thread,
//! blocking panics: `JoinHandle::join`, `block_on`, and `install` for another scheduler. Spawning
//! and waking are always allowed. Ending a scheduler never waits for the thread it is called on.
//!
//! The functions that catch, drop and tell are in `stealyard_task::user_code`, with their
//! invariants.

pub(crate) use stealyard_task::user_code::{
    NoBlocking, Panic, Quiet, catch, discard, dispose, refuse, tell,
};
