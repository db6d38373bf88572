//! The idle protocol: which workers search for work, which sleep, and which one to wake.
//!
//! Workers numbered `0..n` look for work in queues that this file knows nothing about. A worker
//! that finds none becomes a *searcher*. A searcher that finds none goes to sleep. A thread that
//! makes work visible *announces* it.
//!
//! The protocol is Go's:
//! - the number of searchers is bounded;
//! - an announcement wakes no worker while there is a searcher;
//! - the last searcher to find work wakes the next one;
//! - the thread that brings the number of searchers to zero looks again afterwards.
//!
//! Three things differ:
//! - The store–load barrier that Go gets for free on amd64 is spelled out. The side that parks pays
//!   for it (with `membarrier`, where that is available), so that an announcement costs one load
//!   while no worker sleeps.
//! - The idle set is a bitmask, not a list under a lock.
//! - The last searcher to find work may look whether there is more before it wakes another worker.
//!
//! # Operations
//! RMW is a read-modify-write. A *word* holds the bits of 64 workers.
//!
//! | operation                    | caller     | progress  | cost                               |
//! |------------------------------|------------|-----------|------------------------------------|
//! | `announce`, no sleeper       | any thread | wait-free | light fence, a load per word       |
//! | `announce`, enough searchers | any thread | wait-free | the same, a full fence, a load     |
//! | `announce`, wakes a worker   | any thread | lock-free | per worker: two RMWs, the wake     |
//! | `Active::search`             | the worker | lock-free | a load per word, one RMW           |
//! | `Searching::found`           | the worker | lock-free | one RMW; last: an `announce`       |
//! | `Searching::found_with`      | the worker | lock-free | as `found`; last: a fence          |
//! | `park`, `recheck`            | the worker | lock-free | three RMWs; last: a heavy fence    |
//! | `Sleeping::sleep`            | the worker | blocking  | one RMW, and the caller's `block`  |
//!
//! "Last" is what the last searcher pays in addition:
//! - `found_with` passes a full fence, or a heavy one if another worker relied on this searcher
//!   when it parked (I6);
//! - `recheck` passes a heavy fence and calls the caller's look. A worker that parks without having
//!   searched, and sees no searcher, does so too (I4).
//!
//! # Layout
//! ```text
//! searching   the number of workers that search, or have been woken to search and do not run yet;
//!             in its top bit the reliance bit (I6)
//! sleepers    a bit for each worker that sleeps and that no thread has claimed (`sleepers.rs`)
//!
//!            search           found                      each arrow consumes one token
//!   Active ────────▶ Searching ────▶ Active              and gives the next
//!     │ park             │ park
//!     └────────┬─────────┘
//!              ▼        recheck: work              sleep: woken to search
//!           Parking ───────────────────▶ Active ┌─────────────────────────▶ Searching
//!              │ recheck: nothing               │  sleep: any other reason
//!              └────────────────────▶ Sleeping ─┴─────────────────────────▶ Active
//! ```
//!
//! # Invariants
//! - **I1** `searching` counts exactly the `Searching` tokens, the claimed workers that do not run
//!   yet, and the wakers between counting and claiming. Only read-modify-writes change it.
//! - **I2** A worker falls asleep in three steps:
//!   1. it sets its bit (PB);
//!   2. it steps on `searching` (PZ): minus one if it searched, minus zero if not, in any case a
//!      write;
//!   3. only then may it sleep.
//!
//!   Another thread that clears the bit has claimed the worker, and has counted it in `searching`
//!   before (S1 of `sleepers.rs`, I1).
//! - **I3** *The duty of the last searcher.* A thread that brings `searching` to zero, in whatever
//!   way, has a duty that it fulfils before it sleeps or runs a task:
//!   - having found work, or no sleeper to claim, it looks at `sleepers` and wakes one, unless it
//!     passes the fence that I6 names and then finds that no work is left;
//!   - parking, it passes a heavy fence and looks at every queue.
//! - **I4** A worker that parks and finds `searching` at zero, although it did not bring it there,
//!   passes a heavy fence and looks at every queue as well.
//! - **I5** *No work waits beside a sleeper.* While work exists, at least one of these holds:
//!   - a worker searches;
//!   - no worker sleeps;
//!   - a thread is between bringing `searching` to zero and the end of its duty (I3);
//!   - a thread has not ended its announcement yet.
//! - **I6** *The reliance bit.* A worker that parks while others search leaves the look at the
//!   queues to them, and sets the reliance bit in the same step (PZ). The bit stays until a
//!   searcher brings the number to zero and then looks behind a heavy fence. That is either a
//!   worker that parks, or a searcher that has found work and learns in that step that the bit was
//!   set (`found_with`). If `found_with` brings the number to zero and the bit was not set, a full
//!   fence is enough.
//! - **I7** *Reliance is bounded.* Of one worker's announcements, and of all those from outside,
//!   take those that wake no worker though some sleep, because enough others search. The
//!   [`RELIANCE_MAX`]th of them in a row, within which `searching` did not come to zero, wakes one
//!   worker all the same.
//!
//! An announcement ends in one of three ways:
//! - **A1** it wakes a worker;
//! - **A2** it sees enough searchers;
//! - **A3** it sees no sleeper.
//!
//! Why I5 holds in each of them is proved at the end of this page (`idle/proof.md`).
//!
//! # Orderings
//! | label | operation                                     | partner  | publishes           |
//! |-------|-----------------------------------------------|----------|---------------------|
//! | IO1   | PZ: steps on `searching`, Release             | IO2, IO3 | the worker's bit    |
//! | IO2   | PZ: the same step, Acquire                    | IO1      | –                   |
//! | IO3   | found, gave up, woke none: minus one, Acquire | IO1      | –                   |
//! | IO4   | `announce`: light fence after the push        | IO5, IO6 | the pushed item     |
//! | IO5   | `recheck`: heavy fence between PZ and look    | IO4      | PB, bits seen (IO2) |
//! | IO6   | `found_with`, bit was set: heavy fence        | IO4      | –                   |
//! | IO7   | `join`: takes the number, Acquire             | IO8      | –                   |
//! | IO8   | dropped token: frees the number, Release      | IO7      | what its holder did |
//! | IO9   | `announce` beside a sleeper: full fence       | IO10     | the pushed item     |
//! | IO10  | `found_with`, bit was not set: full fence     | IO9      | –                   |
//!
//! - IO4 lies between the push and the load of `sleepers`.
//! - IO5 publishes, beside the worker's own bit (PB), all bits that IO2 showed to it.
//! - IO6 and IO10 come before the look for more.
//! - IO9 comes before the announcer reads `searching` to rely on a searcher.
//!
//! # What the caller owes
//! The look at the queues (PL) must cover every place where an announced item can be. An item in a
//! place that it does not cover is announced in vain. Items that only their owner can take need no
//! announcement.
//!
//! # Foreign code
//! No lock is held while the caller's code runs, so all of it may use the protocol.
//!
//! - [`WakeOrder::choose`] runs in announcements, in `found` and in a dropped token. It may see one
//!   searcher more, counted for the worker that is being chosen. After a panic any sleeper is
//!   taken.
//! - [`Wake::wake`] runs in the same places and in `wake_worker`. It may see the worker claimed and
//!   counted. After a panic the next sleeper is woken as well. The worker that may not have been
//!   woken counts as a searcher until it runs.
//! - `look` and `more` run in `recheck`, `recheck_with` and `found_with`. They may see the worker
//!   between two steps. A panic drops the token, which passes its duty on.
//! - `block` runs in `Sleeping::sleep`, and is treated like `look`.
//!
//! A panic goes on when everything is in order; that of a waker or of a policy goes to the
//! announcer. It is still a fault of theirs: if the announcer is unwinding already, it ends the
//! process.
//!
//! # Tokens that are forgotten
//! A token that is leaked (`mem::forget`, a cycle of `Arc`s) is a worker that stays where it was
//! for good. Nothing can tell it from a worker that is slow, so this is what it costs:
//! - *Any token*: the number stays taken, and the worker counts as joined.
//! - *Active*: nothing more; half of one more worker may search.
//! - *Searching*: one searcher too many. An announcement of n items wakes one worker less, and one
//!   of a single item none. No searcher is the last, so none wakes the next, and a worker that
//!   parks leaves its look to the lost one.
//! - *Parking*, *Sleeping*: it is woken in vain once, and then counts like a lost searcher.
//!
//! The bound on reliance (I7) keeps this from lasting. An item that waits for a lost searcher waits
//! for [`RELIANCE_MAX`] more announcements, or until any worker looks. No worker sleeps for good
//! while work goes on being announced. A worker that sleeps with a timeout bounds the wait in time.
//! Each worker counts its own announcements, so that announcers share no line that they write.
//!
//! # Why not …
//! - *A mutex around the idle set* (Go, tokio): it costs 15 to 40 ns more on every wake, and a
//!   preempted thread can hold it.
//! - *A count of sleepers beside the bitmask*, in one word with `searching`: a worker that wakes by
//!   itself could no longer leave alone.
//! - *A counter of announcements* (rayon): every announcement would write.
//! - *A heavy fence by every worker that parks*: it interrupts each running core, although only a
//!   worker that sees no searcher left needs it. The others leave the look to the last searcher.
//! - *A heavy fence by every last searcher that finds work*, instead of the reliance bit: where
//!   tasks come one by one it is paid for each, before the task runs (9 µs here).
//! - *A full fence in every announcement*, instead of the reliance bit and IO9: it costs as much as
//!   the rest of a spawn, and most announcements come when no worker sleeps.
//!
//! # References
//! The comment on worker thread parking in `runtime/proc.go` of Go 1.24; P1202R5, *Asymmetric
//! fences*.
#![doc = include_str!("idle/proof.md")]

mod announced;
mod tokens;

use core::panic::{RefUnwindSafe, UnwindSafe};

use stealyard_sync::atomic::{AtomicUsize, Ordering, fence};
use stealyard_sync::{Arc, CachePadded, MODELLED, asymmetric};

pub use announced::Announced;
pub use tokens::{Active, Parking, Recheck, Searching, Sleeping, Woken};

use crate::panics::FirstPanic;
use crate::parker::Unparker;
use crate::sleepers::Sleepers;
use crate::wake_order::{MostRecent, SleeperSet, WakeOrder};

/// Wakes one sleeping worker. How depends on the worker's way to block: most have a [`Parker`], a
/// worker that polls for I/O has an event queue.
///
/// [`Parker`]: crate::Parker
pub trait Wake: Send + Sync {
    /// Wakes the worker, or makes its next attempt to block return at once.
    ///
    /// All that the caller did before is visible to the woken worker. An implementation must not
    /// block and should not panic. After a panic another worker is woken, the panic goes on to the
    /// announcer, and the worker that may not have been woken counts as a searcher until it runs.
    fn wake(&self);
}

impl Wake for Unparker {
    fn wake(&self) {
        self.unpark();
    }
}

/// The idle protocol for a fixed number of workers; a handle, cheap to clone.
///
/// See the [module](self) for the protocol and its proof, and `examples/pool60.rs` for a thread
/// pool made of it.
#[derive(Clone)]
pub struct Idle {
    shared: Arc<IdleState>,
}

/// The number of times that the policy is asked before any sleeper is taken.
const CHOICES: usize = 2;

/// The bound on announcements in a row that wake no worker because enough others search (I7).
///
/// It counts the announcements of one worker, or all those from outside, while at no moment the
/// number of searchers is zero. The last of them wakes a worker all the same. A search takes
/// microseconds, as long as some dozens of announcements; one whose token was forgotten never ends.
pub const RELIANCE_MAX: usize = 256;

/// What all handles and tokens share.
pub(crate) struct IdleState {
    search: CachePadded<Search>,
    /// One for each worker, and the last for all threads that announce from outside.
    reliances: Box<[CachePadded<Reliance>]>,
    sleepers: Sleepers,
    /// For each worker's number whether it is taken: 0 or 1.
    taken: Box<[AtomicUsize]>,
    joined: AtomicUsize,
    wakers: Box<[Box<dyn Wake>]>,
    order: Box<dyn WakeOrder>,
}

// A panic of a user's code leaves nothing half done, and only the protocol's own words are reached
// through this type.
impl UnwindSafe for IdleState {}
impl RefUnwindSafe for IdleState {}

struct Search {
    /// The number of searchers (I1), and in the top bit the reliance bit (I6).
    searching: AtomicUsize,
    /// The number of times that `searching` came to zero (I7).
    ends: AtomicUsize,
}

/// For how many announcements in a row one announcer has relied on searchers (I7). Only that
/// announcer writes it.
#[derive(Default)]
struct Reliance {
    /// The value of `ends` when the count began.
    since: AtomicUsize,
    count: AtomicUsize,
}

impl Idle {
    /// Creates the protocol for as many workers as there are wakers, in the order of the workers'
    /// numbers. It wakes the [`MostRecent`] sleeper first.
    pub fn new<W: Wake + 'static>(wakers: impl IntoIterator<Item = W>) -> Self {
        Self::with_order(wakers, MostRecent)
    }

    /// Creates the protocol as [`new`](Self::new) does, with another order in which workers are
    /// woken.
    pub fn with_order<W: Wake + 'static>(
        wakers: impl IntoIterator<Item = W>,
        order: impl WakeOrder + 'static,
    ) -> Self {
        let wakers: Box<[Box<dyn Wake>]> = wakers
            .into_iter()
            .map(|waker| Box::new(waker) as Box<dyn Wake>)
            .collect();
        // The kind of fence is chosen here, where there is time, and not at the first announcement.
        let _ = asymmetric::mode();
        Self {
            shared: Arc::new(IdleState {
                search: CachePadded::new(Search {
                    searching: AtomicUsize::new(0),
                    ends: AtomicUsize::new(0),
                }),
                reliances: (0..=wakers.len()).map(|_| CachePadded::default()).collect(),
                sleepers: Sleepers::new(wakers.len()),
                taken: wakers.iter().map(|_| AtomicUsize::new(0)).collect(),
                joined: AtomicUsize::new(0),
                wakers,
                order: Box::new(order),
            }),
        }
    }

    /// Joins the protocol as the worker `index`, until the token (or what becomes of it) is
    /// dropped. Returns `None` if there is no such number, or if it is taken.
    #[must_use = "dropping the token leaves again"]
    pub fn join(&self, index: usize) -> Option<Active> {
        let number = self.shared.taken.get(index)?;
        // Ordering: Acquire (IO7); the next holder of a number comes after all that the last one
        // did with it. On failure Relaxed: nothing was taken.
        let taken = number.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed);
        taken.ok()?;
        // Ordering: Relaxed; only the bound on searchers reads it.
        self.shared.joined.fetch_add(1, Ordering::Relaxed);
        Some(Active::new(Arc::clone(&self.shared), index))
    }

    /// Announces that `items` items have just become visible in some queue, from outside the
    /// workers. Wakes as many sleepers as are needed for that many searchers, and returns how many
    /// it woke, with the proof that it passed a light fence.
    ///
    /// No worker is woken while there are as many searchers as items: for one item, while any
    /// worker searches. There is one exception: of [`RELIANCE_MAX`] announcements in a row between
    /// which some worker always searched, the last wakes one worker more.
    #[inline]
    pub fn announce(&self, items: usize) -> Announced {
        self.shared.announce(None, items)
    }

    /// Announces as [`announce`](Self::announce) does, on behalf of the worker `from`. A policy may
    /// wake the neighbours of that worker first.
    #[inline]
    pub fn announce_from(&self, from: usize, items: usize) -> Announced {
        self.shared.announce(Some(from), items)
    }

    /// Wakes the worker `index` for a reason other than work: to retire, to stop, to look at a
    /// timer.
    ///
    /// If the worker sleeps, it returns as [`Woken::Active`]. The call changes no count, so it may
    /// come at any time, and for a worker that does not sleep.
    pub fn wake_worker(&self, index: usize) {
        if let Some(waker) = self.shared.wakers.get(index) {
            waker.wake();
        }
    }

    /// Wakes every worker as [`wake_worker`](Self::wake_worker) does, for instance for a shutdown.
    /// Every waker is called, even if one of them panics.
    pub fn wake_all_workers(&self) {
        let mut panic = FirstPanic::default();
        for waker in &self.shared.wakers {
            panic.catch(|| waker.wake());
        }
        panic.resume();
    }

    /// Returns the number of workers that there can be.
    pub fn capacity(&self) -> usize {
        self.shared.wakers.len()
    }

    /// Returns the number of workers that have joined. A snapshot.
    pub fn joined(&self) -> usize {
        // Ordering: Relaxed; a snapshot.
        self.shared.joined.load(Ordering::Relaxed)
    }

    /// Returns the number of workers that search, or have been woken to search. A snapshot.
    pub fn searching(&self) -> usize {
        // Ordering: Relaxed; a snapshot.
        count_of(self.shared.search.searching.load(Ordering::Relaxed))
    }

    /// Returns the number of workers that sleep and have not been claimed by a waker. A snapshot.
    pub fn sleeping(&self) -> usize {
        self.shared.sleepers.count()
    }

    /// Asserts in debug builds that no work waits beside a sleeper (I5): if there is work, a worker
    /// searches or no worker sleeps.
    ///
    /// Call it only while no other operation is under way, so that the clauses on unfinished
    /// operations cannot apply: in a test, or while the caller holds up all other threads.
    ///
    /// # Panics
    /// Panics in debug builds if it does not hold.
    pub fn debug_assert_at_rest(&self, work_exists: bool) {
        debug_assert!(
            !work_exists || self.searching() > 0 || self.sleeping() == 0,
            "I5: there is work, no worker searches and one sleeps: {self:?}"
        );
    }
}

/// The reliance bit in the word of `searching` (I6).
const RELIANCE_BIT: usize = 1 << (usize::BITS - 1);

/// Returns the number of searchers in the word of `searching`.
#[inline(always)]
fn count_of(word: usize) -> usize {
    word & !RELIANCE_BIT
}

/// The searchers that remain after a thread's step on `searching`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the last searcher has a duty (I3)"]
pub(crate) enum Remaining {
    /// Others search, and the duty of the last searcher is theirs.
    Others,
    /// None: this step brought the number to zero, so the duty is this thread's.
    NoneByThisStep,
    /// None, and there was none before this step.
    NoneBefore,
}

impl IdleState {
    #[inline(always)]
    pub(crate) fn announce(&self, from: Option<usize>, items: usize) -> Announced {
        // Ordering: IO4, partner: the heavy fences of IO5 and IO6; the push comes before, the loads
        // after.
        asymmetric::light();
        if self.sleepers.is_empty() {
            return Announced::new(0);
        }
        Announced::new(self.announce_to_sleepers(from, items))
    }

    fn announce_to_sleepers(&self, from: Option<usize>, items: usize) -> usize {
        // Ordering: SeqCst (IO9), partner: the full fence of IO10. Unmodelled: in a model the light
        // fence above is a full one; the state-space test shows the harm of leaving it out.
        fence(Ordering::SeqCst);
        // Ordering: Relaxed; the fence above does what is needed (A2).
        let searching = count_of(self.search.searching.load(Ordering::Relaxed));
        if searching < items {
            return self.wake(from, items);
        }
        if items > 0 && self.relies_too_long(from) {
            return self.wake(from, searching + 1);
        }
        0
    }

    /// Counts an announcement that relies on searchers. Returns true if it is one too many (I7).
    fn relies_too_long(&self, from: Option<usize>) -> bool {
        if MODELLED {
            return false; // the bound only ever wakes one more, and would hide a lost wake
        }
        // A number that belongs to no worker counts as an announcement from outside.
        let outside = self.wakers.len();
        let own = &self.reliances[from.map_or(outside, |index| index.min(outside))];
        // Ordering: Relaxed; only compared.
        let ends = self.search.ends.load(Ordering::Relaxed);
        // Ordering: Relaxed on all that follow; when threads from outside write at the same time,
        // an announcement may go uncounted.
        let count = if own.since.load(Ordering::Relaxed) == ends {
            own.count.load(Ordering::Relaxed) + 1
        } else {
            // Ordering: Relaxed; as above.
            own.since.store(ends, Ordering::Relaxed);
            1
        };
        let too_long = count >= RELIANCE_MAX;
        // Ordering: Relaxed; as above.
        own.count
            .store(if too_long { 0 } else { count }, Ordering::Relaxed);
        too_long
    }

    /// Notes that the last searcher has come to an end, so that none of those relied on is lost
    /// (I7).
    fn all_searches_ended(&self) {
        if !MODELLED {
            // Ordering: Relaxed on both; two ends at the same time may count as one.
            let ends = self.search.ends.load(Ordering::Relaxed).wrapping_add(1);
            // Ordering: Relaxed; as above.
            self.search.ends.store(ends, Ordering::Relaxed);
        }
    }

    /// Wakes sleepers until `target` workers search, or as many have been woken, or none is left.
    /// A panic of a waker or of a policy goes on afterwards.
    #[cold]
    pub(crate) fn wake(&self, from: Option<usize>, target: usize) -> usize {
        let mut panic = FirstPanic::default();
        // The workers that were claimed and perhaps not woken.
        let mut lost = 0;
        let mut woken = 0;
        while woken < target && self.count_in(target.saturating_add(lost)) {
            if let Some(index) = self.claim(from, &mut panic) {
                match panic.catch(|| self.wakers[index].wake()) {
                    Some(()) => woken += 1,
                    None => lost += 1,
                }
                continue;
            }
            // There is no worker to claim. A searcher may have relied on our count and left: if the
            // number is zero now, look at the sleepers again, by the duty of the last searcher
            // (I3).
            if self.count_out() != Remaining::NoneByThisStep || self.sleepers.is_empty() {
                break;
            }
        }
        panic.resume();
        woken
    }

    /// Hands the duty of the last searcher on to a sleeper (I3).
    pub(crate) fn wake_next(&self, from: usize) {
        if !self.sleepers.is_empty() {
            self.wake(Some(from), 1);
        }
    }

    /// Claims the sleeper that the policy chooses, or any sleeper if the policy chooses none.
    fn claim(&self, from: Option<usize>, panic: &mut FirstPanic) -> Option<usize> {
        let set = SleeperSet {
            source: &self.sleepers,
        };
        (0..CHOICES)
            .map_while(|_| panic.catch(|| self.order.choose(from, &set)).flatten())
            .find(|&index| self.sleepers.claim(index))
            .or_else(|| self.sleepers.claim_any())
    }

    /// Counts one more searcher if fewer than `limit` are counted (I1).
    fn count_in(&self, limit: usize) -> bool {
        // Ordering: Relaxed on both; one more searcher publishes nothing, and as a
        // read-modify-write it continues the release sequences of IO1.
        self.search
            .searching
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                (count_of(word) < limit).then_some(word + 1)
            })
            .is_ok()
    }

    /// Counts one searcher less, which found work or claimed no worker (I1).
    pub(crate) fn count_out(&self) -> Remaining {
        // Ordering: Acquire (IO3); the bits of all workers that parked before are visible after.
        let before = self.search.searching.fetch_sub(1, Ordering::Acquire);
        debug_assert!(count_of(before) > 0, "I1: more searchers leave than came");
        if count_of(before) == 1 {
            self.all_searches_ended();
            Remaining::NoneByThisStep
        } else {
            Remaining::Others
        }
    }

    /// Counts one searcher less as [`count_out`](Self::count_out) does, for a searcher that will
    /// look whether there is more. The last one takes the reliance bit (I6), and the flag tells
    /// whether it was set.
    pub(crate) fn count_out_to_look(&self) -> (Remaining, bool) {
        let step = |word| {
            let after = word - 1;
            Some(if count_of(after) == 0 { 0 } else { after })
        };
        // Ordering: Acquire (IO3) as in `count_out`; Relaxed on failure, nothing is done then.
        let before = self
            .search
            .searching
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, step);
        let before = before.unwrap_or_else(|word| word);
        debug_assert!(count_of(before) > 0, "I1: more searchers leave than came");
        if count_of(before) == 1 {
            self.all_searches_ended();
            (Remaining::NoneByThisStep, before & RELIANCE_BIT != 0)
        } else {
            (Remaining::Others, false)
        }
    }

    /// Counts the worker as a searcher unless half of the workers awake already search (Go's
    /// bound).
    pub(crate) fn try_search(&self) -> bool {
        // Ordering: Relaxed; a bound, not a promise.
        let joined = self.joined.load(Ordering::Relaxed);
        let awake = joined.saturating_sub(self.sleepers.count());
        self.count_in(awake.div_ceil(2))
    }

    /// Marks the worker as asleep, by PB and PZ (I2). `searched` tells whether it is counted as a
    /// searcher.
    pub(crate) fn enter(&self, index: usize, searched: bool) -> Remaining {
        self.sleepers.enter(index);
        let step = |word| {
            let after = word - usize::from(searched);
            Some(match (count_of(after), searched) {
                (0, true) => 0,
                (0, false) => after,
                _ => after | RELIANCE_BIT,
            })
        };
        // Ordering: AcqRel; Release (IO1): a thread that acquires this or a later number sees our
        // bit. Acquire (IO2): if the number is zero now, we see the bits of all workers that left
        // the look to us. Relaxed on failure: nothing is done then.
        let before = self
            .search
            .searching
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, step);
        let before = count_of(before.unwrap_or_else(|word| word));
        debug_assert!(
            before >= usize::from(searched),
            "I1: more searchers park than came"
        );
        match (before - usize::from(searched), searched) {
            (0, true) => {
                self.all_searches_ended();
                Remaining::NoneByThisStep
            }
            (0, false) => Remaining::NoneBefore,
            _ => Remaining::Others,
        }
    }

    /// Takes the worker's own bit back. Returns false if a waker has claimed the worker, and so
    /// counted it as a searcher.
    pub(crate) fn withdraw(&self, index: usize) -> bool {
        self.sleepers.leave(index)
    }

    /// Leaves the protocol and frees the worker's number.
    pub(crate) fn leave(&self, index: usize) {
        // Ordering: Relaxed; only the bound on searchers reads it.
        self.joined.fetch_sub(1, Ordering::Relaxed);
        // Ordering: Release (IO8); what we did with the number is visible to its next holder.
        self.taken[index].store(0, Ordering::Release);
    }
}

impl core::fmt::Debug for Idle {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Idle")
            .field("searching", &self.searching())
            .field("sleeping", &self.sleeping())
            .field("joined", &self.joined())
            .field("capacity", &self.capacity())
            .finish()
    }
}
