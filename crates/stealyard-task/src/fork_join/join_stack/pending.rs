//! What a join leaves on its thread's stack while its first half runs.

use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

use stealyard_sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use stealyard_sync::cell::UnsafeCell;

use super::{JoinStack, current};
use crate::task::StackJob;

const RUNNING: u32 = 0;
const DONE: u32 = 1;

/// The second half of a join as its stack and its thieves see it.
#[repr(C)]
pub(in crate::fork_join) struct PendingJoin {
    job: StackJob,
    /// Initialised only when the join is offered, so a join that stays private does not pay for it.
    offered: UnsafeCell<MaybeUninit<Offered>>,
}

/// What only a join that was offered needs.
pub(super) struct Offered {
    state: AtomicU32,
    owner: *const JoinStack,
    thief: AtomicPtr<JoinStack>,
}

impl PendingJoin {
    #[inline(always)]
    pub(in crate::fork_join) fn new(execute: unsafe fn(NonNull<StackJob>)) -> Self {
        Self {
            job: StackJob { execute },
            offered: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// Writes what the half needs to be run elsewhere.
    ///
    /// # Safety
    /// 1. The join is pending, and was private until now.
    /// 2. The caller has the claim of its owner's offer slot.
    pub(super) unsafe fn prepare(&self, owner: &JoinStack) {
        let offered = Offered {
            state: AtomicU32::new(RUNNING),
            owner,
            thief: AtomicPtr::new(ptr::null_mut()),
        };
        // SAFETY: 1. the owner comes for the join only with the claim (2).
        self.offered
            .with_mut(|place| unsafe { place.write(MaybeUninit::new(offered)) });
    }

    /// Returns what `prepare` wrote.
    ///
    /// # Safety
    /// 1. The join was prepared.
    pub(super) unsafe fn offered(&self) -> &Offered {
        // SAFETY: 1. written before the join was offered (1), and only read since.
        let offered = self.offered.with(|offered| unsafe { &*offered });
        // SAFETY: 1. written (1).
        unsafe { offered.assume_init_ref() }
    }

    /// Notes which thread runs the half: the calling one, which has taken it.
    pub(in crate::fork_join) fn begin(&self) {
        let thief = current::address();
        // SAFETY: 1. a half that was taken was prepared before.
        let offered = unsafe { self.offered() };
        // Ordering: Relaxed; all stacks are known to all threads (F7), and `wake` fences
        // (`sleeper.rs`, Z2).
        offered.thief.store(thief.cast_mut(), Ordering::Relaxed);
        // An owner that sleeps does not know yet which thread to help.
        // SAFETY: 1. the stacks of a host stay in memory (F7).
        unsafe { &*offered.owner }.sleeper.wake();
    }

    /// Tells the owner that the half is done. The join's frame may end from then on.
    ///
    /// # Safety
    /// 1. The join was prepared, and this is the last use of it.
    pub(in crate::fork_join) unsafe fn done(pending: NonNull<Self>) {
        // SAFETY: 1. the owner waits for the next lines.
        let job = unsafe { pending.as_ref() };
        // SAFETY: 1. prepared, by the caller's promise.
        let offered = unsafe { job.offered() };
        let owner = offered.owner;
        // Ordering: Release (J3).
        offered.state.store(DONE, Ordering::Release);
        // SAFETY: 1. not the join, but its owner's stack, which outlives the host's threads (F7).
        unsafe { (*owner).sleeper.wake() };
    }
}

impl Offered {
    /// Whether the half has been run. The caller then has all it did.
    pub(super) fn is_done(&self) -> bool {
        // Ordering: Acquire (J4).
        self.state.load(Ordering::Acquire) == DONE
    }

    /// Whether the half had been run when the caller took a part of it.
    pub(super) fn was_done(&self) -> bool {
        // Ordering: Relaxed; taking the part brought "done" if it was done before (J2).
        self.state.load(Ordering::Relaxed) == DONE
    }

    /// Returns the stack of the thread that runs the half; null if none has begun, or if that
    /// thread has entered no stack.
    pub(super) fn thief(&self) -> *mut JoinStack {
        // Ordering: Relaxed; all stacks are known to all threads (F7), and before a sleep
        // `sleep_unless` fences.
        self.thief.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for PendingJoin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingJoin").finish_non_exhaustive()
    }
}
