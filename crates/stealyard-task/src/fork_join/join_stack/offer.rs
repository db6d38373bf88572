//! How a pending join leaves its thread: the owner offers the oldest one when it was asked to, or a
//! thief forces it out.
//!
//! The slot for the offer is also the lock of the stack's base: a thread that has *claimed* the
//! slot may move the base (F3). The orderings are described in [`fork_join`](crate::fork_join).

use core::ptr::{self, NonNull};

use stealyard_sync::asymmetric;
use stealyard_sync::atomic::{Ordering, fence};

use super::{JoinStack, PendingJoin};
use crate::task::Task;

/// Returns what the slot holds while a thread has claimed it (F3).
pub(super) fn claimed() -> *mut PendingJoin {
    ptr::without_provenance_mut(1)
}

/// What thieves do.
impl JoinStack {
    /// Asks the owner to offer its oldest pending join with its next `join`. Any thread.
    #[inline]
    pub fn request_offer(&self) {
        // Ordering: Relaxed; a hint, and only the first thief that asks writes the line.
        if !self.is_wanted.load(Ordering::Relaxed) {
            // Ordering: Relaxed; a hint: the owner looks at every join.
            self.is_wanted.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a join is offered. Any thread; it may be stale.
    #[inline]
    pub fn has_offer(&self) -> bool {
        // Ordering: Relaxed; `steal` decides.
        let offer = self.thieves.offer.load(Ordering::Relaxed);
        !offer.is_null() && offer != claimed()
    }

    /// Takes the half that is offered, if there is one. Any worker of the same host.
    #[inline]
    pub fn steal(&self) -> Option<Task> {
        // Ordering: Relaxed; a first guess for the exchange.
        let offer = self.thieves.offer.load(Ordering::Relaxed);
        if offer.is_null() || offer == claimed() {
            return None;
        }
        self.take_offer(offer)
    }

    /// Takes the half that was seen in the slot, unless another thread has been faster.
    pub(super) fn take_offer(&self, offer: *mut PendingJoin) -> Option<Task> {
        // Ordering: Acquire (J2); failure Relaxed, since it is another thread's then.
        let taken = self.thieves.offer.compare_exchange(
            offer,
            ptr::null_mut(),
            Ordering::Acquire,
            Ordering::Relaxed,
        );
        let job = NonNull::new(taken.ok()?)?;
        // SAFETY: 1. offered, its frame stays until it was run (F5); 2. it is out of the slot (F4);
        // 3. a half catches the panics of its closure.
        Some(unsafe { Task::from_job(job.cast()) })
    }

    /// Takes the oldest half out of the private part, without waiting for the owner's next join.
    /// Any worker of the same host.
    ///
    /// Where the heavy fence is `membarrier` it interrupts every core that runs this process, so
    /// this is for a worker that has found nothing else and is about to sleep.
    #[cold]
    pub fn force(&self) -> Option<Task> {
        if !self.may_have_private() || !self.claim(ptr::null_mut()) {
            return self.steal();
        }
        // Ordering: Relaxed; the thread that moved it last had the claim, too (F3).
        let base = self.base.load(Ordering::Relaxed);
        // Ordering: Relaxed; the fence below is what counts.
        if self.top.load(Ordering::Relaxed) <= base {
            self.release(ptr::null_mut());
            return None;
        }
        // SAFETY: 1. a top that once was is above it, so it is below the end.
        let next = unsafe { base.add(1) };
        // Ordering: Relaxed; the fence orders it (J10).
        self.base.store(next, Ordering::Relaxed);
        // Ordering: heavy (J10); partner J11.
        asymmetric::heavy();
        // Ordering: Acquire (J9).
        if self.top.load(Ordering::Acquire) <= base {
            // Its owner was faster.
            // Ordering: Relaxed; `release` publishes it.
            self.base.store(base, Ordering::Relaxed);
            self.release(ptr::null_mut());
            return None;
        }
        // SAFETY: 1. below the top.
        let oldest = unsafe { &*base };
        // Ordering: Relaxed; published with the top (J12), and its owner cannot pop it (J10).
        let job = oldest.load(Ordering::Relaxed);
        // SAFETY: 1. pending, so its frame stays (F5).
        let pending = unsafe { &*job };
        // SAFETY: 1. pending, and private until the base moved; 2. ours by the claim.
        unsafe { pending.prepare(self) };
        self.release(ptr::null_mut());
        // SAFETY: 1. as for an offer: its frame stays until it was run; 2. its owner waits for it
        // (F4);
        // 3. a half catches the panics of its closure.
        NonNull::new(job).map(|job| unsafe { Task::from_job(job.cast()) })
    }

    /// Whether there is a half to steal or to force out. Any thread; it may be stale.
    ///
    /// After a call of [`request_offer`](Self::request_offer) and a heavy fence of
    /// `stealyard_sync::asymmetric` behind it, either this sees every join that was pushed, or the
    /// owner sees the request with its next join (J15).
    #[inline]
    pub fn has_work(&self) -> bool {
        self.has_offer() || self.may_have_private()
    }

    #[inline]
    fn may_have_private(&self) -> bool {
        // Ordering: Relaxed; a guess.
        let base = self.base.load(Ordering::Relaxed);
        // Ordering: Relaxed; a guess.
        base < self.top.load(Ordering::Relaxed)
    }

    /// Claims the offer slot, if it holds `expected`.
    pub(super) fn claim(&self, expected: *mut PendingJoin) -> bool {
        // Ordering: Acquire (J14); failure Relaxed, since it is judged anew.
        self.thieves
            .offer
            .compare_exchange(expected, claimed(), Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Releases the claim, leaving `offer` in the slot.
    pub(super) fn release(&self, offer: *mut PendingJoin) {
        // Ordering: Release (J1, J13).
        self.thieves.offer.store(offer, Ordering::Release);
    }

    /// Returns how many joins the owner has offered so far. Any thread.
    pub fn offers(&self) -> u64 {
        // Ordering: Relaxed; a counter with one writer.
        self.offers.load(Ordering::Relaxed)
    }
}

/// What the owner does.
impl JoinStack {
    #[inline(always)]
    pub(super) fn offer_if_wanted(&self) {
        // Ordering: Relaxed; a hint, see `request_offer`.
        if self.is_wanted.load(Ordering::Relaxed) {
            self.offer();
        }
    }

    /// Puts the oldest private join into the slot, if that is empty.
    #[cold]
    #[inline(never)]
    fn offer(&self) {
        if self.has_offer() || !self.may_have_private() || !self.claim(ptr::null_mut()) {
            return;
        }
        // Ordering: Relaxed; the thread that moved it last had the claim, too (F3).
        let base = self.base.load(Ordering::Relaxed);
        // Ordering: Relaxed; only this thread writes it.
        if base >= self.top.load(Ordering::Relaxed) {
            self.release(ptr::null_mut());
            return;
        }
        // SAFETY: 1. below the top.
        let oldest = unsafe { &*base };
        // Ordering: Relaxed; this thread wrote it.
        let job = oldest.load(Ordering::Relaxed);
        // SAFETY: 1. at most the top.
        let next = unsafe { base.add(1) };
        // Ordering: Relaxed; `release` publishes it.
        self.base.store(next, Ordering::Relaxed);
        // SAFETY: 1. pending, so its frame stays (F5).
        let pending = unsafe { &*job };
        // SAFETY: 1. pending, and private until the base moved; 2. the claim is ours.
        unsafe { pending.prepare(self) };
        // Ordering: Relaxed; a hint, set again below if a worker is still idle.
        self.is_wanted.store(false, Ordering::Relaxed);
        self.release(job);
        // Ordering: Relaxed; a counter with one writer.
        let offers = self.offers.load(Ordering::Relaxed);
        // Ordering: Relaxed; as above.
        self.offers.store(offers + 1, Ordering::Relaxed);
        self.announce();
    }

    /// Wakes threads for a join that was put into the slot: one that sleeps until this one's half
    /// for it is done, and idle workers of the host.
    fn announce(&self) {
        // Ordering: SeqCst (J7); partner J8.
        fence(Ordering::SeqCst);
        // Ordering: Relaxed; the fence orders it (J7), and all stacks are known to all threads
        // (F7).
        let helper = self.thieves.helper.load(Ordering::Relaxed);
        // SAFETY: 1. the stacks of a host stay in memory (F7).
        if let Some(helper) = unsafe { helper.as_ref() } {
            helper.sleeper.wake_after_fence();
        }
        if let Some(host) = self.host() {
            host.announce_offer();
            if host.has_idle_worker() {
                self.request_offer();
            }
        }
    }
}
