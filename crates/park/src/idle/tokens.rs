//! The steps of the idle protocol as types. Each step consumes one token and returns the next, so
//! that the look after parking cannot be left out and a searcher cannot be counted twice.
//!
//! A token that is dropped instead (by a panic in the caller's search, say) takes the worker out of
//! the protocol in good order:
//! - a searcher's duty is passed on (I3 of `idle.rs`);
//! - the worker's bit is taken back;
//! - its number becomes free.
//!
//! A token that is forgotten leaves its worker where it was. What that costs, and what bounds it,
//! is described in the [module](super) above.

use stealyard_sync::atomic::{Ordering, fence};
use stealyard_sync::{Arc, asymmetric};

use super::{Announced, IdleState, Remaining};

/// One worker's membership in the protocol, and the stage that it is in.
struct Membership {
    shared: Arc<IdleState>,
    index: usize,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Active,
    Searching,
    Parking(Remaining),
    Sleeping,
}

impl Membership {
    fn into_stage(mut self, stage: Stage) -> Self {
        self.stage = stage;
        self
    }

    /// Marks the worker as asleep (I2).
    fn park(self) -> Parking {
        let searched = self.stage == Stage::Searching;
        let remaining = self.shared.enter(self.index, searched);
        Parking(self.into_stage(Stage::Parking(remaining)))
    }

    /// Takes the worker's bit back. The worker is a searcher if a waker has claimed it.
    fn run_again(self) -> Woken {
        if self.shared.withdraw(self.index) {
            Woken::Active(Active(self.into_stage(Stage::Active)))
        } else {
            Woken::Searching(Searching(self.into_stage(Stage::Searching)))
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let owes_duty = match self.stage {
            Stage::Active => false,
            Stage::Searching => self.shared.count_out() == Remaining::NoneByThisStep,
            Stage::Parking(remaining) => {
                if self.shared.withdraw(self.index) {
                    // The look that would fulfil the duty has not been taken.
                    remaining == Remaining::NoneByThisStep
                } else {
                    self.shared.count_out() == Remaining::NoneByThisStep
                }
            }
            Stage::Sleeping => {
                !self.shared.withdraw(self.index)
                    && self.shared.count_out() == Remaining::NoneByThisStep
            }
        };
        // The number is freed before foreign code runs, so that a waker that panics does not keep
        // it.
        self.shared.leave(self.index);
        if owes_duty {
            self.shared.wake_next(self.index);
        }
    }
}

/// A worker that runs tasks, or is free to look for some.
///
/// Dropping it leaves the protocol and frees the number. A worker that leaves owes nothing but the
/// items in queues that only it can reach. Forgetting the token keeps the number taken.
#[must_use = "dropping it leaves the protocol"]
pub struct Active(Membership);

/// A worker that looks for work and is counted as a searcher.
///
/// While the token exists, no other worker is woken for a single item. It must end in
/// [`found`](Self::found) or [`park`](Self::park). A forgotten token counts for good: of the
/// announcements that rely on it, only every [`RELIANCE_MAX`](super::RELIANCE_MAX)th wakes a
/// worker.
#[must_use = "while it is held, no other worker is woken"]
pub struct Searching(Membership);

/// A worker that has said that it will sleep, and must now look again with
/// [`recheck`](Self::recheck).
///
/// The worker of a forgotten token is woken in vain once, and from then on counts like a forgotten
/// [`Searching`].
#[must_use = "look again, then sleep"]
pub struct Parking(Membership);

/// A worker that has looked again and may sleep.
///
/// Forgetting the token is like forgetting a [`Parking`].
#[must_use = "it is marked as asleep: sleep, or it is woken in vain"]
pub struct Sleeping(Membership);

/// The result of the look after parking.
#[derive(Debug)]
#[must_use = "work that was found must be run"]
pub enum Recheck<T> {
    /// The look found work, and the worker is no longer parking.
    Work(Active, T),
    /// The look found nothing, or was left to other searchers: the worker should sleep.
    Nothing(Sleeping),
}

/// The reason why the worker runs again.
#[derive(Debug)]
#[must_use = "a worker woken to search is counted as a searcher"]
pub enum Woken {
    /// An announcement woke it: it is a searcher, and sees what the announcer had pushed.
    Searching(Searching),
    /// Anything else: [`Idle::wake_worker`](super::Idle::wake_worker), a timeout, a return for no
    /// reason.
    Active(Active),
}

impl Active {
    pub(super) fn new(shared: Arc<IdleState>, index: usize) -> Self {
        Self(Membership {
            shared,
            index,
            stage: Stage::Active,
        })
    }

    /// Returns the worker's number.
    pub fn index(&self) -> usize {
        self.0.index
    }

    /// Becomes a searcher, unless half of the workers that are awake already search. More searchers
    /// would only disturb each other, so that the worker should park then.
    ///
    /// # Errors
    /// Returns the token if there are enough searchers.
    pub fn search(self) -> Result<Searching, Self> {
        if self.0.shared.try_search() {
            Ok(Searching(self.0.into_stage(Stage::Searching)))
        } else {
            Err(self)
        }
    }

    /// Announces that `items` items have become visible, by this worker; see [`Idle::announce`].
    ///
    /// [`Idle::announce`]: super::Idle::announce
    pub fn announce(&self, items: usize) -> Announced {
        self.0.shared.announce(Some(self.0.index), items)
    }

    /// Declares that the worker will sleep, without having been a searcher.
    pub fn park(self) -> Parking {
        self.0.park()
    }
}

impl Searching {
    /// Returns the worker's number.
    pub fn index(&self) -> usize {
        self.0.index
    }

    /// Stops searching, because work was found. Wakes the next searcher if this was the last one,
    /// since a thread that announced work meanwhile has relied on it.
    pub fn found(self) -> Active {
        let worker = self.0.into_stage(Stage::Active);
        if worker.shared.count_out() == Remaining::NoneByThisStep {
            worker.shared.wake_next(worker.index);
        }
        Active(worker)
    }

    /// Stops searching as [`found`](Self::found) does, but wakes no worker if `more` says that no
    /// queue holds anything now. This avoids a vain wake after every isolated task.
    ///
    /// `more` must look everywhere an announced item can be. It is called only if no other worker
    /// searches and at least one sleeps.
    pub fn found_with(self, more: impl FnOnce() -> bool) -> Active {
        let worker = self.0.into_stage(Stage::Active);
        let (remaining, relied_on) = worker.shared.count_out_to_look();
        if remaining == Remaining::NoneByThisStep && !worker.shared.sleepers.is_empty() {
            let duty = PassDutyOn(&worker);
            if relied_on {
                // Ordering: IO6, partner: the light fence of IO4; an item that was announced when
                // no worker slept, before a worker parked in reliance on us, is visible after (A3).
                asymmetric::heavy();
            } else {
                // Ordering: SeqCst (IO10), partner: the full fence of IO9; an item that was
                // announced in reliance on us is visible after (A1, A2).
                fence(Ordering::SeqCst);
            }
            if !more() {
                core::mem::forget(duty);
            }
        }
        Active(worker)
    }

    /// Stops searching, because nothing was found, and says that the worker will sleep.
    pub fn park(self) -> Parking {
        self.0.park()
    }
}

impl Woken {
    /// Returns the worker's number.
    pub fn index(&self) -> usize {
        match self {
            Self::Searching(searching) => searching.index(),
            Self::Active(active) => active.index(),
        }
    }

    /// Declares that the worker will sleep, because nothing was found.
    pub fn park(self) -> Parking {
        match self {
            Self::Searching(searching) => searching.park(),
            Self::Active(active) => active.park(),
        }
    }
}

impl Parking {
    /// Returns the worker's number.
    pub fn index(&self) -> usize {
        self.0.index
    }

    /// Calls `look` to look at everything once more, unless another searcher is left to do so. Only
    /// then may the worker sleep. If `look` finds work and this worker was the last searcher, wakes
    /// the next one.
    ///
    /// `look` must cover every place where an announced item can be.
    pub fn recheck<T>(self, look: impl FnOnce() -> Option<T>) -> Recheck<T> {
        self.recheck_with(look, || true)
    }

    /// Looks once more as [`recheck`](Self::recheck) does, but wakes the next searcher only if
    /// `more` says that a queue holds something beside what `look` has taken.
    pub fn recheck_with<T>(
        self,
        look: impl FnOnce() -> Option<T>,
        more: impl FnOnce() -> bool,
    ) -> Recheck<T> {
        let Stage::Parking(remaining) = self.0.stage else {
            unreachable!("a Parking token is in the stage Parking");
        };
        if remaining == Remaining::Others {
            return Recheck::Nothing(Sleeping(self.0.into_stage(Stage::Sleeping)));
        }
        // Ordering: IO5, partner: the light fence of IO4; an item that was announced in reliance on
        // us is visible to the look (Lemma 2 of `idle/proof.md`).
        asymmetric::heavy();
        let Some(work) = look() else {
            return Recheck::Nothing(Sleeping(self.0.into_stage(Stage::Sleeping)));
        };
        match self.0.run_again() {
            // A waker has claimed the worker meanwhile, so it counts as a searcher that found work.
            Woken::Searching(searching) => Recheck::Work(searching.found(), work),
            Woken::Active(active) => {
                if remaining == Remaining::NoneByThisStep {
                    let duty = PassDutyOn(&active.0);
                    if !more() {
                        core::mem::forget(duty);
                    }
                }
                Recheck::Work(active, work)
            }
        }
    }
}

/// Wakes the next searcher when it is dropped, so that a panic of the caller's code does not lose
/// the duty of the last searcher (I3).
struct PassDutyOn<'a>(&'a Membership);

impl Drop for PassDutyOn<'_> {
    fn drop(&mut self) {
        self.0.shared.wake_next(self.0.index);
    }
}

impl Sleeping {
    /// Returns the worker's number.
    pub fn index(&self) -> usize {
        self.0.index
    }

    /// Calls `block` (usually [`Parker::park`](crate::Parker::park)) and returns the reason why the
    /// worker runs again. `block` may return for any reason or none.
    pub fn sleep(self, block: impl FnOnce()) -> Woken {
        block();
        self.0.run_again()
    }

    /// Cancels the sleep before it has begun.
    pub fn cancel(self) -> Woken {
        self.0.run_again()
    }
}

impl core::fmt::Debug for Membership {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "worker {}, {:?}", self.index, self.stage)
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
