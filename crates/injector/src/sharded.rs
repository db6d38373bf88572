//! Several global queues side by side, so that threads that are far apart do not meet.
//!
//! There is one lane for each NUMA node, cache domain, or whatever the user divides the machine by.
//! A push goes to the caller's own lane. A pop begins there and sweeps outward in a given order.
//! One word of bits says which lanes hold an item, so that an idle worker reads one cache line
//! instead of all lanes.
//!
//! # Operations
//! | operation            | caller | progress      | cost |
//! | -------------------- | ------ | ------------- | --- |
//! | `push`, `push_batch` | any | as the lane's | the lane's, a fence, an RMW if its bit is clear |
//! | `pop`, `pop_batch` | any | as the lane's | a load; the lane's for each occupied lane met |
//! | `is_empty`           | any    | wait-free     | a load; a look at the lanes if a bit is set |
//!
//! A pop that found a lane empty costs two RMWs more.
//!
//! # Layout
//! ```text
//!   occupied   closing (16 bits) | 0 1 0 1      one bit a lane, at most 48
//!   lanes      [ ][q][ ][q]   each on cache lines of its own
//!   sweeps     row l: the lanes in the order in which a caller near l looks at them, l first
//! ```
//! `closing` counts the threads that have cleared a bit and have not looked at its lane again.
//!
//! # Invariants
//! - **B1** (no hidden item) If a lane holds an item whose push has returned, its bit is set, or
//!   `closing` is not zero. So if the whole word is zero, there is no item. A thread that finds
//!   `closing` not zero looks at every lane.
//! - **B2** (bounded overtaking) Order holds within a lane. Items of other lanes may overtake an
//!   item without limit, while those in front of it in its own lane leave first: a sweep takes from
//!   every occupied lane at some time only if workers near it look. [`FAIR_SWEEP`] sets the bound:
//!   one of every so many pops of one lane's callers begins one lane further on. So for each item
//!   in front of it, an item waits for at most `FAIR_SWEEP × lanes` pops by any one lane's callers.
//! - **B3** (an empty pop) A pop that finds no item has found each lane empty at some moment of the
//!   call. With several lanes, that need not be the same moment.
//!
//! # Orderings
//! | label | operation                                               | partner | publishes       |
//! | ----- | ------------------------------------------------------- | ------- | --------------- |
//! | B4    | push: fence(SeqCst) between the lane and its bit        | B5      | the pushed item |
//! | B5    | `clear_bit`: fence(SeqCst) between the bit and the lane | B4      | the cleared bit |
//!
//! # Why B1 holds
//! A push does three things:
//! 1. It puts the item in.
//! 2. It passes its fence.
//! 3. It sets the bit, unless it reads that the bit is set.
//!
//! A thread that found a lane empty does four:
//! 1. In one exchange, it clears the bit and counts itself as closing.
//! 2. It passes its fence.
//! 3. It looks at the lane again.
//! 4. In one exchange, it stops counting as closing, and sets the bit if it saw an item.
//!
//! Suppose that the item were left with a clear bit after that. Then the push would have read the
//! bit before it was cleared, and the second look would have missed the item. Each of the two
//! fences would precede the other.
//!
//! A thread that comes after the push reads the word as the push read it, or as it was later. In
//! between, the word is not zero.
//!
//! # Foreign code
//! The lanes' queues are the user's choice, and may be the user's own. The code that runs in them,
//! and in the iterators, sinks and destructors that they call, may use the lanes:
//! - *A lane's `push` or `push_batch`, and the caller's iterator in it*, in the functions of the
//!   same names. They see the bit not yet set. If they panic, the bit is set all the same, because
//!   the lane may have taken an item in.
//! - *A lane's `pop` or `pop_batch`, and the caller's sink in it*, in the functions of the same
//!   names. They see the bits as every thread sees them: a bit stays until a lane has been looked
//!   at afterwards.
//! - *A lane's `is_empty`*, in `pop`, `pop_batch`, `push_batch` and `is_empty`. In a pop, it may
//!   see the bit cleared and `closing` counted. If it panics there, the bit is set again and the
//!   count goes back.
//! - *Destructors of items*, where a lane, the caller or its sink drops them. They see what a sink
//!   sees.
//!
//! # Why not …
//! - *A shared counter of items*: every push and pop of all lanes would write one cache line.
//! - *A bit that each push sets without a look*: the same.
//! - *Clearing the bit with the last item*: where items come one by one, each would then write the
//!   common line twice.
//!
//! # References
//! The task streams of oneTBB (`task_stream.h`).

use core::fmt;
use core::marker::PhantomData;

use stealyard_sync::CachePadded;
use stealyard_sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use crate::injector::{Injector, share};

/// The number of pops of a lane's callers of which one begins its sweep one lane further on (B2).
pub const FAIR_SWEEP: u32 = 61;

/// The most lanes: there is one bit of a word for each, beside the count of the threads that clear
/// one.
pub const LANES_MAX: usize = 48;

/// One closing thread, in the count above the bits.
const CLOSING: u64 = 1 << LANES_MAX;

/// Several queues of the type `Q`, one for each lane. See the [crate's](crate) overview.
pub struct Sharded<T, Q> {
    occupied: CachePadded<AtomicU64>,
    lanes: Box<[CachePadded<Lane<Q>>]>,
    /// Row `l` is the order in which a caller near lane `l` looks at the lanes.
    sweeps: Box<[Box<[usize]>]>,
    /// The lanes take and return items, so this is invariant, whatever `Q` is.
    items: PhantomData<fn(T) -> T>,
}

/// Sets the bit of a lane when it is dropped, if it is clear (B1): after a push, and after one that
/// panicked.
struct MarkOnDrop<'a> {
    occupied: &'a AtomicU64,
    lane: usize,
}

/// Ends the closing of a lane when it is dropped (B1).
struct ClosingLane<'a> {
    occupied: &'a AtomicU64,
    lane: usize,
    /// Whether the bit is to be set again. It is, until the lane has been looked at.
    set_again: bool,
}

struct Lane<Q> {
    queue: Q,
    /// The number of pops by callers of this lane, for [`FAIR_SWEEP`].
    pops: AtomicU32,
}

/// The error of making lanes that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LanesError {
    /// There are no lanes, or more than [`LANES_MAX`].
    Count(usize),
    /// Row `row` of the distances has `length` entries, and not one for each of the `lanes`.
    NotSquare {
        /// The row.
        row: usize,
        /// Its length.
        length: usize,
        /// The number of rows.
        lanes: usize,
    },
}

impl<T: Send, Q: Injector<T> + Default> Sharded<T, Q> {
    /// Creates `lanes` empty lanes. Each caller looks at the lanes in turn, beginning with its own.
    ///
    /// # Errors
    /// If `lanes` is not from 1 to [`LANES_MAX`].
    pub fn new(lanes: usize) -> Result<Self, LanesError> {
        if !(1..=LANES_MAX).contains(&lanes) {
            return Err(LanesError::Count(lanes));
        }
        let ring =
            |lane: usize| (0..lanes).map(move |other| ((other + lanes - lane) % lanes) as u32);
        let distances: Vec<Vec<u32>> = (0..lanes).map(|lane| ring(lane).collect()).collect();
        Self::with_distances(&distances)
    }

    /// Creates a lane for each row of `distances`. A caller near lane `l` looks at its own lane
    /// before all others, and then at the others in the order of row `l`, nearest first.
    ///
    /// # Errors
    /// If there are no rows or more than [`LANES_MAX`], or a row is not as long as there are rows.
    pub fn with_distances(distances: &[Vec<u32>]) -> Result<Self, LanesError> {
        let count = distances.len();
        if !(1..=LANES_MAX).contains(&count) {
            return Err(LanesError::Count(count));
        }
        for (row, entries) in distances.iter().enumerate() {
            if entries.len() != count {
                return Err(LanesError::NotSquare {
                    row,
                    length: entries.len(),
                    lanes: count,
                });
            }
        }
        let sweep = |lane: usize| {
            let mut order: Vec<usize> = (0..count).collect();
            order.sort_by_key(|&other| (other != lane, distances[lane][other], other));
            order.into_boxed_slice()
        };
        let lane = |_| {
            CachePadded::new(Lane {
                queue: Q::default(),
                pops: AtomicU32::new(0),
            })
        };
        Ok(Self {
            occupied: CachePadded::new(AtomicU64::new(0)),
            lanes: (0..count).map(lane).collect(),
            sweeps: (0..count).map(sweep).collect(),
            items: PhantomData,
        })
    }
}

impl<T: Send, Q: Injector<T>> Sharded<T, Q> {
    /// Returns the number of lanes.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Returns the queue of one lane, for a caller that does what this type does not do. An item
    /// that is pushed to it directly is hidden from other callers. Returns `None` if there is no
    /// such lane.
    #[must_use]
    pub fn lane(&self, lane: usize) -> Option<&Q> {
        self.lanes.get(lane).map(|lane| &lane.queue)
    }

    /// Pushes `item` at the back of `lane`, taken modulo the number of lanes.
    pub fn push(&self, lane: usize, item: T) {
        let lane = lane % self.lanes.len();
        let _mark = self.mark_on_drop(lane);
        self.lanes[lane].queue.push(item);
    }

    /// Pushes all of `items` at the back of `lane`, taken modulo the number of lanes.
    pub fn push_batch(&self, lane: usize, items: impl IntoIterator<Item = T>) {
        let lane = lane % self.lanes.len();
        let mark = self.mark_on_drop(lane);
        self.lanes[lane].queue.push_batch(items);
        // An empty batch leaves no bit behind. A batch that other threads have taken already needs
        // none.
        if self.lanes[lane].queue.is_empty() {
            core::mem::forget(mark);
        }
    }

    fn mark_on_drop(&self, lane: usize) -> MarkOnDrop<'_> {
        let occupied = &*self.occupied;
        MarkOnDrop { occupied, lane }
    }

    /// Takes an item: from `lane` (modulo the number of lanes) if it has one, else from the nearest
    /// lane that has one.
    pub fn pop(&self, lane: usize) -> Option<T> {
        let mut taken = None;
        self.sweep(lane, |queue| {
            taken = queue.pop();
            usize::from(taken.is_some())
        });
        taken
    }

    /// Takes one worker's share of the nearest lane that has an item, and gives it to `sink`. The
    /// share is `min(max, len / workers + 1)` of that lane's items, where `workers` is the number
    /// of workers that share the lane. Returns how many items that were.
    pub fn pop_batch(
        &self,
        lane: usize,
        max: usize,
        workers: usize,
        mut sink: impl FnMut(T),
    ) -> usize {
        self.sweep(lane, |queue| queue.pop_batch(max, workers, &mut sink))
    }

    /// Tries `take` on the occupied lanes in the caller's order until it has taken something.
    fn sweep(&self, lane: usize, mut take: impl FnMut(&Q) -> usize) -> usize {
        let lane = lane % self.lanes.len();
        // Ordering: Relaxed; coherence is all that B1 (no hidden item) asks for. A worker that must
        // not miss an item before it sleeps has passed the fence of its idle protocol.
        let mut occupied = self.occupied.load(Ordering::Relaxed);
        if occupied == 0 {
            return 0;
        }
        if occupied >= CLOSING {
            occupied = u64::MAX;
        }
        let order = &self.sweeps[lane];
        // Ordering: Relaxed; only a count.
        let pops = self.lanes[lane].pops.fetch_add(1, Ordering::Relaxed);
        let start = if pops.is_multiple_of(FAIR_SWEEP) {
            (pops / FAIR_SWEEP) as usize % order.len()
        } else {
            0
        };
        for at in 0..order.len() {
            let lane = order[(start + at) % order.len()];
            if occupied & bit(lane) == 0 {
                continue;
            }
            let queue = &self.lanes[lane].queue;
            let taken = take(queue);
            if taken > 0 {
                return taken;
            }
            if queue.is_empty() {
                self.clear_bit(lane);
            }
        }
        0
    }

    /// Clears the bit of a lane that was seen empty, unless the lane no longer is empty (B1).
    #[cold]
    fn clear_bit(&self, lane: usize) {
        // Ordering: Relaxed on both; the fence below orders it.
        let cleared = self
            .occupied
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                (word & bit(lane) != 0).then_some((word & !bit(lane)) + CLOSING)
            });
        if cleared.is_err() {
            return; // another thread has cleared it, and looks
        }
        let mut closing = ClosingLane {
            occupied: &self.occupied,
            lane,
            set_again: true,
        };
        // Ordering: SeqCst (B5), partner B4; either this thread sees the item, or its pusher sees
        // the bit cleared.
        fence(Ordering::SeqCst);
        closing.set_again = !self.lanes[lane].queue.is_empty();
    }

    /// Returns the sum of the lanes' numbers of items, each taken at some moment during the call.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lanes.iter().map(|lane| lane.queue.len()).sum()
    }

    /// Whether every lane was empty, each at some moment during the call. This is one load if no
    /// lane's bit is set. A lane's bit stays until a pop has found the lane empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // Ordering: Relaxed; as in `sweep`.
        self.occupied.load(Ordering::Relaxed) == 0
            || self.lanes.iter().all(|lane| lane.queue.is_empty())
    }
}

/// The lanes as one queue, for a caller without a lane of its own: it pushes to lane 0, and pops
/// from there on.
impl<T: Send, Q: Injector<T>> Injector<T> for Sharded<T, Q> {
    fn push(&self, item: T) {
        self.push(0, item);
    }

    fn push_batch(&self, items: impl IntoIterator<Item = T>) {
        self.push_batch(0, items);
    }

    fn pop(&self) -> Option<T> {
        self.pop(0)
    }

    fn pop_batch(&self, max: usize, workers: usize, mut sink: impl FnMut(T)) -> usize {
        let wanted = share(self.len(), max, workers);
        let mut taken = 0;
        while taken < wanted {
            match self.pop_batch(0, wanted - taken, 1, &mut sink) {
                0 => break,
                more => taken += more,
            }
        }
        taken
    }

    fn len(&self) -> usize {
        self.len()
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

impl Drop for MarkOnDrop<'_> {
    #[inline]
    fn drop(&mut self) {
        // Ordering: SeqCst (B4), partner B5; either this thread sees the bit cleared, or the thread
        // that cleared it sees the item.
        fence(Ordering::SeqCst);
        // Ordering: Relaxed; the fence above orders it.
        if self.occupied.load(Ordering::Relaxed) & bit(self.lane) == 0 {
            // Ordering: Relaxed; the bit is only a hint where to look, the lane hands the item
            // over.
            self.occupied.fetch_or(bit(self.lane), Ordering::Relaxed);
        }
    }
}

impl Drop for ClosingLane<'_> {
    fn drop(&mut self) {
        let bit_again = if self.set_again { bit(self.lane) } else { 0 };
        // Ordering: Relaxed on both; one exchange, and the bits are all there is to see.
        let updated = self
            .occupied
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                Some((word - CLOSING) | bit_again)
            });
        debug_assert!(
            updated.is_ok(),
            "an update that always has a value succeeds"
        );
    }
}

const fn bit(lane: usize) -> u64 {
    1 << lane
}

impl<T: Send, Q: Injector<T>> fmt::Debug for Sharded<T, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharded")
            .field("lanes", &self.lanes())
            .field("len", &self.len())
            .finish()
    }
}

impl fmt::Display for LanesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count} lanes: take from 1 to {LANES_MAX}"),
            Self::NotSquare { row, length, lanes } => write!(
                f,
                "row {row} of the distances has {length} entries: it must have one for each of the \
                 {lanes} lanes"
            ),
        }
    }
}

impl core::error::Error for LanesError {}
