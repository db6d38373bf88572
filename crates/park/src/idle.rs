//! Who searches for work, who sleeps, and whom to wake: the idle protocol.
//!
//! Workers numbered `0..n` look for work in queues that this file knows nothing about. A worker that
//! finds none becomes a *searcher*, and if that fails, goes to sleep. Whoever makes work visible
//! *announces* it. The protocol is Go's: a bounded number of searchers; nobody is woken while there is
//! a searcher; the last searcher to find work wakes the next; whoever brings the number of searchers
//! to zero looks again afterwards. What differs: the store–load barrier that Go gets for free on amd64
//! is spelled out and paid by the side that parks (`membarrier`, where it is to be had), so that an
//! announcement costs a load while nobody sleeps; the idle set is a bitmask and not a list under a lock; and the last
//! searcher to find work may look whether there is more before it wakes anybody.
//!
//! # Operations
//! | operation                  | caller          | progress  | cost                                     |
//! |----------------------------|-----------------|-----------|------------------------------------------|
//! | `announce`, nobody sleeps  | anyone          | wait-free | light fence, a load per 64 workers       |
//! | `announce`, enough search  | anyone          | wait-free | the same, a full fence and a load        |
//! | `announce`, somebody woken | anyone          | lock-free | two read-modify-writes and the wake, each |
//! | `Active::search`           | the worker      | lock-free | a load per 64 workers, a read-modify-write |
//! | `Searching::found`         | the worker      | lock-free | a read-modify-write; for the last searcher an `announce` |
//! | `Searching::found_with`    | the worker      | lock-free | as `found`, and for the last searcher a full fence, or a heavy one if another relied on it when it parked |
//! | `park`, `recheck`          | the worker      | lock-free | three read-modify-writes; if no searcher is left, a heavy fence and the look |
//! | `Sleeping::sleep`          | the worker      | blocking  | the caller's way to block, a read-modify-write |
//!
//! # Layout
//! ```text
//! searching   how many workers search, or have been woken to search and do not run yet; and the mark (I6)
//! sleepers    a bit for each worker that sleeps and that nobody has claimed (`sleepers.rs`)
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
//! - **I1** `searching` counts exactly the `Searching` tokens, the claimed workers that do not run yet,
//!   and the wakers between counting and claiming. It is changed by read-modify-writes only.
//! - **I2** A worker sets its bit (PB), then steps on `searching` (PZ: minus one if it searched, minus
//!   zero if not, in any case a write), and only then may sleep. Whoever clears the bit has claimed it
//!   and has counted it in `searching` before (S1, I1).
//! - **I3** Whoever brings `searching` to zero, in whatever way, has a *duty* that it fulfils before it
//!   sleeps or runs a task: having found work or no sleeper, it looks at `sleepers` and wakes one (or
//!   passes a fence, which I6 names, and finds that no work is left); parking, it passes a heavy fence and
//!   looks at every queue.
//! - **I4** A worker that parks and finds `searching` at zero though it did not bring it there passes a
//!   heavy fence and looks at every queue as well.
//! - **I6** *The mark.* A worker that parks and leaves the look to a searcher sets the mark, in the same step
//!   (PZ). It stays until somebody brings `searching` to zero who then passes a heavy fence and looks: by
//!   parking, or having found work, which that step tells by taking the mark. Who brings it to zero, has
//!   found work and takes no mark passes a full fence instead.
//! - **I5** *Work exists ⇒ somebody searches, or nobody sleeps, or a thread is between bringing
//!   `searching` to zero and the end of its duty, or before its announcement has ended.*
//!
//! # Orderings
//! | label | operation                                             | partner  | publishes               |
//! |-------|-------------------------------------------------------|----------|-------------------------|
//! | IO1   | PZ: parking steps on `searching`, Release             | IO2, IO3 | its bit in `sleepers`   |
//! | IO2   | PZ as well, Acquire                                   | IO1      | –                       |
//! | IO3   | found, gave up, or woke nobody: minus one, Acquire    | IO1      | –                       |
//! | IO4   | `announce`: light fence between push and loads        | IO5, IO6 | the pushed item         |
//! | IO5   | heavy fence between PZ and the look at the queues     | IO4      | PB, and all bits that IO2 showed |
//! | IO6   | `found_with`, the mark taken: heavy fence before it looks for more | IO4 | –             |
//! | IO7   | `join`: takes the number, Acquire                     | IO8      | –                       |
//! | IO8   | a token is dropped: frees the number, Release         | IO7      | what its holder did     |
//! | IO9   | `announce`, somebody sleeps: full fence before it relies on a searcher | IO10 | the pushed item |
//! | IO10  | `found_with`, no mark: full fence before it looks for more | IO9 | –                      |
//!
//! # Why I5 holds
//! The events of one announcement by B and of one parking by W:
//! ```text
//!   B: Push    the item x becomes visible in a queue
//!      AL      light fence                              (IO4)
//!      AB      reads sleepers; done if there is none
//!      AF      full fence                               (IO9)
//!      AC      reads searching; done if enough search, else it counts one in and claims it
//!   W: PB      sets its bit
//!      PZ      steps on searching, marks it if others search   (IO1, IO2, I6)
//!      PH      heavy fence, if searching is zero now    (IO5)
//!      PL      looks at every queue, if PH
//! ```
//! All writes of `searching` are read-modify-writes, so they have one order, and each continues the
//! release sequence of every earlier one. Let `p` be the place in that order of the last value that B read
//! or wrote, if it did, and let Z stand for any write that brings `searching` to zero, R for its thread.
//!
//! *Lemma 1.* R sees, after Z, the bit of every sleeper whose PZ is before Z: Z acquires (IO2, IO3)
//! from a write in the release sequence of that PZ (IO1).
//!
//! *Lemma 2.* If a heavy fence H comes after a write of `searching` that is after `p`, then a look that
//! comes after H sees x, unless it has been taken: were H before AL in the order of fences, that write
//! would be visible to B, which read an older value. So AL is before H, and the push is visible. The same
//! holds of a full fence F instead of H if B has passed AF: were F before AF, that write would be visible
//! to AC. And whoever is woken, directly or by others, by a thread that could see x after its fence can
//! see x as well.
//!
//! *The duty.* Let R bring `searching` to zero by a Z after `p`, while x is in a queue and has been
//! announced. R *parks*: PL finds x or another item (Lemma 2); with an item in hand it wakes a sleeper
//! if any work may be left. R *has found work, or claimed nobody*, and wakes without a look: it sees the bits
//! that were set before Z (Lemma 1) and wakes a sleeper, unless somebody else has counted itself in since,
//! or nobody sleeps; and who sleeps later has its PZ after Z, hence after `p`, and looks itself or leaves
//! it to a later Z. R *looks whether there is more*: if its fence shows it x, it wakes as before. In each
//! case there is again a searcher, with a place after `p`, so that the next Z is after `p` too, or nobody
//! sleeps. Each link of this chain takes an item or ends in somebody that finds x; so x is found once
//! items stop being put before it. What is left to show is that the fence of an R that looks shows it x.
//!
//! B ends its announcement in one of three ways.
//! - **A1** *It wakes a worker.* That one is counted in `searching` before it is claimed, at `p` or after.
//!   B has passed AF, so any fence shows x (Lemma 2).
//! - **A2** *AC read enough searchers.* Then the next Z is after `p`; until then I5 holds by its first clause,
//!   and from there by the duty. B has passed AF, so any fence shows x.
//! - **A3** *AB saw no sleeper.* B has not passed AF, so only a heavy fence shows x for certain. Take any W
//!   that sleeps, unclaimed, without having seen x. If it passed PH: PH before AL would have shown its bit
//!   to AB, so AL is before PH and PL would have seen x. So it left the look to a searcher, and set the mark
//!   at PZ (I6). From then on somebody searches, or an R that found work and saw W's bit (Lemma 1) wakes
//!   somebody without a look, until an R takes the mark with a Z after PZ, and passes a heavy fence H. R
//!   has seen W's bit (Lemma 1), so H before AL would have shown it to AB; so AL is before H, and R sees x.
//!
//! # What the caller owes
//! The look at the queues (PL) must cover every place where an announced item can be; an item in a
//! place that it does not look at is announced to nobody. Items that only their owner can take need no
//! announcement.
//!
//! # Foreign code
//! | what runs                    | in                                   | what it may see, and what its panic does      |
//! |------------------------------|--------------------------------------|-----------------------------------------------|
//! | [`WakeOrder::choose`]        | announcements, `found`, a dropped token | one searcher more, counted for the worker that is being chosen. After a panic any sleeper is taken |
//! | [`Wake::wake`]               | the same, and `nudge`                | the worker claimed and counted. After a panic the next sleeper is woken as well; the one that may not have been woken counts as a searcher until it runs |
//! | `look`, `more`               | `recheck`, `recheck_with`, `found_with` | the worker in its place between two steps. A panic drops the token, which passes its duty on |
//! | `block`                      | `Sleeping::sleep`                    | the same                                      |
//!
//! All of it may use the protocol: nothing is locked. A panic goes on when everything is in order; that of a waker or a
//! policy to the announcer. It is still a fault of theirs: if the announcer is unwinding already, it
//! ends the process.
//!
//! # Tokens that are forgotten
//! A token that is leaked (`mem::forget`, a cycle of `Arc`s) is a worker that stays where it was for good. Nothing
//! can tell it from one that is slow, so this is what it costs:
//! - *Any token*: the number stays taken, and the worker counts as joined.
//! - *Active*: nothing more; half of one more may search.
//! - *Searching*: one searcher too many, so an announcement of n items wakes one worker less, and one of a single item
//!   none; no searcher is the last, so none wakes the next, and a worker that parks leaves its look to the lost one.
//! - *Parking*, *Sleeping*: it is woken in vain once, and then counts like a lost searcher.
//!
//! What keeps this from lasting is a bound (I7).
//! - **I7** Of one worker's announcements, and of all from outside, that wake no worker though some sleep, because
//!   enough others search, the [`RELIANCE_MAX`]th in a row within which `searching` did not come to zero wakes one
//!   all the same. So an item that waits for a lost searcher waits for so many more announcements, or until any
//!   worker looks; none sleeps for good while work goes on being announced. A worker that sleeps with a timeout
//!   bounds it in time. Each worker counts for itself, so that those who announce share no line that they write.
//!
//! # Why not …
//! A mutex around the idle set (Go, tokio): 15 to 40 ns more on every wake and a lock that a preempted
//! thread can hold. A count of sleepers beside the bitmask, in one word with `searching`: a worker that
//! wakes by itself could no longer leave alone. A counter of announcements (rayon): every announcement
//! would write. A heavy fence by everyone who parks: an interrupt for each running core, although only
//! those who see no searcher left need it; the others leave the look to him. A heavy fence by every last
//! searcher that finds work, instead of the mark: where tasks come one by one it is paid for each, 9 µs
//! here, before the task runs. A full fence in every announcement, instead of the mark and IO9: what it
//! costs is as much as the rest of a spawn, and most announcements come when nobody sleeps.
//!
//! # References
//! The comment on worker thread parking in `runtime/proc.go` of Go 1.24; P1202R5, *Asymmetric fences*.

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

/// Wakes one sleeping worker. The worker's own way to block decides what that is: a [`Parker`] for
/// most, an event queue for one that polls for I/O.
///
/// [`Parker`]: crate::Parker
pub trait Wake: Send + Sync {
    /// Wakes the worker, or makes its next attempt to block return at once. Must not block, and should not panic:
    /// another worker is woken then, the panic goes on to the announcer, and the worker that may not have
    /// been woken counts as a searcher until it runs. What the caller did before is visible to the woken worker.
    fn wake(&self);
}

impl Wake for Unparker {
    fn wake(&self) {
        self.unpark();
    }
}

/// The idle protocol for a fixed number of workers; a handle, cheap to clone.
///
/// See the [module](self) for the protocol and its proof, and `examples/pool60.rs` for a thread pool
/// made of it.
#[derive(Clone)]
pub struct Idle {
    shared: Arc<Shared>,
}

/// How often the policy is asked before any sleeper will do.
const CHOICES: usize = 2;

/// The most announcements in a row, by one worker or from outside, that wake no worker because enough others search,
/// without a moment in which none does: the last of them wakes one all the same (I7). A search takes microseconds, as long as some dozens of
/// announcements; one whose token was forgotten never ends.
pub const RELIANCE_MAX: usize = 256;

pub(crate) struct Shared {
    search: CachePadded<Search>,
    /// For each worker, and last for all that announce from outside.
    reliances: Box<[CachePadded<Reliance>]>,
    sleepers: Sleepers,
    /// Whether the worker's number is taken.
    seats: Box<[AtomicUsize]>,
    joined: AtomicUsize,
    wakers: Box<[Box<dyn Wake>]>,
    order: Box<dyn WakeOrder>,
}

// A panic of a user's code leaves nothing half done, and only the protocol's own words are reached through it.
impl UnwindSafe for Shared {}
impl RefUnwindSafe for Shared {}

struct Search {
    /// How many search, and the mark (I1, I6).
    searching: AtomicUsize,
    /// How often `searching` came to zero (I7).
    ends: AtomicUsize,
}

/// How long one announcer has relied on searchers (I7). Written by that announcer.
#[derive(Default)]
struct Reliance {
    /// `ends`, when it began to count.
    since: AtomicUsize,
    count: AtomicUsize,
}

impl Idle {
    /// For one worker a waker, in the order of their numbers; wakes the [`MostRecent`] sleeper first.
    pub fn new<W: Wake + 'static>(wakers: impl IntoIterator<Item = W>) -> Self {
        Self::with_order(wakers, MostRecent)
    }

    /// As [`new`](Self::new), with another order of waking.
    pub fn with_order<W: Wake + 'static>(
        wakers: impl IntoIterator<Item = W>,
        order: impl WakeOrder + 'static,
    ) -> Self {
        let wakers: Box<[Box<dyn Wake>]> = wakers
            .into_iter()
            .map(|waker| Box::new(waker) as Box<dyn Wake>)
            .collect();
        let _decided_now_rather_than_in_a_hurry = asymmetric::mode();
        Self {
            shared: Arc::new(Shared {
                search: CachePadded::new(Search {
                    searching: AtomicUsize::new(0),
                    ends: AtomicUsize::new(0),
                }),
                reliances: (0..=wakers.len()).map(|_| CachePadded::default()).collect(),
                sleepers: Sleepers::new(wakers.len()),
                seats: wakers.iter().map(|_| AtomicUsize::new(0)).collect(),
                joined: AtomicUsize::new(0),
                wakers,
                order: Box::new(order),
            }),
        }
    }

    /// Takes part as the worker `index`, until the token (or what becomes of it) is dropped. None if
    /// there is no such number, or somebody has it.
    #[must_use = "dropping the token leaves again"]
    pub fn join(&self, index: usize) -> Option<Active> {
        let seat = self.shared.seats.get(index)?;
        // Ordering: Acquire (IO7); the next holder of a number comes after all that the last one did
        // with it. On failure Relaxed: nothing was taken.
        let taken = seat.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed);
        taken.ok()?;
        // Ordering: Relaxed; only the bound on searchers reads it.
        self.shared.joined.fetch_add(1, Ordering::Relaxed);
        Some(Active::new(Arc::clone(&self.shared), index))
    }

    /// Says that `items` items have just become visible in some queue, from outside the workers.
    /// Wakes as many sleepers as are needed for that many searchers, and returns how many it woke,
    /// with the proof that it passed a light fence.
    ///
    /// Nobody is woken while there are as many searchers as items: for one item, while anyone searches. But of
    /// [`RELIANCE_MAX`] announcements in a row between which some worker always searched, the last wakes one more.
    #[inline]
    pub fn announce(&self, items: usize) -> Announced {
        self.shared.announce(None, items)
    }

    /// As [`announce`](Self::announce), by the worker `from`: a policy may wake its neighbours first.
    #[inline]
    pub fn announce_from(&self, from: usize, items: usize) -> Announced {
        self.shared.announce(Some(from), items)
    }

    /// Wakes the worker `index` for a reason other than work (to retire, to stop, to look at a timer):
    /// if it sleeps, it returns as [`Woken::Active`]. No book-keeping changes, so it may be called at
    /// any time and in vain.
    pub fn nudge(&self, index: usize) {
        if let Some(waker) = self.shared.wakers.get(index) {
            waker.wake();
        }
    }

    /// [`nudge`](Self::nudge) for every worker: for a shutdown. A waker that panics keeps none of the others from
    /// being called.
    pub fn nudge_all(&self) {
        let mut panic = FirstPanic::default();
        for waker in &self.shared.wakers {
            panic.catch(|| waker.wake());
        }
        panic.resume();
    }

    /// How many workers there can be.
    pub fn capacity(&self) -> usize {
        self.shared.wakers.len()
    }

    /// How many workers have joined. A snapshot, as the next two.
    pub fn joined(&self) -> usize {
        // Ordering: Relaxed; a snapshot.
        self.shared.joined.load(Ordering::Relaxed)
    }

    /// How many search, or have been woken to search.
    pub fn searching(&self) -> usize {
        // Ordering: Relaxed; a snapshot.
        count_of(self.shared.search.searching.load(Ordering::Relaxed))
    }

    /// How many sleep and have not been claimed by a waker.
    pub fn sleeping(&self) -> usize {
        self.shared.sleepers.count()
    }

    /// Asserts I5 in debug builds: if there is work, somebody searches or nobody sleeps. Only for a
    /// moment when no other operation is under way, when the clauses on unfinished operations cannot
    /// apply: in a test, or while the caller holds up everyone else.
    ///
    /// # Panics
    /// In debug builds, if it does not hold.
    pub fn debug_assert_at_rest(&self, work_exists: bool) {
        debug_assert!(
            !work_exists || self.searching() > 0 || self.sleeping() == 0,
            "I5: there is work, nobody searches and somebody sleeps: {self:?}"
        );
    }
}

/// The mark in the word of `searching` (I6).
const RELIED: usize = 1 << (usize::BITS - 1);

/// The number in the word of `searching`.
#[inline(always)]
fn count_of(word: usize) -> usize {
    word & !RELIED
}

/// What a step down of `searching` left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the last searcher has a duty (I3)"]
pub(crate) enum Left {
    /// Others search: they have the duty.
    Others,
    /// It is zero now, and we brought it there: the duty is ours.
    NobodyByUs,
    /// It is zero, and was before.
    Nobody,
}

impl Shared {
    #[inline(always)]
    pub(crate) fn announce(&self, from: Option<usize>, items: usize) -> Announced {
        // Ordering: IO4, partner: the heavy fences of IO5 and IO6; the push comes before, the loads after.
        asymmetric::light();
        if self.sleepers.is_empty() {
            return Announced::new(0);
        }
        Announced::new(self.announce_to_sleepers(from, items))
    }

    fn announce_to_sleepers(&self, from: Option<usize>, items: usize) -> usize {
        // Ordering: SeqCst (IO9), partner: the full fence of IO10. Unmodelled: in a model the light fence
        // above is a full one; the state-space test shows the harm of leaving it out.
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

    /// Counts an announcement that relies on searchers; true if it is one too many (I7).
    fn relies_too_long(&self, from: Option<usize>) -> bool {
        if MODELLED {
            return false; // it only ever wakes one more, and would hide what is lost
        }
        // A hint that is no worker's number counts as one from outside.
        let outside = self.wakers.len();
        let own = &self.reliances[from.map_or(outside, |index| index.min(outside))];
        // Ordering: Relaxed; only compared.
        let ends = self.search.ends.load(Ordering::Relaxed);
        // Ordering: Relaxed on all that follow; threads outside that write at once count too little by one.
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

    /// The last searcher has come to an end, so none of those relied on is lost (I7).
    fn all_searches_ended(&self) {
        if !MODELLED {
            // Ordering: Relaxed on both; two that come at once may count as one.
            let ends = self.search.ends.load(Ordering::Relaxed).wrapping_add(1);
            // Ordering: Relaxed; as above.
            self.search.ends.store(ends, Ordering::Relaxed);
        }
    }

    /// Wakes sleepers until `target` search, or as many have been woken, or none is left. What a waker or a policy
    /// panics with goes on afterwards.
    #[cold]
    pub(crate) fn wake(&self, from: Option<usize>, target: usize) -> usize {
        let mut panic = FirstPanic::default();
        // Claimed, and perhaps not woken.
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
            // Nobody to claim. Somebody may have relied on our count and left: if it is zero now, look
            // at the sleepers again (I3).
            if self.count_out() != Left::NobodyByUs || self.sleepers.is_empty() {
                break;
            }
        }
        panic.resume();
        woken
    }

    /// The last searcher hands its duty on (I3).
    pub(crate) fn wake_next(&self, from: usize) {
        if !self.sleepers.is_empty() {
            self.wake(Some(from), 1);
        }
    }

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
        // Ordering: Relaxed on both; one more searcher publishes nothing, and as a read-modify-write
        // it continues the release sequences of IO1.
        self.search
            .searching
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                (count_of(word) < limit).then_some(word + 1)
            })
            .is_ok()
    }

    /// One searcher less, which found work or woke nobody (I1).
    pub(crate) fn count_out(&self) -> Left {
        // Ordering: Acquire (IO3); the bits of all who parked before this are visible after.
        let before = self.search.searching.fetch_sub(1, Ordering::Acquire);
        debug_assert!(count_of(before) > 0, "I1: more searchers leave than came");
        if count_of(before) == 1 {
            self.all_searches_ended();
            Left::NobodyByUs
        } else {
            Left::Others
        }
    }

    /// As [`count_out`](Self::count_out), for a searcher that will look whether there is more: the last one takes
    /// the mark (I6), and is told whether it was there.
    pub(crate) fn count_out_to_look(&self) -> (Left, bool) {
        let step = |word| {
            let left = word - 1;
            Some(if count_of(left) == 0 { 0 } else { left })
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
            (Left::NobodyByUs, before & RELIED != 0)
        } else {
            (Left::Others, false)
        }
    }

    /// Becomes a searcher unless half of those awake already are (Go's bound).
    pub(crate) fn try_search(&self) -> bool {
        // Ordering: Relaxed; a bound, not a promise.
        let joined = self.joined.load(Ordering::Relaxed);
        let awake = joined.saturating_sub(self.sleepers.count());
        self.count_in(awake.div_ceil(2))
    }

    /// PB and PZ (I2); `searched` tells whether the worker is counted as a searcher.
    pub(crate) fn enter(&self, index: usize, searched: bool) -> Left {
        self.sleepers.enter(index);
        let step = |word| {
            let left = word - usize::from(searched);
            Some(match (count_of(left), searched) {
                (0, true) => 0,
                (0, false) => left,
                _ => left | RELIED,
            })
        };
        // Ordering: AcqRel; Release (IO1): whoever acquires this or a later count sees our bit. Acquire
        // (IO2): if it is zero now, we see the bits of all who left the look to us. Relaxed on failure, nothing
        // is done then.
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
                Left::NobodyByUs
            }
            (0, false) => Left::Nobody,
            _ => Left::Others,
        }
    }

    /// Takes the worker's own bit back; false if it has been claimed, and so counted as a searcher.
    pub(crate) fn withdraw(&self, index: usize) -> bool {
        self.sleepers.leave(index)
    }

    pub(crate) fn leave(&self, index: usize) {
        // Ordering: Relaxed; only the bound on searchers reads it.
        self.joined.fetch_sub(1, Ordering::Relaxed);
        // Ordering: Release (IO8); what we did with the number is visible to its next holder.
        self.seats[index].store(0, Ordering::Release);
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
