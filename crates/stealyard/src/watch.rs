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
//! | a task is put alone into a slot, no watcher         | a sleeper is nudged: it looks, then watches      |
//! | a worker finds several tasks, no watcher            | the same                                         |
//! | the watcher has found a task, nobody followed it    | the same                                         |
//! | the watcher's time is up                           | it takes what its owner has not moved; else waits twice as long |
//! | all others have slept for a while                  | it resigns and sleeps for good                   |
//!
//! The watcher is counted as a sleeper all the time, so an announcement may wake it like any other, and its
//! looks cost no fence. When everything sleeps, nothing stirs.
//!
//! # Invariants
//! - **T1** `watcher` names at most one worker; only that one clears it.
//! - **T2** *A task alone in a slot is seen by a watcher, or by a worker that was nudged*: who puts it in
//!   then looks at `watcher` behind a light fence; the watcher resigns, and behind a heavy fence looks
//!   whether anybody is awake.
//! - **T3** *What a worker hides while another sleeps is seen by a watcher, or by a worker that was nudged.* There
//!   is one from when the first task comes (T2), or several at once, to a worker whose others sleep; when the
//!   watcher finds a task, it looks whether another took its place, and who falls asleep meanwhile sees
//!   that there is none.
//!
//! # Orderings
//! | label | operation                                      | partner | publishes                       |
//! |-------|------------------------------------------------|---------|---------------------------------|
//! | WA1   | `wanted`: the put; light fence; load `watcher`    | WA2     | a worker is awake, or "no watcher" is seen |
//! | WA2   | `resign`: store `watcher`; heavy fence; who is awake | WA1   | "no watcher", or the worker is seen |
//! | WA3   | `sleep`: says "asleep"; full fence; `watcher`     | WA4     | the sleeper, or "no watcher" is seen |
//! | WA4   | `left`: clears `watcher`; full fence; who sleeps   | WA3     | "no watcher", or the sleeper is seen |
//!
//! # Why not …
//! A thread of its own, as Go's `sysmon`: it would wake on an idle machine, and needs a core beside the
//! workers. Announcing every task in a slot, as Go does: each costs its sender a wake, up to 15 µs here,
//! and the sleeper comes too late to find it.

use stealyard_deque::Steal;
use stealyard_park::ParkResult;
use stealyard_sync::asymmetric;
use stealyard_sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use stealyard_sync::time::Duration;

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
            nudge_a_sleeper(shared);
        }
    }

    /// This worker was the watcher and has found a task (T3).
    pub(crate) fn left(&self, shared: &Shared) {
        if !self.on {
            return;
        }
        // Ordering: SeqCst (WA4), partner WA3. Unmodelled: see `wanted`.
        fence(Ordering::SeqCst);
        // Ordering: Relaxed (WA4); the fence above does what is needed.
        if self.watcher.load(Ordering::Relaxed) == NOBODY {
            nudge_a_sleeper(shared);
        }
    }

    /// Becomes the watcher, if there is none and somebody is awake (T1).
    fn enlist(&self, shared: &Shared, index: usize) -> bool {
        // Ordering: Relaxed on both; the word is its own message.
        self.on
            && somebody_is_awake(shared)
            && self
                .watcher
                .compare_exchange(NOBODY, index + 1, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    fn clear(&self) {
        // Ordering: Relaxed; `resign` fences, and elsewhere this worker is awake itself.
        self.watcher.store(NOBODY, Ordering::Relaxed);
    }

    /// Watches no more, unless somebody woke in the same moment (T2).
    fn resign(&self, shared: &Shared, index: usize) -> bool {
        self.clear();
        // Ordering: WA2, partner WA1; a worker that saw us as the watcher is seen awake here. Unmodelled: see
        // `wanted`.
        asymmetric::heavy();
        !self.enlist(shared, index)
    }
}

fn somebody_is_awake(shared: &Shared) -> bool {
    shared.idle.sleeping() < shared.idle.joined()
}

#[cold]
fn nudge_a_sleeper(shared: &Shared) {
    let sleeper = shared.remotes.iter().position(|remote| remote.asleep.get());
    if let Some(sleeper) = sleeper {
        shared.idle.nudge(sleeper);
    }
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
        processor.parker.park();
        None
    };
    asleep.awake();
    task
}

fn watch(shared: &Shared, processor: &Processor) -> Option<Task> {
    let mut pause = shared.config.watch_min;
    let mut quiet = 0;
    let mut seen: Vec<u64> = shared.remotes.iter().map(|_| u64::MAX).collect();
    loop {
        if processor.parker.park_timeout(pause) == ParkResult::Notified {
            shared.watch.clear();
            processor.watched.set(true);
            return None;
        }
        let asleep = &processor.remote.asleep;
        asleep.awake();
        if let Some(task) = look(shared, processor, &mut seen) {
            shared.watch.clear();
            processor.watched.set(true);
            return Some(task);
        }
        asleep.asleep();
        quiet = if somebody_is_awake(shared) {
            0
        } else {
            quiet + 1
        };
        if quiet >= QUIET_LOOKS {
            if shared.watch.resign(shared, processor.index) {
                processor.parker.park();
                return None;
            }
            quiet = 0;
        }
        pause = pause.saturating_mul(2).min(shared.config.watch_max);
    }
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
        if let Some(job) = remote.jobs.force() {
            return Some(job);
        }
        if let Steal::Success(task) = remote.stealer.force(&processor.queue, usize::MAX) {
            return Some(task);
        }
    }
    None
}
