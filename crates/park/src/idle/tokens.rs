//! What a worker may do next, as types: each step of the protocol consumes one token and gives the
//! next, so that the look after parking cannot be forgotten and a searcher cannot be counted twice.
//!
//! A token that is dropped instead (by a panic in the caller's search, say) takes the worker out in
//! good order: a searcher's duty is passed on, a bit is taken back, the number becomes free. A token that is
//! forgotten stays where it was: what that costs, and its bound, is in the [module](super) above.

use stealyard_sync::atomic::{Ordering, fence};
use stealyard_sync::{Arc, asymmetric};

use super::{Announced, Left, Shared};

/// One worker's place, and how far it is in the protocol.
struct Seat {
    shared: Arc<Shared>,
    index: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Active,
    Searching,
    Parking(Left),
    Sleeping,
}

impl Seat {
    fn into(mut self, state: State) -> Self {
        self.state = state;
        self
    }

    fn enter(self) -> Parking {
        let searched = self.state == State::Searching;
        let left = self.shared.enter(self.index, searched);
        Parking(self.into(State::Parking(left)))
    }

    /// The worker runs again: by a waker's claim as a searcher, or else as it pleases.
    fn awake(self) -> Woken {
        if self.shared.withdraw(self.index) {
            Woken::Active(Active(self.into(State::Active)))
        } else {
            Woken::Searching(Searching(self.into(State::Searching)))
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let duty = match self.state {
            State::Active => false,
            State::Searching => self.shared.count_out() == Left::NobodyByUs,
            State::Parking(left) => {
                if self.shared.withdraw(self.index) {
                    left == Left::NobodyByUs // and the look has not been taken
                } else {
                    self.shared.count_out() == Left::NobodyByUs
                }
            }
            State::Sleeping => {
                !self.shared.withdraw(self.index) && self.shared.count_out() == Left::NobodyByUs
            }
        };
        // Before anything foreign runs: a waker that panics does not keep the number taken.
        self.shared.leave(self.index);
        if duty {
            self.shared.wake_next(self.index);
        }
    }
}

/// A worker that runs tasks, or is free to look for some. Dropping it leaves the protocol and frees
/// the number; a worker that leaves owes nothing but the items in queues that only it can reach. Forgetting it keeps
/// the number taken.
#[must_use = "dropping it leaves the protocol"]
pub struct Active(Seat);

/// A worker that looks for work, counted as such: while it exists, nobody else is woken for a single
/// item. It must end in [`found`](Self::found) or [`park`](Self::park). Forgotten, it counts for good, and of
/// announcements that rely on it only each [`RELIANCE_MAX`](super::RELIANCE_MAX)th wakes a worker.
#[must_use = "while it is held, nobody is woken"]
pub struct Searching(Seat);

/// A worker that has said it will sleep and must now look again: [`recheck`](Self::recheck). Forgotten, it is woken
/// in vain once, and from then on counts as a [`Searching`] that is forgotten.
#[must_use = "look again, then sleep"]
pub struct Parking(Seat);

/// A worker that has looked again and may sleep. Forgotten, it is as a [`Parking`] that is forgotten.
#[must_use = "it is marked as asleep: sleep, or it is woken in vain"]
pub struct Sleeping(Seat);

/// What the look after parking found.
#[derive(Debug)]
#[must_use = "work that was found must be run"]
pub enum Recheck<T> {
    /// Work: the worker is no longer parking.
    Work(Active, T),
    /// Nothing, or others still search: sleep.
    Nothing(Sleeping),
}

/// Why the worker runs again.
#[derive(Debug)]
#[must_use = "a worker woken to search is counted as a searcher"]
pub enum Woken {
    /// An announcement woke it: it is a searcher, and sees what the announcer had pushed.
    Searching(Searching),
    /// Anything else: a nudge, a timeout, a return for no reason.
    Active(Active),
}

impl Active {
    pub(super) fn new(shared: Arc<Shared>, index: usize) -> Self {
        Self(Seat {
            shared,
            index,
            state: State::Active,
        })
    }

    /// The worker's number.
    pub fn index(&self) -> usize {
        self.0.index
    }

    /// Becomes a searcher, unless half of the workers that are awake already search: then more would
    /// only disturb each other, and the worker should park.
    ///
    /// # Errors
    /// Gives the token back if there are enough searchers.
    pub fn search(self) -> Result<Searching, Self> {
        if self.0.shared.try_search() {
            Ok(Searching(self.0.into(State::Searching)))
        } else {
            Err(self)
        }
    }

    /// Says that `items` items have become visible, by this worker; see [`Idle::announce`].
    ///
    /// [`Idle::announce`]: super::Idle::announce
    pub fn announce(&self, items: usize) -> Announced {
        self.0.shared.announce(Some(self.0.index), items)
    }

    /// Says that it will sleep, without having been a searcher.
    pub fn park(self) -> Parking {
        self.0.enter()
    }
}

impl Searching {
    /// The worker's number.
    pub fn index(&self) -> usize {
        self.0.index
    }

    /// Work was found. If nobody else searches, wakes the next searcher, because whoever announced
    /// something meanwhile has relied on this one.
    pub fn found(self) -> Active {
        let seat = self.0.into(State::Active);
        if seat.shared.count_out() == Left::NobodyByUs {
            seat.shared.wake_next(seat.index);
        }
        Active(seat)
    }

    /// Work was found, as [`found`](Self::found), but wakes nobody if `more` says that no queue holds
    /// anything now: it spares the vain wake after every isolated task. `more` must look everywhere an
    /// announced item can be; it is called only if nobody else searches and somebody sleeps.
    pub fn found_with(self, more: impl FnOnce() -> bool) -> Active {
        let seat = self.0.into(State::Active);
        let (left, relied) = seat.shared.count_out_to_look();
        if left == Left::NobodyByUs && !seat.shared.sleepers.is_empty() {
            let pass_on = PassOn(&seat);
            if relied {
                // Ordering: IO6, partner: the light fence of IO4; what was announced when nobody slept, before
                // somebody parked in reliance on us, is visible after (A3).
                asymmetric::heavy();
            } else {
                // Ordering: SeqCst (IO10), partner: the full fence of IO9; what was announced in reliance on
                // us is visible after (A1, A2).
                fence(Ordering::SeqCst);
            }
            if !more() {
                core::mem::forget(pass_on);
            }
        }
        Active(seat)
    }

    /// Nothing was found: gives up searching and says that it will sleep.
    pub fn park(self) -> Parking {
        self.0.enter()
    }
}

impl Woken {
    /// The worker's number.
    pub fn index(&self) -> usize {
        match self {
            Self::Searching(searching) => searching.index(),
            Self::Active(active) => active.index(),
        }
    }

    /// Nothing was found: says that the worker will sleep.
    pub fn park(self) -> Parking {
        match self {
            Self::Searching(searching) => searching.park(),
            Self::Active(active) => active.park(),
        }
    }
}

impl Parking {
    /// The worker's number.
    pub fn index(&self) -> usize {
        self.0.index
    }

    /// Looks once more at everything with `look`, if nobody else is left to do so, and only then lets
    /// the worker sleep. With work found, wakes the next searcher if this was the last.
    ///
    /// `look` must cover every place where an announced item can be.
    pub fn recheck<T>(self, look: impl FnOnce() -> Option<T>) -> Recheck<T> {
        self.recheck_with(look, || true)
    }

    /// As [`recheck`](Self::recheck), but wakes the next only if `more` says that some queue holds
    /// something beside what `look` has taken.
    pub fn recheck_with<T>(
        self,
        look: impl FnOnce() -> Option<T>,
        more: impl FnOnce() -> bool,
    ) -> Recheck<T> {
        let State::Parking(left) = self.0.state else {
            unreachable!("a Parking token is in the state Parking");
        };
        if left == Left::Others {
            return Recheck::Nothing(Sleeping(self.0.into(State::Sleeping)));
        }
        // Ordering: IO5, partner: the light fence of IO4; what was announced in reliance on us is
        // visible to the look (Lemma 2).
        asymmetric::heavy();
        let Some(work) = look() else {
            return Recheck::Nothing(Sleeping(self.0.into(State::Sleeping)));
        };
        match self.0.awake() {
            // Claimed meanwhile: it counts as a searcher that has found work.
            Woken::Searching(searching) => Recheck::Work(searching.found(), work),
            Woken::Active(active) => {
                if left == Left::NobodyByUs {
                    let pass_on = PassOn(&active.0);
                    if !more() {
                        core::mem::forget(pass_on);
                    }
                }
                Recheck::Work(active, work)
            }
        }
    }
}

/// Wakes the next searcher when dropped, so that a caller's panic in between loses nobody.
struct PassOn<'a>(&'a Seat);

impl Drop for PassOn<'_> {
    fn drop(&mut self) {
        self.0.shared.wake_next(self.0.index);
    }
}

impl Sleeping {
    /// The worker's number.
    pub fn index(&self) -> usize {
        self.0.index
    }

    /// Blocks by `block` (a [`Parker`](crate::Parker), usually) and says why the worker runs again.
    /// `block` may return for any reason or none.
    pub fn sleep(self, block: impl FnOnce()) -> Woken {
        block();
        self.0.awake()
    }

    /// Does not sleep after all.
    pub fn cancel(self) -> Woken {
        self.0.awake()
    }
}

impl core::fmt::Debug for Seat {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "worker {}, {:?}", self.index, self.state)
    }
}

macro_rules! debug_token {
    ($($token:ident)*) => {$(
        impl core::fmt::Debug for $token {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.debug_tuple(stringify!($token)).field(&self.0).finish()
            }
        }
    )*};
}

debug_token!(Active Searching Parking Sleeping);
