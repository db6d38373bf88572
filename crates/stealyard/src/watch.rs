//! The watcher: one sleeper that sleeps lightly, for the sake of what nobody is told about.
//!
//! A task alone in a run-next slot is announced to nobody (see `wake.rs`), and so are the private halves of
//! joins; and what was announced in a queue may be hidden there afterwards, in a claim of its owner. Usually their
//! worker gets to them within a microsecond. But if its present task is long, they
//! would wait for its end although cores are idle: the best known stall of schedulers with such a slot. So
//! while any worker is awake, one of those that sleep wakes now and then, after 200 µs at first and 10 ms
//! at last, and takes what has not moved since its last look.
//!
//! | event                                             | what happens                                     |
//! |---------------------------------------------------|--------------------------------------------------|
//! | a worker falls asleep, another is awake, no watcher | it becomes the watcher                         |
//! | a task is put alone into a slot, no watcher         | a sleeper is appointed and nudged: it searches, then watches |
//! | a worker finds several tasks, no watcher            | the same                                         |
//! | the watcher, asleep or searching, has found a task  | the same: nobody leaves this post without a successor |
//! | the watcher's time is up                           | it takes what its owner has not moved; else waits twice as long |
//! | all others have slept for a while                  | it resigns and sleeps for good                   |
//!
//! The watcher is counted as a sleeper all the time, so an announcement may wake it like any other, and its
//! looks cost no fence. It keeps the post while it searches. When everything sleeps, nothing stirs.
//!
//! # Invariants
//! - **T1** `watcher` names at most one worker. From "nobody" it is changed by the worker itself or, if that
//!   sleeps, by whoever appoints it; back to "nobody" by the worker itself, or by who appointed it and
//!   sees that it was awake by then.
//! - **T2** *A task alone in a slot is seen by a watcher, or by a worker that was appointed*: who puts it in
//!   then looks at `watcher` behind a light fence; the watcher resigns, and behind a heavy fence looks
//!   whether anybody is awake.
//! - **T3** *What a worker hides while another sleeps is seen by a watcher, or by a worker that was appointed.*
//!   There is one from when the first task comes (T2), or several at once, to a worker whose others sleep; when
//!   the watcher finds a task, it appoints another before it runs that, or sees that nobody sleeps, and who falls
//!   asleep meanwhile sees that there is none.
//! - **T4** *Who runs a task is not named.* A worker looks at `watcher` after it has said that it is awake, before
//!   it runs what it found; who appoints looks whether it still sleeps after naming it.
//!
//! # Orderings
//! | label | operation                                      | partner | publishes                       |
//! |-------|------------------------------------------------|---------|---------------------------------|
//! | WA1   | `wanted`: the put; light fence; load `watcher`    | WA2     | a worker is awake, or "no watcher" is seen |
//! | WA2   | `resign`: clears `watcher`; heavy fence; who is awake | WA1  | "no watcher", or the worker is seen |
//! | WA3   | `sleep`: says "asleep"; full fence; `watcher`     | WA4     | the sleeper, or "no watcher" is seen |
//! | WA4   | `left`: clears `watcher`; full fence; who sleeps   | WA3     | "no watcher", or the sleeper is seen |
//! | WA5   | `appoint`: names a sleeper; full fence; whether it sleeps | WA6 | the name, or "awake" is seen  |
//! | WA6   | `sleep`: says "awake"; full fence; before `found` looks at `watcher` | WA5 | "awake", or the name is seen |
//!
//! # Why not …
//! A thread of its own, as Go's `sysmon`: it would wake on an idle machine, and needs a core beside the
//! workers. Announcing every task in a slot, as Go does: each costs its sender a wake, up to 15 µs here,
//! and the sleeper comes too late to find it.

use stealyard_deque::Steal;
use stealyard_park::ParkResult;
use stealyard_sync::asymmetric;
use stealyard_sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use stealyard_sync::time::{Duration, Instant};

use crate::find;
use crate::processor::Processor;
use crate::shared::Shared;
use crate::task::Task;

const NOBODY: usize = 0;
/// After so many looks that found all others asleep, the watcher resigns.
const QUIET_LOOKS: u32 = 6;

/// Who watches.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The watcher's number plus one.
    watcher: AtomicUsize,
    on: bool,
}

/// Whether a worker sleeps, with nothing in its hands; written by the worker, read by who looks for somebody
/// to nudge, and by who drains (`shutdown.rs`).
#[derive(Debug, Default)]
pub(crate) struct Asleep(AtomicBool);

impl Asleep {
    /// The worker has nothing, and takes nothing before it says that it is awake.
    fn asleep(&self) {
        // Ordering: Release (G6); that this sleep was counted. Unmodelled: see `is_quiescent`.
        self.0.store(true, Ordering::Release);
    }

    /// The worker may take something from now on.
    fn awake(&self) {
        // Ordering: Relaxed; the fence below orders it (G5).
        self.0.store(false, Ordering::Relaxed);
        // Ordering: light (G5), partner G4. Unmodelled: see `is_quiescent`.
        asymmetric::light();
    }

    pub(crate) fn get(&self) -> bool {
        // Ordering: Acquire (G7). Unmodelled: see `is_quiescent`.
        self.0.load(Ordering::Acquire)
    }
}

impl Watch {
    pub(crate) fn new(workers: usize, first: Duration) -> Self {
        Self {
            watcher: AtomicUsize::new(NOBODY),
            on: workers > 1 && first != Duration::MAX && stealyard_sync::HAS_TIME,
        }
    }

    /// A task was put alone into this worker's slot (T2), or several came into its queue (T3).
    #[inline(always)]
    pub(crate) fn wanted(&self, shared: &Shared) {
        if !self.on {
            return;
        }
        // Ordering: WA1, partner WA2; the slot was filled before, and this worker is awake. Unmodelled: the
        // watcher sleeps with time limits, and a model has no time; missing it costs time, not a task.
        asymmetric::light();
        // Ordering: Relaxed (WA1); the fence above does what is needed.
        if self.watcher.load(Ordering::Relaxed) == NOBODY {
            self.appoint(shared);
        }
    }

    /// This worker has found a task, or ends: if it is the watcher, another follows (T3).
    #[inline(always)]
    pub(crate) fn left(&self, shared: &Shared, index: usize) {
        if self.on && self.names(index) {
            self.clear(index);
            // Ordering: SeqCst (WA4), partner WA3. Unmodelled: see `wanted`.
            fence(Ordering::SeqCst);
            self.appoint(shared);
        }
    }

    /// Makes a sleeper the watcher and nudges it: it searches before it watches. Nobody, if nobody sleeps.
    #[cold]
    fn appoint(&self, shared: &Shared) {
        for (index, remote) in shared.remotes.iter().enumerate() {
            if !remote.asleep.get() {
                continue;
            }
            if !self.name(index) {
                return; // somebody was quicker
            }
            // Ordering: SeqCst (WA5), partner WA6. Unmodelled: see `wanted`.
            fence(Ordering::SeqCst);
            if remote.asleep.get() {
                shared.idle.wake_worker(index);
                return;
            }
            // It woke meanwhile, and may run something without having seen its name (T4).
            self.clear(index);
        }
    }

    /// Becomes the watcher, if there is none and somebody is awake (T1); or has been appointed.
    fn enlist(&self, shared: &Shared, index: usize) -> bool {
        self.on && (self.names(index) || somebody_is_awake(shared) && self.name(index))
    }

    /// Whether another watches: who appointed this worker may have taken that back (T1).
    fn is_taken(&self, shared: &Shared, index: usize) -> bool {
        // Ordering: Relaxed; as in `names`.
        !self.enlist(shared, index) && self.watcher.load(Ordering::Relaxed) != NOBODY
    }

    #[inline(always)]
    fn names(&self, index: usize) -> bool {
        // Ordering: Relaxed; the callers' fences do what is needed (WA3, WA6).
        self.watcher.load(Ordering::Relaxed) == index + 1
    }

    fn name(&self, index: usize) -> bool {
        // Ordering: Relaxed on both; the word is its own message.
        self.watcher
            .compare_exchange(NOBODY, index + 1, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// Unless who appointed it was quicker, and named another since (T1).
    fn clear(&self, index: usize) {
        // Ordering: Relaxed on both; the callers fence, or have named it themselves.
        let _by_us =
            self.watcher
                .compare_exchange(index + 1, NOBODY, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Watches no more, unless somebody woke in the same moment (T2).
    fn resign(&self, shared: &Shared, index: usize) -> bool {
        self.clear(index);
        // Ordering: WA2, partner WA1; a worker that saw us as the watcher is seen awake here. Unmodelled: see
        // `wanted`.
        asymmetric::heavy();
        !self.enlist(shared, index)
    }
}

fn somebody_is_awake(shared: &Shared) -> bool {
    shared.idle.sleeping() < shared.idle.joined()
}

/// Sleeps until woken. The watcher may come back with a task instead, while it still counts as asleep.
pub(crate) fn sleep(shared: &Shared, processor: &Processor) -> Option<Task> {
    let asleep = &processor.remote.asleep;
    asleep.asleep();
    // Ordering: SeqCst (WA3), partner WA4. Unmodelled: see `wanted`.
    fence(Ordering::SeqCst);
    let task = if shared.watch.enlist(shared, processor.index) {
        watch(shared, processor)
    } else {
        rest(processor);
        None
    };
    asleep.awake();
    // Ordering: SeqCst (WA6), partner WA5. Unmodelled: see `wanted`.
    fence(Ordering::SeqCst);
    task
}

fn watch(shared: &Shared, processor: &Processor) -> Option<Task> {
    let mut pause = shared.config.watch_min;
    let mut quiet = 0;
    let mut seen: Vec<u64> = shared.remotes.iter().map(|_| u64::MAX).collect();
    loop {
        // A pause too long for the clock is one without an end.
        let until = Instant::now().checked_add(pause);
        if processor.parker.park_now(until) == ParkResult::Notified {
            return None;
        }
        let asleep = &processor.remote.asleep;
        asleep.awake();
        if let Some(task) = look(shared, processor, &mut seen) {
            return Some(task);
        }
        asleep.asleep();
        // Ordering: SeqCst (WA3), partner WA4. Unmodelled: see `wanted`.
        fence(Ordering::SeqCst);
        quiet = if somebody_is_awake(shared) {
            0
        } else {
            quiet + 1
        };
        let done = if quiet < QUIET_LOOKS {
            shared.watch.is_taken(shared, processor.index)
        } else {
            quiet = 0;
            shared.watch.resign(shared, processor.index)
        };
        if done {
            rest(processor);
            return None;
        }
        pause = pause.saturating_mul(2).min(shared.config.watch_max);
    }
}

/// Sleeps until woken. At once: the search has spun for as long as it pays.
fn rest(processor: &Processor) {
    let woken = processor.parker.park_now(None);
    debug_assert_eq!(woken, ParkResult::Notified, "there was no time limit");
}

/// Takes what has waited since the last look behind one and the same task.
fn look(shared: &Shared, processor: &Processor, seen: &mut [u64]) -> Option<Task> {
    for &(victim, _) in &processor.remote.others {
        let remote = &shared.remotes[victim];
        let run = remote.counters.tasks_run.get();
        if core::mem::replace(&mut seen[victim], run) != run {
            continue;
        }
        if let Some(task) = remote.slot.steal() {
            processor.counters().slots_stolen.add(1);
            return Some(task);
        }
        if let Steal::Success(task) = find::force(processor, victim, remote) {
            return Some(task);
        }
    }
    None
}
