//! What fork-join needs of the executor whose workers it runs on.

use stealyard_sync::Arc;

use super::board::Boards;
use crate::task::Task;

/// An executor whose workers run joins and scopes; see the example `joins.rs` of this crate.
///
/// Each worker has a [`JoinStack`](super::JoinStack), which it enters while it runs tasks. A worker
/// without work looks at the stacks of the others: it takes what is offered there
/// ([`steal`](super::JoinStack::steal)), else it asks for an offer
/// ([`request_offer`](super::JoinStack::request_offer)). Before it sleeps it forces one out
/// ([`force`](super::JoinStack::force)).
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
