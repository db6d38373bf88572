//! Where workers find the jobs of scopes, and the tickets that send them there.
//!
//! A scope whose list holds jobs hangs on a *board*, that of the worker that opened it. A *ticket*
//! is a task that says "look at the boards". The worker that runs it takes jobs of whatever scope
//! hangs there, its own board first. A ticket belongs to no scope, so one that comes late serves
//! the next scope, and there are always fewer tickets than workers, however many scopes begin and
//! end.
//!
//! # Operations
//! | operation         | caller                     | progress         | cost                     |
//! |-------------------|----------------------------|------------------|--------------------------|
//! | `hang`            | spawns a list's first job  | blocks on a lock | a lock                   |
//! | `remove`          | takes a list's last job    | blocks on a lock | a lock                   |
//! | `issue`           | spawns a job               | lock-free        | a load; RMW for a ticket |
//! | `Ticket::execute` | a worker                   | blocks on locks  | two locks for each job   |
//!
//! # Invariants
//! - **SB1** A scope hangs on its board if and only if its list holds a job: both change in one
//!   critical section of the list. So a scope that has ended hangs nowhere, and nothing of it is
//!   left to be withdrawn.
//! - **SB2** `tickets` counts the tickets that are queued or being run. There are at most as many
//!   as workers, less one.
//! - **SB3** *A ticket looks after it has left.* It counts itself out, passes a full fence, and
//!   looks at all boards again. If one holds a scope, it counts itself in again and goes on, unless
//!   there are as many tickets as there may be without it.
//! - **SB4** *While a board holds a scope and a worker has nothing to run, a ticket is queued, or
//!   is being run and will look at the boards without finishing a job first.* The proof:
//!   1. The thread that hung the scope up read `tickets` behind a full fence. If there could be one
//!      more ticket, there is one more, and it is queued. Else the thread read that all are out.
//!   2. A ticket inside a job is on a worker that is not idle, and it is not on the worker that
//!      opened the outermost scope, whose jobs run elsewhere. So at most all workers less two hold
//!      tickets inside jobs, and at least one of the tickets that were read is queued or is
//!      looking.
//!   3. If that ticket finds nothing, it counts itself out after that read, and by the fences (TB1,
//!      TB2) it then sees the scope (SB3).
//!   4. If it cannot count itself in any more, it has in turn read, behind a full fence, that all
//!      are out, and the same holds again. A ticket counts itself out once for each time it was
//!      counted in, so this ends with a ticket that goes on.
//! - **SB5** A queued ticket is a task like any other, which a worker runs before it would sleep.
//!   With the tickets that look (SB4), a job waits only while every worker has something to run.
//!
//! # Orderings
//! | label | operation                                          | partner | publishes    |
//! |-------|----------------------------------------------------|---------|--------------|
//! | TB1   | spawn: the board's count; fence SeqCst; `tickets`  | TB2     | the scope    |
//! | TB2   | ticket leaves: `tickets`; fence SeqCst; the counts | TB1     | that it left |
//!
//! Of the two, one sees the other. What a scope holds is published by the board's lock and the
//! list's.
//!
//! # Why not …
//! - *Tickets of each scope, as many as workers less one:* they outlive the scope in the queue of a
//!   worker that is busy elsewhere, half a kilobyte each, and a task that opens scope after scope
//!   piles them up without bound.
//! - *One board for all workers:* all of them would take its lock twice for each scope.
//! - *A ticket that waits for more jobs before it leaves:* it would hold a worker that has other
//!   tasks.

use core::fmt;
use core::ptr::NonNull;
use std::collections::VecDeque;

use stealyard_sync::atomic::{AtomicUsize, Ordering, fence};
use stealyard_sync::{Arc, CachePadded, Mutex, unpoisoned};

use super::super::JoinHost;
use super::super::join_stack::{self, JoinStack};
use super::{Scope, ScopeState};
use crate::task::{StackJob, Task};

/// How many jobs a ticket runs before it goes to the back of its worker's queue.
const JOBS_PER_TURN: u32 = 32;

/// The boards of a host, one for each worker: where its scopes show their jobs.
pub struct Boards {
    /// Tickets that are queued or being run (SB2).
    tickets: CachePadded<AtomicUsize>,
    boards: Box<[CachePadded<Board>]>,
}

/// The scopes that one worker opened and whose lists hold jobs (SB1). No code of the user's runs
/// under the lock.
#[derive(Default)]
struct Board {
    scopes: Mutex<VecDeque<Arc<ScopeState>>>,
    /// The number of scopes; written under the lock.
    count: AtomicUsize,
}

/// A task that runs jobs of scopes; the first field makes it one.
#[repr(C)]
struct Ticket {
    job: StackJob,
    boards: Arc<Boards>,
}

impl Boards {
    /// Makes empty boards for so many workers.
    pub fn new(workers: usize) -> Self {
        Self {
            tickets: CachePadded::new(AtomicUsize::new(0)),
            boards: (0..workers).map(|_| CachePadded::default()).collect(),
        }
    }

    /// Whether there is a worker, besides the one that opens a scope, that would look at the
    /// boards.
    pub(super) fn are_of_use(&self) -> bool {
        self.tickets_max() > 0
    }

    /// Returns how many tickets there may be (SB2).
    fn tickets_max(&self) -> usize {
        self.boards.len().saturating_sub(1)
    }

    /// Hangs a scope up, whose list has its first job. The caller holds the list's lock (SB1).
    pub(super) fn hang(&self, worker: usize, scope: Arc<ScopeState>) {
        let board = &self.boards[worker];
        let mut scopes = unpoisoned::lock(&board.scopes);
        scopes.push_back(scope);
        // Ordering: Relaxed; a thread that must see it passes a fence (TB1).
        board.count.store(scopes.len(), Ordering::Relaxed);
    }

    /// Takes a scope off, whose list is empty. The caller holds the list's lock (SB1).
    pub(super) fn remove(&self, worker: usize, scope: &ScopeState) {
        let board = &self.boards[worker];
        let mut scopes = unpoisoned::lock(&board.scopes);
        // A scope that is emptied by its opener is usually the newest.
        let at = scopes
            .iter()
            .rposition(|other| core::ptr::eq(&raw const **other, scope));
        debug_assert!(at.is_some(), "SB1: a scope with jobs hangs on its board");
        let gone = at.and_then(|at| scopes.remove(at));
        // Ordering: Relaxed; a count that is too high costs a look.
        board.count.store(scopes.len(), Ordering::Relaxed);
        drop(scopes);
        drop(gone);
    }

    /// Returns the next scope whose jobs a worker should run. The scopes of a board take turns.
    fn next(&self, own: usize) -> Option<Arc<ScopeState>> {
        let (before, from) = self.boards.split_at(own.min(self.boards.len()));
        from.iter().chain(before).find_map(|board| {
            // Ordering: Relaxed; a ticket that finds nothing looks again behind a fence (SB3).
            if board.count.load(Ordering::Relaxed) == 0 {
                return None;
            }
            let mut scopes = unpoisoned::lock(&board.scopes);
            let turn = scopes.len().min(1);
            scopes.rotate_left(turn);
            scopes.back().cloned()
        })
    }

    /// Returns the ticket to be queued for a job that was spawned, if there is to be one more. The
    /// caller has passed a full fence since it hung the scope up (TB1).
    pub(super) fn issue(boards: &Arc<Self>) -> Option<Task> {
        boards.count_in().then(|| Ticket::task(Arc::clone(boards)))
    }

    /// Counts one more ticket in, if there may be one (SB2).
    fn count_in(&self) -> bool {
        let max = self.tickets_max();
        // Ordering: Relaxed on both; the callers have passed a fence (TB1, SB3).
        self.tickets
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tickets| {
                (tickets < max).then_some(tickets + 1)
            })
            .is_ok()
    }

    /// Counts a ticket out that found nothing. Returns true if it is gone, and false if it is to
    /// look again (SB3).
    fn leave(&self) -> bool {
        // Ordering: Relaxed; the fence orders it (TB2).
        self.tickets.fetch_sub(1, Ordering::Relaxed);
        // Ordering: SeqCst (TB2); partner TB1.
        fence(Ordering::SeqCst);
        // Ordering: Relaxed; the fence orders it (TB2).
        let is_bare = |board: &CachePadded<Board>| board.count.load(Ordering::Relaxed) == 0;
        self.boards.iter().all(is_bare) || !self.count_in()
    }
}

impl Ticket {
    fn task(boards: Arc<Boards>) -> Task {
        let job = StackJob {
            execute: Self::execute,
        };
        Self::into_task(Box::new(Self { job, boards }))
    }

    fn into_task(ticket: Box<Self>) -> Task {
        let ticket = NonNull::from(Box::leak(ticket)).cast::<StackJob>();
        // SAFETY: 1. on the heap until it was executed; 2. this is its only `Task`; 3. jobs of
        // scopes catch their panics, and a host does not unwind.
        unsafe { Task::from_job(ticket) }
    }

    /// Runs jobs of scopes; see [`StackJob::execute`]. A ticket that is cancelled, because its
    /// executor ends, does so as well: the scopes that are open wait for their jobs.
    unsafe fn execute(job: NonNull<StackJob>) {
        // SAFETY: 1. leaked in `into_task`, and this is its only use.
        let ticket = unsafe { Box::from_raw(job.cast::<Self>().as_ptr()) };
        // SAFETY: 1. used in this call only.
        let host = unsafe { join_stack::current() }.and_then(JoinStack::host);
        let host = host.filter(|host| Arc::ptr_eq(host.boards(), &ticket.boards));
        let own = host.map_or(0, JoinHost::index);
        let mut left = JOBS_PER_TURN;
        loop {
            let Some(scope) = ticket.boards.next(own) else {
                if ticket.boards.leave() {
                    return;
                }
                continue;
            };
            let scope = Scope::of(scope);
            while left > 0 && scope.run_one() {
                left -= 1;
            }
            if left == 0 {
                if let Some(host) = host {
                    drop(scope);
                    host.push(Self::into_task(ticket));
                    return;
                }
                left = JOBS_PER_TURN;
            }
        }
    }
}

impl fmt::Debug for Boards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Ordering: Relaxed; for show.
        let tickets = self.tickets.load(Ordering::Relaxed);
        f.debug_struct("Boards")
            .field("workers", &self.boards.len())
            .field("tickets", &tickets)
            .finish()
    }
}
