//! One thread's stack of pending joins.
//!
//! The algorithm, its invariants and its orderings are described in [`fork_join`](super).
//!
//! | part                       | what it holds                                          |
//! |----------------------------|--------------------------------------------------------|
//! | this file                  | the stack: pushing and popping                         |
//! | [`pending`](self::pending) | what a join leaves on it                               |
//! | [`offer`](self::offer)     | how a join leaves it: offers, steals, force            |
//! | [`wait`](self::wait)       | taking a join back, waiting for it, helping its thief  |
//! | [`current`](mod@self::current) | which stack is the calling thread's                    |

mod current;
mod offer;
mod pending;
mod wait;

use core::cell::Cell;
use core::fmt;
use core::ptr::{self, NonNull};

use stealyard_park::{Parker, SpinConfig};
use stealyard_sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use stealyard_sync::{CachePadded, asymmetric};

use super::JoinHost;
use super::sleeper::Sleeper;

pub use current::JoinStackGuard;
pub(super) use current::current;
pub(super) use pending::PendingJoin;

/// How many joins may be pending in each other before the deeper ones are not offered any more.
const DEPTH_MAX: usize = if stealyard_sync::MODELLED { 4 } else { 4096 };

type Slot = AtomicPtr<PendingJoin>;

/// A slot on a stack of pending joins.
#[derive(Clone, Copy, Debug)]
pub(super) struct StackSlot(*mut Slot);

/// One thread's pending joins. An executor keeps one for each thread that runs tasks, and lets the
/// other threads reach it; see [`JoinHost`].
pub struct JoinStack {
    top: AtomicPtr<Slot>,
    /// Moved only by a thread that has claimed the offer slot.
    base: AtomicPtr<Slot>,
    end: *mut Slot,
    host: Cell<Option<NonNull<dyn JoinHost>>>,
    /// A worker has nothing to do and has asked for an offer.
    is_wanted: AtomicBool,
    slots: Box<[Slot]>,
    offers: AtomicU64,
    thieves: CachePadded<Thieves>,
    sleeper: CachePadded<Sleeper>,
    /// The owner's end of `sleeper`.
    parker: Parker,
    spin: SpinConfig,
}

/// What thieves write to.
struct Thieves {
    /// The offer slot (F3).
    offer: AtomicPtr<PendingJoin>,
    /// A thread that sleeps until this one's half for it is done, and would rather help.
    helper: AtomicPtr<JoinStack>,
}

// SAFETY: 1. the cell and the parker are reached through `current`, on the thread that entered
// (F1); all else that changes is atomic.
unsafe impl Sync for JoinStack {}
// SAFETY: 1. the raw pointers lead into its own slots, or are set only while a thread has entered.
unsafe impl Send for JoinStack {}

impl JoinStack {
    /// Makes an empty stack, which no thread has entered yet. Its thread spins within the default
    /// bounds before it sleeps in a join or a scope.
    pub fn new() -> Self {
        Self::with_spin(SpinConfig::default())
    }

    /// Makes an empty stack, which no thread has entered yet. Its thread spins within the bounds of
    /// `spin` before it sleeps in a join or a scope; with [`SpinConfig::OFF`] it sleeps at once.
    pub fn with_spin(spin: SpinConfig) -> Self {
        // The way the fences go must be known before the first one that counts.
        asymmetric::mode();
        let mut slots: Box<[Slot]> = (0..DEPTH_MAX).map(|_| Slot::new(ptr::null_mut())).collect();
        let range = slots.as_mut_ptr_range();
        let (sleeper, parker) = Sleeper::new(spin);
        Self {
            top: AtomicPtr::new(range.start),
            base: AtomicPtr::new(range.start),
            end: range.end,
            host: Cell::new(None),
            is_wanted: AtomicBool::new(false),
            slots,
            offers: AtomicU64::new(0),
            thieves: CachePadded::new(Thieves {
                offer: AtomicPtr::new(ptr::null_mut()),
                helper: AtomicPtr::new(ptr::null_mut()),
            }),
            sleeper: CachePadded::new(sleeper),
            parker,
            spin,
        }
    }

    /// Returns within which bounds its thread spins before it sleeps in a join or a scope.
    pub fn spin(&self) -> SpinConfig {
        self.spin
    }

    /// Returns the host that the owner has entered with. Called by the owner only.
    pub(super) fn host(&self) -> Option<&dyn JoinHost> {
        // SAFETY: 1. valid while this thread is entered, and only its owner gets here (F1).
        self.host.get().map(|host| unsafe { host.as_ref() })
    }

    /// Returns the next slot, unless the stack is full. If it is, offers an older join if one is
    /// wanted.
    #[inline(always)]
    pub(super) fn reserve(&self) -> Option<StackSlot> {
        // Ordering: Relaxed; only this thread writes it.
        let top = self.top.load(Ordering::Relaxed);
        if top == self.end {
            self.offer_if_wanted();
            return None;
        }
        Some(StackSlot(top))
    }

    /// Puts a join into a slot, and offers the oldest one if one is wanted.
    ///
    /// # Safety
    /// 1. `slot` is from `reserve` just now.
    /// 2. `pending` stays where it is until `pop`.
    #[inline(always)]
    pub(super) unsafe fn push(&self, slot: StackSlot, pending: &PendingJoin) {
        // SAFETY: 1. below the end (1).
        let place = unsafe { &*slot.0 };
        // Ordering: Relaxed; published with the top (J12).
        place.store(ptr::from_ref(pending).cast_mut(), Ordering::Relaxed);
        // SAFETY: 1. at most the end.
        let top = unsafe { slot.0.add(1) };
        // Ordering: Release (J12); the slot, and the join.
        self.top.store(top, Ordering::Release);
        // Ordering: light (J15); partner J16.
        asymmetric::light();
        self.offer_if_wanted();
    }

    /// Takes the newest join back. Returns true if it is the caller's to run, and false if it was
    /// run elsewhere, for whose end this waits.
    #[inline(always)]
    pub(super) fn pop(&self, slot: StackSlot, pending: &PendingJoin) -> bool {
        // Ordering: Relaxed; the fence orders it (J11).
        self.top.store(slot.0, Ordering::Relaxed);
        // Ordering: light (J11); partner J10.
        asymmetric::light();
        // Ordering: Relaxed; the fence orders it (J11).
        self.base.load(Ordering::Relaxed) <= slot.0 || self.take_back(slot, pending)
    }
}

impl Default for JoinStack {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for JoinStack {
    fn drop(&mut self) {
        // Ordering: Relaxed; the last owner.
        let top = self.top.load(Ordering::Relaxed).cast_const();
        debug_assert!(top == self.slots.as_ptr(), "no join is pending");
    }
}

impl fmt::Debug for JoinStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinStack")
            .field("has_offer", &self.has_offer())
            .field("offers", &self.offers())
            .finish_non_exhaustive()
    }
}
