//! Everything that can be chosen about a scheduler, as plain data.
//!
//! [`Builder`](crate::Builder) only fills this in. Each field says what it is, its unit, its
//! default and why. [`Config::validate`] checks the whole without building anything.

pub(crate) mod environment;
pub(crate) mod error;
pub(crate) mod hooks;
pub(crate) mod local_queue;
mod validate;

use core::fmt;

use stealyard_park::SpinConfig;
use stealyard_sync::time::Duration;
use stealyard_sync::{Arc, arc_dyn};
use stealyard_topology::{Placement, Topology};

use crate::config::hooks::Hooks;
use crate::config::local_queue::LocalQueue;
use crate::policy::{Random, StealPolicy};

/// More workers than this are taken to be a mistake: twice the CPUs of the largest machine that
/// Linux supports by default (2,048 in the common configurations).
pub const PARALLELISM_MAX: usize = 4096;

/// When a worker looks at the global queue although its own has work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobalInterval {
    /// Every so many tasks, from 1 to 65,536. Go uses 61: not a power of two, so that it falls into
    /// no rhythm. Between two turns of the global queue the worker runs at least one task of its
    /// own, so 1 means the same as 2.
    Tasks(u32),
    /// About every so long, longer than zero. The number of tasks follows their mean length, from 2
    /// to 127, so that a task in the global queue waits about as long behind long tasks as behind
    /// short ones.
    Time(Duration),
}

/// What happens when a worker cannot be bound to its CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PinFailure {
    /// A warning is emitted and the worker runs unbound. The default: a narrower cpuset than at
    /// build time should cost locality, not work.
    #[default]
    Continue,
    /// Building fails with [`BuildError::Pin`](crate::BuildError::Pin).
    Refuse,
}

/// The configuration of a scheduler. Plain data; `..Config::default()` fills the rest.
///
/// Every number has a range, which its field states. A value outside of it is refused with an error
/// that names the field. Where no range is stated, every value works.
#[derive(Clone)]
pub struct Config {
    /// How threads are named: a worker's by this, a hyphen and its number; a thread for blocking
    /// calls gets `-blocking-` before the number. Default: `stealyard`, short because Linux shows
    /// 15 bytes.
    pub name: String,
    /// How many workers, from 1 to [`PARALLELISM_MAX`]. Default: `None`, which takes
    /// `STEALYARD_PROCS` from the environment if it is set, else what the affinity mask and the CPU
    /// quotas of this cgroup and its ancestors allow (see
    /// `stealyard_topology::available_parallelism`).
    pub parallelism: Option<usize>,
    /// The stack of each worker and blocking thread, in bytes, from 16 KiB to `isize::MAX`. If the
    /// system cannot map it, the thread cannot be started. Default: `None`, the platform's usual
    /// size (2 MiB in Rust).
    pub stack_size: Option<usize>,
    /// To which CPUs the workers are bound. Default: `Placement::None`: binding helps a program
    /// that has the machine to itself and hurts all others.
    pub placement: Placement,
    /// What happens when binding fails. Default: the worker runs unbound.
    pub on_pin_failure: PinFailure,
    /// The machine to place workers on and to take distances from. Default: `None`, detect it. A
    /// synthetic one shows what a policy would do on a machine that is not there (with placement
    /// `None`, or binding fails).
    pub topology: Option<Topology>,
    /// The kind of queue each worker has for its own tasks. Default: a ring of 256 as in Go; see
    /// [`LocalQueue`].
    pub local_queue: LocalQueue,
    /// When a worker looks at the global queue although its own has work. Default: every 61 tasks,
    /// as Go. The bound on waiting that README states follows from it.
    pub global_interval: GlobalInterval,
    /// How many tasks in a row may come from the run-next slot before the queue has its turn, at
    /// most 65,536. They share the time slice of the task that woke the first. Default: 3. So
    /// message passing keeps its warm caches, and a pair that wakes each other for ever delays
    /// others by four tasks at the most.
    ///
    /// Zero turns the slot off. With the slot off and a last-in-first-out queue, tasks that wake
    /// each other for ever go before the older ones of their worker for as long as no other worker
    /// takes those.
    pub slot_streak_max: u32,
    /// How long a thief that found a task in a run-next slot waits before it takes it, because its
    /// owner is about to run it. Default: 3 µs, as Go. At most 1 ms.
    pub slot_grace: Duration,
    /// How long a task may wait behind a long one before a sleeping worker, the monitor, looks for
    /// it at first: not zero. The pause doubles up to `watch_max` while there is nothing to find.
    /// Default: 200 µs: long beside the wake (10 to 50 µs), short beside what people notice.
    ///
    /// `Duration::MAX` turns the monitor off. Then a task alone in a run-next slot, or the private
    /// half of a join, may wait until the task before it ends, whatever the other workers do.
    pub watch_min: Duration,
    /// The longest pause of the monitor, see `watch_min`: not zero. Default: 10 ms, which is 100
    /// looks a second, and only while another worker runs tasks.
    pub watch_max: Duration,
    /// How many operations a task may do before [`coop`](crate::coop) makes it yield.
    /// Default: 128, as tokio: some microseconds of channel operations. From 1 to 65,536. A task
    /// in the global queue may wait behind as many tasks as `global_interval` says, each of which
    /// uses its budget up.
    pub budget: u32,
    /// Whom to steal from, how much, and whom to wake. Default: [`Random`]; `Nearest` pays where
    /// workers are bound on a machine with several caches or nodes.
    pub steal_policy: Arc<dyn StealPolicy>,
    /// How often a thief goes through the others before it gives up; the run-next slots are looked
    /// at in the last pass. Default: 4, as Go. From 1 to 64.
    pub steal_passes: u32,
    /// How long a worker that found nothing goes on looking before it sleeps, how long a worker
    /// that waits in a join or a scope does, and how long a thread that waits from outside spins.
    /// The time is learned within these bounds (see `stealyard_park::Spin`): from measured
    /// wake-ups, from whether spins were in vain or cost the core, and for workers that found
    /// nothing also from the measured cost of the barrier before a sleep, which interrupts the
    /// other cores. `min` and `max` are at most 100 ms. Default: see [`SpinConfig`]; off where
    /// there is only one CPU.
    pub spin: Option<SpinConfig>,
    /// The greatest number of threads for blocking calls, at least 1. Default: 512, as the peers.
    pub blocking_threads_max: usize,
    /// How long an idle thread for blocking calls waits for the next before it ends. Default: 10 s.
    /// Zero ends it at once; `Duration::MAX` keeps it until the scheduler ends.
    pub blocking_keep_alive: Duration,
    /// Functions that are called when threads start, stop, park and unpark, and when a task panics.
    /// Default: none.
    pub hooks: Hooks,
    /// A line about the scheduler's state on standard error, every so often. Default: `None`, which
    /// takes milliseconds from `STEALYARD_SCHEDTRACE` if it is set. At least 1 ms.
    pub schedtrace: Option<Duration>,
    /// The seed of the workers' random numbers. Default: `None`, a fresh one each time.
    pub seed: Option<u64>,
    /// How threads are started: for tests of what happens when they can't be. Default: by the
    /// system.
    #[doc(hidden)]
    pub starter: Arc<dyn stealyard_park::pool::Start>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "stealyard".to_owned(),
            parallelism: None,
            stack_size: None,
            placement: Placement::None,
            on_pin_failure: PinFailure::Continue,
            topology: None,
            local_queue: LocalQueue::Ring { capacity: 256 },
            global_interval: GlobalInterval::Tasks(61),
            slot_streak_max: 3,
            slot_grace: Duration::from_micros(3),
            watch_min: Duration::from_micros(200),
            watch_max: Duration::from_millis(10),
            budget: 128,
            steal_policy: arc_dyn!(Random),
            steal_passes: 4,
            spin: None,
            blocking_threads_max: 512,
            blocking_keep_alive: Duration::from_secs(10),
            hooks: Hooks::default(),
            schedtrace: None,
            seed: None,
            starter: arc_dyn!(stealyard_park::pool::OsThreads),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("name", &self.name)
            .field("parallelism", &self.parallelism)
            .field("stack_size", &self.stack_size)
            .field("placement", &self.placement)
            .field("on_pin_failure", &self.on_pin_failure)
            .field("local_queue", &self.local_queue)
            .field("global_interval", &self.global_interval)
            .field("slot_streak_max", &self.slot_streak_max)
            .field("slot_grace", &self.slot_grace)
            .field("watch_min", &self.watch_min)
            .field("watch_max", &self.watch_max)
            .field("budget", &self.budget)
            .field("steal_policy", &self.steal_policy)
            .field("steal_passes", &self.steal_passes)
            .field("spin", &self.spin)
            .field("blocking_threads_max", &self.blocking_threads_max)
            .field("blocking_keep_alive", &self.blocking_keep_alive)
            .field("hooks", &self.hooks)
            .field("schedtrace", &self.schedtrace)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
