//! The state of a task in one atomic word, and every change it can go through.
//!
//! # Operations
//! | operation                        | caller             | cost                              |
//! |----------------------------------|--------------------|-----------------------------------|
//! | `occupy`                         | the spawner        | a store                           |
//! | `begin`                          | the runner         | a load; one RMW if woken before   |
//! | `pause`                          | the runner         | a store if alone, else one RMW    |
//! | `leave`                          | the runner         | a load if alone, else one RMW     |
//! | `complete`                       | the runner         | one RMW                           |
//! | `wake`, `abort`                  | a reference        | one RMW                           |
//! | `wake_and_release`               | a reference        | one RMW; if complete as `release` |
//! | `retain`                         | a reference        | one RMW                           |
//! | `release`                        | a reference        | a load if the last, else one RMW  |
//! | `offer_waker`, `take_back_waker` | the join handle    | one RMW                           |
//! | `drop_handle`                    | the join handle    | one RMW                           |
//! | `claim_idle`                     | shutdown           | one RMW                           |
//! | `name`                           | a reference        | one RMW                           |
//! | `is_named`, `unname`             | the last reference | a load; one RMW                   |
//! | `is_alive`                       | shutdown           | a load                            |
//!
//! All are lock-free; those that say "a load" or "a store" are wait-free. A runner is alone if no
//! other thread holds the task. "A reference" stands for any holder of one.
//!
//! # Layout
//! ```text
//!   63 (31)               7       6      5        4       3        2         1         0
//!  +------------------------+-------+--------+--------+--------+----------+----------+--------+
//!  | references             | NAMED | JOINER | HANDLE | CANCEL | COMPLETE | NOTIFIED | ACTIVE |
//!  +------------------------+-------+--------+--------+--------+----------+----------+--------+
//! ```
//! - `ACTIVE`: queued, running, or on the way to a queue. Exactly one [`Task`](super::Task) exists.
//! - `NOTIFIED`: woken while active; poll once more.
//! - `COMPLETE`: the future is gone, the output (if there is a handle) is there.
//! - `CANCEL`: the future is to be dropped instead of polled.
//! - `HANDLE`: the join handle is alive; the output belongs to it.
//! - `JOINER`: the joiner's waker is in its slot; the slot belongs to the thread that completes the
//!   task.
//! - `NAMED`: the task has a number, which is in the register of [`id`](super::id).
//! - references: one for the task until it completes, one for the handle, one for each waker and
//!   abort handle.
//!
//! The whole word zero is a block of memory that holds no task.
//!
//! ```text
//!              occupy                         begin/poll
//!   (vacant) ----------> ACTIVE ---------------------------> ACTIVE, polled
//!                          ^                                  |   |    |
//!          wake, abort,    |        Pending, not woken        |   |    | Ready, panic, CANCEL
//!          claim_idle      +------------- idle <--------------+   |    v
//!                          |                                      |  COMPLETE --> last reference
//!                          +------ Pending, woken (NOTIFIED) -----+               given up: vacant
//! ```
//! There is no bit for "running": a task is queued or run by the holder of its only `Task`, and all
//! that a waker needs to know is that the holder will look at `NOTIFIED` later. So starting a task
//! costs no write.
//!
//! # Invariants
//! - **S1** `ACTIVE` is set if and only if one `Task` exists; the thread that sets it makes that
//!   `Task`.
//! - **S2** The future is touched only by the holder of the `Task`.
//! - **S3** The joiner's slot belongs to the handle while `JOINER` is clear and to the completer
//!   once `COMPLETE` is set with `JOINER`; the handle gets it back only by clearing `JOINER` before
//!   `COMPLETE`.
//! - **S4** The output belongs to the runner until `COMPLETE` is set with `HANDLE`, then to the
//!   handle.
//! - **S5** The memory is vacated by the thread that gives up the last reference, and by no other.
//! - **S6** A task with one reference and no handle is known to its holder alone: while it is
//!   active, no other thread changes the word. (A waker is a reference. A waker on loan to `poll`
//!   has been returned when `poll` returns. Shutdown claims idle tasks only.)
//! - **S7** A wake is never lost: whatever the waker did before it is seen by a poll that begins
//!   later.
//!
//! # Orderings
//! | label | operation                        | partner | publishes                              |
//! |-------|----------------------------------|---------|----------------------------------------|
//! | O1    | `occupy`, `pause`: Release       | O2      | header and future, to the next runner  |
//! | O2    | all that set `ACTIVE` afterwards: Acquire | O1 | –                             |
//! | O3    | wakes of an active task: Release | O4      | what the waker did before              |
//! | O4    | `begin`, `pause`: Acquire        | O3      | –                                      |
//! | O5    | `complete`: Release              | O6      | the output, to the handle              |
//! | O6    | `is_complete`, `drop_handle`: Acquire | O5    | –                                    |
//! | O7    | `offer_waker`: Release           | O8      | the joiner's waker, to the completer   |
//! | O8    | `complete`: Acquire              | O7      | –                                      |
//! | O9    | `release` and all that give up a reference: Release | O10 | uses of the memory  |
//! | O10   | `release`, `leave` that find the last reference: Acquire | O9 | –                 |

use core::fmt;

use stealyard_sync::atomic::{AtomicUsize, Ordering};

const ACTIVE: usize = 1;
const NOTIFIED: usize = 1 << 1;
const COMPLETE: usize = 1 << 2;
const CANCEL: usize = 1 << 3;
const HANDLE: usize = 1 << 4;
const JOINER: usize = 1 << 5;
const NAMED: usize = 1 << 6;
const REFERENCE: usize = 1 << 7;
/// More references than this are a leak of wakers in a loop; the count must not wrap.
const REFERENCES_MAX: usize = usize::MAX / 2;
const VACANT: usize = 0;

const _: () = assert!(
    (ACTIVE | NOTIFIED | COMPLETE | CANCEL | HANDLE | JOINER | NAMED) == REFERENCE - 1,
    "the flags fill the bits under the references"
);

/// One reading of the word.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen(usize);

impl Seen {
    fn is(self, flag: usize) -> bool {
        self.0 & flag != 0
    }

    fn references(self) -> usize {
        self.0 / REFERENCE
    }

    /// Whether the holder of the task's own reference is alone (S6).
    fn is_exclusive(self) -> bool {
        self.references() == 1 && !self.is(HANDLE)
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("active", &self.is(ACTIVE))
            .field("notified", &self.is(NOTIFIED))
            .field("complete", &self.is(COMPLETE))
            .field("cancel", &self.is(CANCEL))
            .field("handle", &self.is(HANDLE))
            .field("joiner", &self.is(JOINER))
            .field("references", &self.references())
            .finish()
    }
}

/// The word itself.
pub(super) struct State(AtomicUsize);

/// What a runner is to do with the task it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Begin {
    /// Poll the future.
    Poll,
    /// Drop the future.
    Cancel,
}

/// What a runner is to do after a poll that returned `Pending`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Pause {
    /// Nothing: the task is idle and no longer the runner's.
    Idle,
    /// It was woken meanwhile: schedule it again.
    Again,
    /// It was aborted meanwhile: drop the future.
    Cancel,
}

/// What a wake or an abort leaves to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Wake {
    /// Nothing: it is active or complete already.
    Nothing,
    /// The caller has made the task active and must schedule it (S1).
    Schedule,
}

/// What a wake leaves to do that gave up its reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum WakeAndRelease {
    /// Nothing: it is active already, or complete and known to others.
    Nothing,
    /// The caller has made the task active and must schedule it (S1).
    Schedule,
    /// It is complete, and the reference was the last: vacate the memory (S5).
    Last,
}

/// What is left to the runner that completed a task with a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Complete {
    /// Nothing: its reference is given up too.
    Joined,
    /// Take the joiner's waker out of its slot and wake it, then `release`.
    WakeJoiner,
    /// The handle is gone: drop the output, then `leave`. The task is not complete yet.
    Orphaned,
}

/// Whether the last reference was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Release {
    /// Others hold the task.
    Shared,
    /// No other does: vacate the memory (S5).
    Last,
}

/// What a handle that goes away leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum DropHandle {
    /// Nothing: its reference is given up too.
    Detached,
    /// Its waker is in the slot, which is its own again: drop that, then `release`.
    DropWaker,
    /// The task is complete: drop the output, then `release`.
    DropOutput,
}

/// The task completed before the handle's change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IsComplete;

impl State {
    /// Makes the state of memory that holds no task.
    pub(super) fn vacant() -> Self {
        Self(AtomicUsize::new(VACANT))
    }

    /// Begins a new task, active, with or without a handle.
    #[inline(always)]
    pub(super) fn occupy(&self, with_handle: bool) {
        let word = if with_handle {
            ACTIVE | HANDLE | (2 * REFERENCE)
        } else {
            ACTIVE | REFERENCE
        };
        // Ordering: Release (O1). Unmodelled: an active task travels through a queue, which
        // publishes it; kept so that a thread that meets the block by its address reads a whole
        // header.
        self.0.store(word, Ordering::Release);
    }

    /// Notes that the memory holds no task any more.
    #[inline(always)]
    pub(super) fn vacate(&self) {
        // Ordering: Relaxed; a thread that meets a vacant block does not touch it, and the next
        // task in it gets it through a free list.
        self.0.store(VACANT, Ordering::Relaxed);
    }

    /// Notes that the task has a number in the register. The caller has a reference, or runs the
    /// task (S6).
    pub(super) fn name(&self) {
        // Ordering: Relaxed; `is_named` is asked with the last reference, which acquires the others
        // (O9, O10).
        self.0.fetch_or(NAMED, Ordering::Relaxed);
    }

    /// Whether the task has a number in the register. The caller has the last reference.
    #[inline(always)]
    pub(super) fn is_named(&self) -> bool {
        // Ordering: Relaxed; see `name`.
        Seen(self.0.load(Ordering::Relaxed)).is(NAMED)
    }

    /// Notes that the task's number is in the register no more. The caller has the last reference.
    pub(super) fn unname(&self) {
        // Ordering: Relaxed; no other thread has the task (S5).
        self.0.fetch_and(!NAMED, Ordering::Relaxed);
    }

    /// Begins a run. Returns whether the runner is to poll.
    #[inline(always)]
    pub(super) fn begin(&self) -> Begin {
        // Ordering: Relaxed; the queue published the task, and a wake or abort that is not seen
        // here is seen by `pause` (S7).
        let seen = Seen(self.0.load(Ordering::Relaxed));
        if seen.0 & (NOTIFIED | CANCEL) == 0 {
            Begin::Poll
        } else {
            self.begin_notified()
        }
    }

    #[cold]
    fn begin_notified(&self) -> Begin {
        // Ordering: Acquire (O4); this poll answers every wake before this change.
        let seen = Seen(self.0.fetch_and(!NOTIFIED, Ordering::Acquire));
        if seen.is(CANCEL) {
            Begin::Cancel
        } else {
            Begin::Poll
        }
    }

    /// Makes the task idle, whose runner got `Pending` from the future, unless it was woken or
    /// aborted.
    #[inline(always)]
    pub(super) fn pause(&self) -> Pause {
        // Ordering: Acquire (O10); a waker that was made and dropped meanwhile is done with the
        // task.
        let seen = Seen(self.0.load(Ordering::Acquire));
        if seen.is_exclusive() && !seen.is(NOTIFIED | CANCEL) {
            // Ordering: Release (O1); no other thread changes the word (S6), but shutdown may claim
            // it.
            self.0.store(seen.0 & !ACTIVE, Ordering::Release);
            return Pause::Idle;
        }
        self.pause_shared(seen)
    }

    fn pause_shared(&self, mut seen: Seen) -> Pause {
        loop {
            if seen.is(CANCEL) {
                return Pause::Cancel;
            }
            if seen.is(NOTIFIED) {
                // `begin` clears it, with the acquire that the wake is owed (O4).
                return Pause::Again;
            }
            // Ordering: Release (O1); failure Relaxed, since it is judged anew.
            match self.0.compare_exchange_weak(
                seen.0,
                seen.0 & !ACTIVE,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Pause::Idle,
                Err(now) => seen = Seen(now),
            }
        }
    }

    /// Wakes the task, from anywhere but its own poll.
    pub(super) fn wake(&self) -> Wake {
        // Ordering: Relaxed; a first guess for the exchange.
        let mut seen = Seen(self.0.load(Ordering::Relaxed));
        loop {
            if seen.is(COMPLETE) {
                return Wake::Nothing;
            }
            let next = if seen.is(ACTIVE) {
                // Also when it is set already: the poll that answers must see what we did (S7).
                seen.0 | NOTIFIED
            } else {
                seen.0 | ACTIVE
            };
            // Ordering: AcqRel (O3, O2); failure Relaxed, since it is judged anew.
            match self
                .0
                .compare_exchange_weak(seen.0, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) if seen.is(ACTIVE) => return Wake::Nothing,
                Ok(_) => return Wake::Schedule,
                Err(now) => seen = Seen(now),
            }
        }
    }

    /// Wakes the task and gives up the waker's reference.
    ///
    /// If the task is to be scheduled, the `Task` keeps its memory. What keeps its scheduler until
    /// `schedule` has returned is the caller's business.
    pub(super) fn wake_and_release(&self) -> WakeAndRelease {
        // Ordering: Relaxed; a first guess for the exchange.
        let mut seen = Seen(self.0.load(Ordering::Relaxed));
        loop {
            if seen.is(COMPLETE) {
                return match self.release() {
                    Release::Last => WakeAndRelease::Last,
                    Release::Shared => WakeAndRelease::Nothing,
                };
            }
            let next = if seen.is(ACTIVE) {
                seen.0 | NOTIFIED
            } else {
                seen.0 | ACTIVE
            };
            // Never the last reference: a task that is not complete has its own.
            // Ordering: AcqRel (O3, O2, O9); failure Relaxed, since it is judged anew.
            match self.0.compare_exchange_weak(
                seen.0,
                next - REFERENCE,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) if seen.is(ACTIVE) => return WakeAndRelease::Nothing,
                Ok(_) => return WakeAndRelease::Schedule,
                Err(now) => seen = Seen(now),
            }
        }
    }

    /// Asks that the future be dropped instead of polled.
    pub(super) fn abort(&self) -> Wake {
        // Ordering: Relaxed; a first guess for the exchange.
        let mut seen = Seen(self.0.load(Ordering::Relaxed));
        loop {
            if seen.is(COMPLETE) {
                return Wake::Nothing;
            }
            // Ordering: Acquire (O2); an abort publishes nothing; failure Relaxed, judged anew.
            match self.0.compare_exchange_weak(
                seen.0,
                seen.0 | ACTIVE | CANCEL,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) if seen.is(ACTIVE) => return Wake::Nothing,
                Ok(_) => return Wake::Schedule,
                Err(now) => seen = Seen(now),
            }
        }
    }

    /// Makes the task active and cancelled, if the block holds one that is idle. The caller, which
    /// is shutdown, holds no reference; an idle task keeps its own.
    pub(super) fn claim_idle(&self) -> Wake {
        // Ordering: Relaxed; a first guess for the exchange.
        let mut seen = Seen(self.0.load(Ordering::Relaxed));
        loop {
            if seen.references() == 0 || seen.0 & (ACTIVE | COMPLETE) != 0 {
                return Wake::Nothing;
            }
            // Ordering: Acquire (O2); failure Relaxed, since it is judged anew.
            match self.0.compare_exchange_weak(
                seen.0,
                seen.0 | ACTIVE | CANCEL,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Wake::Schedule,
                Err(now) => seen = Seen(now),
            }
        }
    }

    /// Whether this block holds a task that has not ended. The caller holds no reference.
    pub(super) fn is_alive(&self) -> bool {
        // Ordering: Relaxed; a view of the moment, on which nothing is touched.
        let seen = Seen(self.0.load(Ordering::Relaxed));
        seen.references() > 0 && !seen.is(COMPLETE)
    }

    /// Whether the output will go to a handle.
    #[inline(always)]
    pub(super) fn has_handle(&self) -> bool {
        // Ordering: Relaxed; a handle that goes away after this is told apart by `complete`, and
        // none comes back.
        Seen(self.0.load(Ordering::Relaxed)).is(HANDLE)
    }

    /// Completes a task that has no handle, when its runner has dropped its future and output.
    #[inline(always)]
    pub(super) fn leave(&self) -> Release {
        // Ordering: Acquire (O10); the threads that gave up the other references are done with the
        // memory.
        let seen = Seen(self.0.load(Ordering::Acquire));
        if seen.references() == 1 {
            return Release::Last;
        }
        let step = COMPLETE.wrapping_sub(ACTIVE).wrapping_sub(REFERENCE);
        // Ordering: AcqRel (O9, O10).
        let seen = Seen(self.0.fetch_add(step, Ordering::AcqRel));
        Self::was_last(seen)
    }

    /// Completes a task whose runner has put the output in its place.
    #[inline(always)]
    pub(super) fn complete(&self) -> Complete {
        // Ordering: Relaxed; a first guess for the exchange.
        let mut seen = Seen(self.0.load(Ordering::Relaxed));
        loop {
            if !seen.is(HANDLE) {
                return Complete::Orphaned;
            }
            let done = (seen.0 | COMPLETE) & !ACTIVE;
            let (next, outcome) = if seen.is(JOINER) {
                (done, Complete::WakeJoiner)
            } else {
                (done - REFERENCE, Complete::Joined)
            };
            // Ordering: AcqRel (O5, O8, O9); failure Relaxed, since it is judged anew.
            match self
                .0
                .compare_exchange_weak(seen.0, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return outcome,
                Err(now) => seen = Seen(now),
            }
        }
    }

    /// Whether the output is there (for the handle) or will never be (for others).
    #[inline]
    pub(super) fn is_complete(&self) -> bool {
        // Ordering: Acquire (O6).
        Seen(self.0.load(Ordering::Acquire)).is(COMPLETE)
    }

    /// Whether the handle has a waker in the slot; only the handle changes that.
    pub(super) fn has_joiner(&self) -> bool {
        // Ordering: Relaxed; the handle reads what it wrote itself.
        Seen(self.0.load(Ordering::Relaxed)).is(JOINER)
    }

    /// Notes that the handle has put a waker into the slot.
    pub(super) fn offer_waker(&self) -> Result<(), IsComplete> {
        // Ordering: Release (O7).
        self.change_unless_complete(|word| word | JOINER, Ordering::Release)
    }

    /// Returns the slot to the handle, which will put another waker in.
    pub(super) fn take_back_waker(&self) -> Result<(), IsComplete> {
        // Ordering: Relaxed; the handle reads what it wrote itself.
        self.change_unless_complete(|word| word & !JOINER, Ordering::Relaxed)
    }

    fn change_unless_complete(
        &self,
        change: impl Fn(usize) -> usize,
        success: Ordering,
    ) -> Result<(), IsComplete> {
        // Ordering: Relaxed; a caller that hears that it is complete asks `is_complete` before it
        // touches the output.
        let mut seen = Seen(self.0.load(Ordering::Relaxed));
        loop {
            if seen.is(COMPLETE) {
                return Err(IsComplete);
            }
            // Ordering: as the callers say (O7); failure Relaxed, since it is judged anew.
            match self
                .0
                .compare_exchange_weak(seen.0, change(seen.0), success, Ordering::Relaxed)
            {
                Ok(_) => return Ok(()),
                Err(now) => seen = Seen(now),
            }
        }
    }

    /// Releases the handle.
    pub(super) fn drop_handle(&self) -> DropHandle {
        // Ordering: Acquire (O6).
        let mut seen = Seen(self.0.load(Ordering::Acquire));
        loop {
            if seen.is(COMPLETE) {
                return DropHandle::DropOutput;
            }
            let gone = seen.0 & !(HANDLE | JOINER);
            let (next, outcome) = if seen.is(JOINER) {
                (gone, DropHandle::DropWaker)
            } else {
                (gone - REFERENCE, DropHandle::Detached)
            };
            // Ordering: Release (O9); failure Acquire (O6), since the output is dropped next.
            match self
                .0
                .compare_exchange_weak(seen.0, next, Ordering::Release, Ordering::Acquire)
            {
                Ok(_) => return outcome,
                Err(now) => seen = Seen(now),
            }
        }
    }

    /// Takes one more reference.
    pub(super) fn retain(&self) {
        // Ordering: Relaxed; the caller has a reference already, which keeps the task.
        let seen = self.0.fetch_add(REFERENCE, Ordering::Relaxed);
        if seen > REFERENCES_MAX {
            // A count that wraps frees memory in use: there is no way on.
            std::process::abort();
        }
    }

    /// Releases one reference.
    #[inline]
    pub(super) fn release(&self) -> Release {
        // Ordering: Acquire (O10); if ours is the only one, no other thread can make one.
        let seen = Seen(self.0.load(Ordering::Acquire));
        if seen.references() == 1 {
            return Release::Last;
        }
        // Ordering: AcqRel (O9, O10).
        Self::was_last(Seen(self.0.fetch_sub(REFERENCE, Ordering::AcqRel)))
    }

    fn was_last(before: Seen) -> Release {
        debug_assert!(before.references() > 0, "a reference too many was given up");
        if before.references() == 1 {
            Release::Last
        } else {
            Release::Shared
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Ordering: Relaxed; for show.
        Seen(self.0.load(Ordering::Relaxed)).fmt(f)
    }
}

#[cfg(all(test, not(any(stealyard_loom, stealyard_shuttle))))]
mod tests {
    use super::*;

    fn with_references(references: usize, flags: usize) -> State {
        State(AtomicUsize::new((references * REFERENCE) | flags))
    }

    fn seen(state: &State) -> Seen {
        // Ordering: Relaxed; one thread.
        Seen(state.0.load(Ordering::Relaxed))
    }

    #[test]
    fn t14_references_near_the_maximum_leave_the_flags_alone() {
        let most = REFERENCES_MAX / REFERENCE;
        let state = with_references(most - 1, ACTIVE | HANDLE);
        state.retain();
        assert_eq!(seen(&state).references(), most);
        assert!(seen(&state).is(ACTIVE) && seen(&state).is(HANDLE));
        assert!(!seen(&state).is(COMPLETE) && !seen(&state).is(CANCEL));
        assert_eq!(state.release(), Release::Shared);
        assert_eq!(state.drop_handle(), DropHandle::Detached);
        assert_eq!(state.leave(), Release::Shared);
        assert_eq!(seen(&state).references(), most - 3);
        assert!(seen(&state).is(COMPLETE) && !seen(&state).is(ACTIVE));
    }

    #[test]
    fn leaving_gives_up_one_reference_and_completes() {
        let state = with_references(2, ACTIVE | NOTIFIED);
        assert_eq!(state.leave(), Release::Shared);
        assert_eq!(seen(&state), Seen(REFERENCE | COMPLETE | NOTIFIED));
        assert_eq!(state.release(), Release::Last);
    }

    #[test]
    fn debug_output_names_the_fields() {
        let text = format!("{:?}", with_references(3, ACTIVE | JOINER));
        assert!(
            text.contains("active: true") && text.contains("references: 3"),
            "{text}"
        );
    }
}
