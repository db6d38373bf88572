//! One thread's stack of pending jobs, and how hungry workers get at it.
//!
//! The algorithm, its invariants and its orderings are described in [`fork_join`](super).

use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

use stealyard_park::Parker;
use stealyard_sync::asymmetric;
use stealyard_sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};
use stealyard_sync::cell::UnsafeCell;
use stealyard_sync::const_thread_local;
use stealyard_sync::hint::spin_loop;
use stealyard_sync::thread::panicking;
use stealyard_sync::{Arc, CachePadded};

use super::board::Boards;
use super::sleeper::{Sleeper, Spinning};
use crate::task::{Ran, StackJob, Task};

/// How many joins may be pending in each other before the deeper ones are not offered any more.
const DEPTH_MAX: usize = if stealyard_sync::MODELLED { 4 } else { 4096 };
const RUNNING: u32 = 0;
const DONE: u32 = 1;

/// What the jobs of one scheduler need of it.
pub trait Crew: Sync {
    /// A job was put into the calling worker's mailbox: if somebody sleeps and nobody searches, wake
    /// one, as for any other task.
    fn offered(&self);

    /// Whether a worker searches or sleeps: then the next join offers a job, too.
    fn hungry(&self) -> bool;

    /// Puts a task into the calling worker's queue, or where the workers find it if the thread is no worker's.
    fn push(&self, task: Task);

    /// Where the scopes of this crew show their jobs.
    fn boards(&self) -> &Arc<Boards>;

    /// The number of the calling worker.
    fn index(&self) -> usize;
}

const_thread_local! {
    static CURRENT: Cell<*const Jobs> = Cell::new(ptr::null());
}

/// The `Jobs` of this thread, if it is a worker.
///
/// # Safety
/// 1. The caller does not use it after it has left the worker's loop.
#[inline(always)]
pub(super) unsafe fn current<'a>() -> Option<&'a Jobs> {
    let jobs = CURRENT.try_with(Cell::get).unwrap_or(ptr::null());
    // SAFETY: 1. `Entered` keeps it while it is there.
    unsafe { jobs.as_ref() }
}

/// What a join leaves on its thread's stack.
#[repr(C)]
pub(super) struct Pending {
    job: StackJob,
    /// Written when the job is offered: who is never offered does not pay for it.
    offered: UnsafeCell<MaybeUninit<Offered>>,
}

/// What only a job that was offered needs.
struct Offered {
    state: AtomicU32,
    owner: *const Jobs,
    thief: AtomicPtr<Jobs>,
}

impl Pending {
    #[inline(always)]
    pub(super) fn new(execute: unsafe fn(NonNull<StackJob>)) -> Self {
        Self {
            job: StackJob { execute },
            offered: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// # Safety
    /// 1. The job was offered.
    unsafe fn offered(&self) -> &Offered {
        // SAFETY: 1. written by the owner before it was offered (1), and only read since.
        let offered = self.offered.with(|offered| unsafe { &*offered });
        // SAFETY: 1. written (1).
        unsafe { offered.assume_init_ref() }
    }

    /// Whoever took it out of the mailbox begins to run it.
    pub(super) fn begin(&self) {
        let thief = CURRENT.try_with(Cell::get).unwrap_or(ptr::null());
        // SAFETY: 1. it was in the mailbox.
        let offered = unsafe { self.offered() };
        // Ordering: Relaxed; all `Jobs` are known to all threads (F7), and `wake` fences (Z2).
        offered.thief.store(thief.cast_mut(), Ordering::Relaxed);
        // An owner that sleeps does not know yet whom to help.
        // SAFETY: 1. the crew's `Jobs` stay in memory (F7).
        unsafe { &*offered.owner }.sleeper.wake();
    }

    /// It is done: its frame may go.
    ///
    /// # Safety
    /// 1. The job was offered, and this is the last use of it.
    pub(super) unsafe fn done(pending: NonNull<Self>) {
        // SAFETY: 1. the owner waits for the next lines.
        let job = unsafe { pending.as_ref() };
        // SAFETY: 1. offered, by the caller's promise.
        let offered = unsafe { job.offered() };
        let owner = offered.owner;
        // Ordering: Release (J3).
        offered.state.store(DONE, Ordering::Release);
        // SAFETY: 1. not the job, but its owner's `Jobs`, which outlives the crew's threads (F7).
        unsafe { (*owner).sleeper.wake() };
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

type Slot = AtomicPtr<Pending>;

/// A place on the stack of jobs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(*mut Slot);

/// In the mailbox: somebody moves the base (F3).
fn claimed() -> *mut Pending {
    ptr::without_provenance_mut(1)
}

/// One thread's pending jobs; see the file `fork_join.rs`. The scheduler keeps one for each thread that
/// runs tasks, and lets the other threads reach it.
pub struct Jobs {
    top: AtomicPtr<Slot>,
    /// Moved only by who has claimed the mailbox.
    base: AtomicPtr<Slot>,
    end: *mut Slot,
    crew: Cell<Option<NonNull<dyn Crew>>>,
    /// Somebody is hungry.
    wanted: AtomicBool,
    slots: Box<[Slot]>,
    offers: AtomicU64,
    thieves: CachePadded<Thieves>,
    sleeper: CachePadded<Sleeper>,
    /// The owner's end of `sleeper`.
    parker: Parker,
}

/// What thieves write to.
struct Thieves {
    mail: AtomicPtr<Pending>,
    /// A thread that sleeps until this one's job for it is done, and would rather help.
    helper: AtomicPtr<Jobs>,
}

// SAFETY: 1. the cell and the parker are reached through `current`, on the thread that entered (F1);
// all else that changes is atomic.
unsafe impl Sync for Jobs {}
// SAFETY: 1. the raw pointers lead into its own slots, or are set only while a thread has entered.
unsafe impl Send for Jobs {}

impl Jobs {
    /// An empty stack, nobody's yet.
    pub fn new() -> Self {
        // The way the fences go must be known before the first one that counts.
        asymmetric::mode();
        let mut slots: Box<[Slot]> = (0..DEPTH_MAX).map(|_| Slot::new(ptr::null_mut())).collect();
        let range = slots.as_mut_ptr_range();
        let (sleeper, parker) = Sleeper::new();
        Self {
            top: AtomicPtr::new(range.start),
            base: AtomicPtr::new(range.start),
            end: range.end,
            crew: Cell::new(None),
            wanted: AtomicBool::new(false),
            slots,
            offers: AtomicU64::new(0),
            thieves: CachePadded::new(Thieves {
                mail: AtomicPtr::new(ptr::null_mut()),
                helper: AtomicPtr::new(ptr::null_mut()),
            }),
            sleeper: CachePadded::new(sleeper),
            parker,
        }
    }

    /// Makes this the calling thread's stack until the returned value is dropped.
    ///
    /// # Safety
    /// 1. No other thread has entered it.
    /// 2. The returned value is dropped on this thread, when no `join` or `scope` runs on it.
    /// 3. It stays in memory until every thread that may take a job of it has left (F7).
    pub unsafe fn enter<'a>(&'a self, crew: &'a dyn Crew) -> Entered<'a> {
        // The lifetime is kept by `Entered`.
        let crew = ptr::from_ref(crew);
        // SAFETY: 1. only the lifetime changes; 2. the pointer is cleared before `'a` ends.
        let crew = unsafe {
            core::mem::transmute::<*const (dyn Crew + 'a), *mut (dyn Crew + 'static)>(crew)
        };
        self.crew.set(NonNull::new(crew));
        let outer = CURRENT.with(|current| current.replace(self));
        Entered {
            jobs: self,
            outer,
            thread: PhantomData,
        }
    }

    /// A hungry worker asks this one to offer a job. Any thread.
    pub fn want(&self) {
        // Ordering: Relaxed; a hint, and only the first asker writes the line.
        if !self.wanted.load(Ordering::Relaxed) {
            // Ordering: Relaxed; a hint: the owner looks at every join.
            self.wanted.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a job is offered. Any thread; it may be stale.
    pub fn has_offer(&self) -> bool {
        // Ordering: Relaxed; `steal` decides.
        let mail = self.thieves.mail.load(Ordering::Relaxed);
        !mail.is_null() && mail != claimed()
    }

    /// Takes the offered job, if there is one. Any worker of the same crew.
    pub fn steal(&self) -> Option<Task> {
        // Ordering: Relaxed; a first guess for the exchange.
        let mail = self.thieves.mail.load(Ordering::Relaxed);
        if mail.is_null() || mail == claimed() {
            return None;
        }
        self.take_mail(mail)
    }

    fn take_mail(&self, mail: *mut Pending) -> Option<Task> {
        // Ordering: Acquire (J2); failure Relaxed, since it is somebody else's then.
        let taken = self.thieves.mail.compare_exchange(
            mail,
            ptr::null_mut(),
            Ordering::Acquire,
            Ordering::Relaxed,
        );
        let job = NonNull::new(taken.ok()?)?;
        // SAFETY: 1. offered, its frame stays until it was run (F5), and it is out of the mailbox (F4).
        Some(unsafe { Task::from_job(job.cast()) })
    }

    /// Takes the oldest job out of the private part, without waiting for the owner's next join. It
    /// costs an interrupt of every core where the heavy fence is `membarrier`: for a worker that
    /// found nothing else and is about to sleep.
    #[cold]
    pub fn force(&self) -> Option<Task> {
        if !self.may_have_private() || !self.claim(ptr::null_mut()) {
            return self.steal();
        }
        // Ordering: Relaxed; whoever moved it last had the claim, too (F3).
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
        // Ordering: Acquire (J12).
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
        // SAFETY: 1. pending, so its frame stays (F5); 2. ours by the claim.
        unsafe { self.prepare(job) };
        self.release(ptr::null_mut());
        // SAFETY: 1. as for an offer: its frame stays until it was run; its owner waits for it (F4).
        NonNull::new(job).map(|job| unsafe { Task::from_job(job.cast()) })
    }

    /// Whether there is a job to steal or to force. Any thread; it may be stale. But if the caller has
    /// called [`want`](Self::want), and then [`asymmetric::heavy`], either this sees every job that
    /// was pushed, or the owner sees the wish (J15).
    pub fn has_work(&self) -> bool {
        self.has_offer() || self.may_have_private()
    }

    fn may_have_private(&self) -> bool {
        // Ordering: Relaxed; a guess.
        let base = self.base.load(Ordering::Relaxed);
        // Ordering: Relaxed; a guess.
        base < self.top.load(Ordering::Relaxed)
    }

    /// Claims the mailbox, if it holds `expected`.
    fn claim(&self, expected: *mut Pending) -> bool {
        // Ordering: Acquire (J14); failure Relaxed, since it is judged anew.
        self.thieves
            .mail
            .compare_exchange(expected, claimed(), Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Gives the claim up, leaving `mail`.
    fn release(&self, mail: *mut Pending) {
        // Ordering: Release (J1, J13).
        self.thieves.mail.store(mail, Ordering::Release);
    }

    /// Gives a job what it needs to be run elsewhere.
    ///
    /// # Safety
    /// 1. The job is pending.
    /// 2. The caller has the claim, and the job was private until now.
    unsafe fn prepare(&self, job: *mut Pending) {
        let offered = Offered {
            state: AtomicU32::new(RUNNING),
            owner: self,
            thief: AtomicPtr::new(ptr::null_mut()),
        };
        // SAFETY: 1. pending jobs' frames stay (1).
        let place = unsafe { &(*job).offered };
        // SAFETY: 1. its owner comes for it only with the claim (2).
        place.with_mut(|place| unsafe { place.write(MaybeUninit::new(offered)) });
    }

    /// How many jobs were offered so far. Any thread.
    pub fn offers(&self) -> u64 {
        // Ordering: Relaxed; a counter with one writer.
        self.offers.load(Ordering::Relaxed)
    }

    pub(super) fn crew(&self) -> Option<&dyn Crew> {
        // SAFETY: 1. valid while this thread is entered, and only its owner gets here (F1).
        self.crew.get().map(|crew| unsafe { crew.as_ref() })
    }

    /// The next place, unless the stack is full; then the older jobs are offered if wanted.
    #[inline(always)]
    pub(super) fn reserve(&self) -> Option<Place> {
        // Ordering: Relaxed; only this thread writes it.
        let top = self.top.load(Ordering::Relaxed);
        if top == self.end {
            self.offer_if_wanted();
            return None;
        }
        Some(Place(top))
    }

    /// Puts a job into a place.
    ///
    /// # Safety
    /// 1. `place` is from `reserve` just now.
    /// 2. `pending` stays where it is until `pop`.
    #[inline(always)]
    pub(super) unsafe fn push(&self, place: Place, pending: &Pending) {
        // SAFETY: 1. below the end (1).
        let slot = unsafe { &*place.0 };
        // Ordering: Relaxed; published with the top (J12).
        slot.store(ptr::from_ref(pending).cast_mut(), Ordering::Relaxed);
        // SAFETY: 1. at most the end.
        let top = unsafe { place.0.add(1) };
        // Ordering: Release (J12); the slot, and the job.
        self.top.store(top, Ordering::Release);
        // Ordering: light (J15); partner J16.
        asymmetric::light();
        self.offer_if_wanted();
    }

    /// Takes the newest job back: true if it is the caller's to run, false if it was run elsewhere.
    #[inline(always)]
    pub(super) fn pop(&self, place: Place, pending: &Pending) -> bool {
        // Ordering: Relaxed; the fence orders it (J11).
        self.top.store(place.0, Ordering::Relaxed);
        // Ordering: light (J11); partner J10.
        asymmetric::light();
        // Ordering: Relaxed; the fence orders it (J11).
        self.base.load(Ordering::Relaxed) <= place.0 || self.take_back(place, pending)
    }

    #[inline(always)]
    fn offer_if_wanted(&self) {
        // Ordering: Relaxed; a hint, see `want`.
        if self.wanted.load(Ordering::Relaxed) {
            self.offer();
        }
    }

    /// Puts the oldest private job into the mailbox, if that is empty.
    #[cold]
    #[inline(never)]
    fn offer(&self) {
        if self.has_offer() || !self.may_have_private() || !self.claim(ptr::null_mut()) {
            return;
        }
        // Ordering: Relaxed; whoever moved it last had the claim, too (F3).
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
        // SAFETY: 1. pending; 2. the claim is ours, and it was private.
        unsafe { self.prepare(job) };
        // Ordering: Relaxed; a hint, set again below if somebody stays hungry.
        self.wanted.store(false, Ordering::Relaxed);
        self.release(job);
        // Ordering: Relaxed; a counter with one writer.
        let offers = self.offers.load(Ordering::Relaxed);
        // Ordering: Relaxed; as above.
        self.offers.store(offers + 1, Ordering::Relaxed);
        self.announce();
    }

    /// A job was put into the mailbox: tells those who sleep.
    fn announce(&self) {
        // Ordering: SeqCst (J7); partner J8.
        fence(Ordering::SeqCst);
        // Ordering: Relaxed; the fence orders it (J7), and all `Jobs` are known to all threads (F7).
        let helper = self.thieves.helper.load(Ordering::Relaxed);
        // SAFETY: 1. the crew's `Jobs` stay in memory (F7).
        if let Some(helper) = unsafe { helper.as_ref() } {
            helper.sleeper.wake_after_fence();
        }
        if let Some(crew) = self.crew() {
            crew.offered();
            if crew.hungry() {
                self.want();
            }
        }
    }

    /// The job in this place was offered, or somebody forces it: true if it is the owner's after all,
    /// false once it was done elsewhere.
    #[cold]
    #[inline(never)]
    fn take_back(&self, place: Place, pending: &Pending) -> bool {
        let job = ptr::from_ref(pending).cast_mut();
        // By F3 there is no other job in the mailbox: ours, none, or a claim that ends soon.
        let in_mail = loop {
            if self.claim(job) {
                break true;
            }
            if self.claim(ptr::null_mut()) {
                break false;
            }
            spin_loop();
        };
        // Ordering: Relaxed; whoever moved it last had the claim, too (F3).
        let base = self.base.load(Ordering::Relaxed);
        let is_ours = in_mail || base <= place.0;
        // Ordering: Relaxed; `release` publishes it.
        self.base.store(base.min(place.0), Ordering::Relaxed);
        self.release(ptr::null_mut());
        if !is_ours {
            // SAFETY: 1. it is neither private nor in the mailbox: it was offered and taken.
            self.wait(unsafe { pending.offered() });
        }
        is_ours
    }

    /// Until the job is done: helps its thief, looks a while, sleeps.
    fn wait(&self, job: &Offered) {
        let is_done = || {
            // Ordering: Acquire (J4).
            job.state.load(Ordering::Acquire) == DONE
        };
        // A thread that unwinds runs no more of the user's code than it must.
        let may_help = !panicking();
        let mut spin = Spinning::new(&self.parker);
        while !is_done() {
            // Ordering: Relaxed; all `Jobs` are known to all threads (F7).
            let thief = job.thief.load(Ordering::Relaxed);
            // SAFETY: 1. the crew's `Jobs` stay in memory (F7).
            let thief = unsafe { thief.as_ref() }.filter(|_| may_help);
            if thief.is_some_and(|thief| self.help(thief, job)) {
                spin.end(true);
            } else if spin.goes_on() {
                // Looks again.
            } else if let Some(part) = thief.and_then(Self::force) {
                self.run_part(part, job);
            } else {
                let has_begun = || {
                    // Ordering: Relaxed; all `Jobs` are known to all threads (F7); `sleep_unless` fences.
                    thief.is_none() && may_help && !job.thief.load(Ordering::Relaxed).is_null()
                };
                self.sleep(thief, &|| is_done() || has_begun());
            }
        }
        spin.end(true);
    }

    fn sleep(&self, thief: Option<&Self>, is_over: &impl Fn() -> bool) {
        let own = ptr::from_ref(self).cast_mut();
        if let Some(thief) = thief {
            // Ordering: Relaxed; `sleep_unless` fences before it looks at the mailbox (J8).
            thief.thieves.helper.store(own, Ordering::Relaxed);
            thief.want();
        }
        let has_part = |thief: &Self| {
            // Ordering: heavy (J16); partner J15. Unmodelled: the fence of `sleep_unless` (Z1) comes just before
            // and does the same in a model, where a light fence is a full one; elsewhere only a heavy fence
            // pairs with a light one.
            asymmetric::heavy();
            thief.has_work()
        };
        self.sleeper
            .sleep_unless(&self.parker, || is_over() || thief.is_some_and(has_part));
        if let Some(thief) = thief {
            // Ordering: Relaxed; it only takes the hint away; failure Relaxed: another's hint stays.
            let _: Result<_, _> = thief.thieves.helper.compare_exchange(
                own,
                ptr::null_mut(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }

    /// Runs a part of the job that `thief` runs for us (F6), or asks for one.
    fn help(&self, thief: &Self, job: &Offered) -> bool {
        // Ordering: Relaxed; a first guess for the exchange.
        let mail = thief.thieves.mail.load(Ordering::Relaxed);
        if mail.is_null() || mail == claimed() {
            thief.want();
            return false;
        }
        match thief.take_mail(mail) {
            Some(part) => {
                self.run_part(part, job);
                true
            }
            None => false,
        }
    }

    /// Runs what was taken from the job's thief.
    fn run_part(&self, part: Task, job: &Offered) {
        // The thief may have been done and gone on to something else when we took it: whatever it is, it
        // must be run, but not inside this wait (F6).
        // Ordering: Relaxed; taking the part brought "done" if it was done before (J2).
        let is_done = job.state.load(Ordering::Relaxed) == DONE;
        if is_done && let Some(crew) = self.crew() {
            crew.push(part);
            return;
        }
        let ran = part.run();
        debug_assert!(matches!(ran, Ran::Done), "a job runs to its end");
    }
}

impl Default for Jobs {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        // Ordering: Relaxed; the last owner.
        let top = self.top.load(Ordering::Relaxed).cast_const();
        debug_assert!(top == self.slots.as_ptr(), "no join is pending");
    }
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs")
            .field("offered", &self.has_offer())
            .field("offers", &self.offers())
            .finish_non_exhaustive()
    }
}

/// The calling thread has a stack of jobs while this exists.
#[derive(Debug)]
pub struct Entered<'a> {
    jobs: &'a Jobs,
    outer: *const Jobs,
    thread: PhantomData<*const ()>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        CURRENT.with(|current| current.set(self.outer));
        self.jobs.crew.set(None);
    }
}
