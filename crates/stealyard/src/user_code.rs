//! Where code of the user's runs, what it may do there, and what becomes of its panics.
//!
//! Everything the library calls that it did not write runs *inside* something (`task/running.rs`), so that calls which
//! would block a worker see where they are and panic with a message that names the place; and in a `catch_unwind`, so
//! that a panic ends there.
//!
//! | code                                          | thread                     | inside    | a panic                         |
//! |-----------------------------------------------|----------------------------|-----------|---------------------------------|
//! | a poll; a closure of `install`                | a worker                   | task      | is the task's result            |
//! | half of a `join`, a job of a `scope`          | a worker, or the caller's  | task      | is the `join`'s or the `scope`'s result |
//! | a closure of `spawn_blocking`                 | a blocking thread; a worker if none could be started | task | is the task's result |
//! | the future's destructor, after its end        | where it was polled        | task      | is the task's result            |
//! | the future's destructor, while its panic unwinds | where it was polled     | task      | is caught                       |
//! | the future's destructor, cancelled            | a worker; after the end, the thread that spawned or woke it | destructor | is the task's result |
//! | the closure's destructor, cancelled           | as above, or a blocking thread | destructor | is the task's result       |
//! | an output's destructor, without a handle      | where the task ended       | task or destructor | is caught              |
//! | an output's destructor, of a handle dropped after the end | the one that drops the handle | whatever that is inside of | is caught |
//! | a panic's payload, not taken                  | as an output               | as an output | is caught                    |
//! | the joiner's waker: `wake`                    | where the task ended       | task or destructor | is caught              |
//! | the joiner's waker: `drop`, with the handle   | the one that drops the handle | whatever that is inside of | is caught   |
//! | the joiner's waker: `clone`, and `drop` of one that is replaced | the one that polls the handle | whatever that is inside of | goes on there: it is the poller's own |
//! | the other half of a `join` whose first half panicked, its result; of the panics of a `scope` all but the first, and its result | the one that joins | whatever that is inside of | is caught |
//! | the hooks of a worker                         | that worker                | that hook | is caught                       |
//! | the hook `on_task_panic`                      | where the panic was caught | that hook | is caught, and not told to itself |
//! | a steal policy: `victim`, `amount`, `outcome` | a worker                   | policy    | is caught; as if it had named no victim |
//! | an order of waking                            | any that makes work        | policy    | is swallowed; as if it had chosen none |
//! | a queue's methods                             | a worker                   | what the caller is inside of | goes on there: in a spawn it is the task's, in the worker's loop it ends the thread, whose tasks the others run |
//! | destructors of hooks, policies, queues        | the last to let go of the scheduler | destructor | is swallowed           |
//! | a subscriber of `tracing` events              | the one that tells         | subscriber | is swallowed                   |
//! | destructors of thread-locals                  | a worker, when it has left | nothing   | ends the process, as in any thread |
//! | a future of `block_on`                        | the caller's               | whatever that is inside of | goes on there  |
//! | a future or closure whose call is refused: its destructor | the caller's   | whatever that is inside of | is caught      |
//!
//! *Caught* means: counted in `Metrics::panics` of the scheduler that it belongs to, or else that the thread works for,
//! if it does; told to `on_task_panic`; and disposed of. *Swallowed* means disposed of, where there is no scheduler left
//! to tell, or telling would call the same code again.
//!
//! **What it may do.** Inside anything on a worker's thread, and inside a hook on any thread, to block panics:
//! `JoinHandle::join`, `block_on`, and `install` for another scheduler. Spawning and waking are always allowed. To end a
//! scheduler never waits for the thread it is called on.
//!
//!
//! What catches, drops and tells is `stealyard_task::user_code`, where the invariants UC1 and UC2 are.

pub(crate) use stealyard_task::user_code::{
    NoBlocking, Panic, Quiet, catch, discard, dispose, refuse, tell,
};
