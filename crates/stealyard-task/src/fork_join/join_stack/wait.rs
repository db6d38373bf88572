//! Taking a half back that may be gone, and waiting for it if it is.

use core::ptr;

use stealyard_sync::asymmetric;
use stealyard_sync::atomic::Ordering;
use stealyard_sync::hint::spin_loop;
use stealyard_sync::thread::panicking;

use super::offer::claimed;
use super::pending::Offered;
use super::{JoinStack, PendingJoin, StackSlot};
use crate::fork_join::sleeper::Spinning;
use crate::task::{Ran, Task};

impl JoinStack {
    /// Takes a join back that was offered, or that a thread is forcing out. Returns true if it is
    /// the owner's after all, and false once it was done elsewhere.
    #[cold]
    #[inline(never)]
    pub(super) fn take_back(&self, slot: StackSlot, pending: &PendingJoin) -> bool {
        let job = ptr::from_ref(pending).cast_mut();
        // By F3 there is no other join in the offer slot: ours, none, or a claim that ends soon.
        let was_offered = loop {
            if self.claim(job) {
                break true;
            }
            if self.claim(ptr::null_mut()) {
                break false;
            }
            spin_loop();
        };
        // Ordering: Relaxed; the thread that moved it last had the claim, too (F3).
        let base = self.base.load(Ordering::Relaxed);
        let is_ours = was_offered || base <= slot.0;
        // Ordering: Relaxed; `release` publishes it.
        self.base.store(base.min(slot.0), Ordering::Relaxed);
        self.release(ptr::null_mut());
        if !is_ours {
            // SAFETY: 1. it is neither private nor in the slot: it was prepared and taken.
            self.wait(unsafe { pending.offered() });
        }
        is_ours
    }

    /// Waits until the half is done: helps its thief, looks for a while, sleeps.
    fn wait(&self, half: &Offered) {
        // A thread that unwinds runs no more of the user's code than it must.
        let may_help = !panicking();
        let mut spin = Spinning::new(&self.parker);
        while !half.is_done() {
            let thief = half.thief();
            // SAFETY: 1. the stacks of a host stay in memory (F7).
            let thief = unsafe { thief.as_ref() }.filter(|_| may_help);
            if thief.is_some_and(|thief| self.help(thief, half)) {
                spin.end(true);
            } else if spin.goes_on() {
                // Looks again.
            } else if let Some(part) = thief.and_then(Self::force) {
                self.run_part(part, half);
            } else {
                let has_begun = || thief.is_none() && may_help && !half.thief().is_null();
                self.sleep(thief, &|| half.is_done() || has_begun());
            }
        }
        spin.end(true);
    }

    /// Sleeps until the wait is over, or until `thief` has a part that this thread can run.
    fn sleep(&self, thief: Option<&Self>, is_over: &impl Fn() -> bool) {
        let own = ptr::from_ref(self).cast_mut();
        if let Some(thief) = thief {
            // Ordering: Relaxed; `sleep_unless` fences before it looks at the offer (J8).
            thief.thieves.helper.store(own, Ordering::Relaxed);
            thief.request_offer();
        }
        let has_part = |thief: &Self| {
            // Ordering: heavy (J16); partner J15. Unmodelled: the fence of `sleep_unless`
            // (`sleeper.rs`, Z1) comes just before and does the same in a model, where a light
            // fence is a full one; elsewhere only a heavy fence pairs with a light one.
            asymmetric::heavy();
            thief.has_work()
        };
        self.sleeper
            .sleep_unless(&self.parker, || is_over() || thief.is_some_and(has_part));
        if let Some(thief) = thief {
            // Ordering: Relaxed; it only takes the hint away; failure Relaxed: another's hint
            // stays.
            let _: Result<_, _> = thief.thieves.helper.compare_exchange(
                own,
                ptr::null_mut(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }

    /// Runs a part of the half that `thief` runs for this thread (F6), or asks for one. Returns
    /// whether it ran one.
    fn help(&self, thief: &Self, half: &Offered) -> bool {
        // Ordering: Relaxed; a first guess for the exchange.
        let offer = thief.thieves.offer.load(Ordering::Relaxed);
        if offer.is_null() || offer == claimed() {
            thief.request_offer();
            return false;
        }
        match thief.take_offer(offer) {
            Some(part) => {
                self.run_part(part, half);
                true
            }
            None => false,
        }
    }

    /// Runs what was taken from the thread that runs the half.
    fn run_part(&self, part: Task, half: &Offered) {
        // That thread may have been done with the half, and gone on to something else, when the
        // part was taken. Whatever the part is, it must be run, but then not inside this wait (F6).
        if half.was_done()
            && let Some(host) = self.host()
        {
            host.push(part);
            return;
        }
        let ran = part.run();
        debug_assert!(matches!(ran, Ran::Done), "a job runs to its end");
    }
}
