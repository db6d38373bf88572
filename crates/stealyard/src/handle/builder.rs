//! The fluent way to fill in a [`Config`]; nothing else.

use core::any::Any;

use stealyard_park::SpinConfig;
use stealyard_sync::arc_dyn;
use stealyard_sync::time::Duration;
use stealyard_topology::{Placement, Topology};

use crate::config::error::BuildError;
use crate::config::local_queue::LocalQueue;
use crate::config::{Config, GlobalInterval, PinFailure};
use crate::handle::scheduler::Scheduler;
use crate::policy::StealPolicy;

/// Builds a [`Scheduler`]; each method sets one field of [`Config`], where its meaning, unit and
/// default are described.
///
/// ```
/// use stealyard::{Builder, Nearest};
///
/// let scheduler = Builder::new()
///     .name("web")
///     .parallelism(2)
///     .steal_policy(Nearest)
///     .build()?;
/// assert_eq!(scheduler.parallelism(), 2);
/// # Ok::<(), stealyard::BuildError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing before `build`"]
pub struct Builder {
    config: Config,
}

impl Builder {
    /// Starts from all defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts from a configuration.
    pub fn from_config(config: Config) -> Self {
        Self { config }
    }

    /// Returns what has been set so far.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Sets [`Config::name`].
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into();
        self
    }

    /// Sets [`Config::parallelism`].
    pub fn parallelism(mut self, workers: usize) -> Self {
        self.config.parallelism = Some(workers);
        self
    }

    /// Sets [`Config::stack_size`], in bytes.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.config.stack_size = Some(bytes);
        self
    }

    /// Sets [`Config::placement`].
    pub fn placement(mut self, placement: Placement) -> Self {
        self.config.placement = placement;
        self
    }

    /// Sets [`Config::on_pin_failure`].
    pub fn on_pin_failure(mut self, what: PinFailure) -> Self {
        self.config.on_pin_failure = what;
        self
    }

    /// Sets [`Config::topology`].
    pub fn topology(mut self, topology: Topology) -> Self {
        self.config.topology = Some(topology);
        self
    }

    /// Sets [`Config::local_queue`].
    pub fn local_queue(mut self, queue: LocalQueue) -> Self {
        self.config.local_queue = queue;
        self
    }

    /// Sets [`Config::global_interval`].
    pub fn global_interval(mut self, interval: GlobalInterval) -> Self {
        self.config.global_interval = interval;
        self
    }

    /// Sets [`Config::slot_streak_max`].
    pub fn slot_streak_max(mut self, tasks: u32) -> Self {
        self.config.slot_streak_max = tasks;
        self
    }

    /// Sets [`Config::slot_grace`].
    pub fn slot_grace(mut self, grace: Duration) -> Self {
        self.config.slot_grace = grace;
        self
    }

    /// Sets [`Config::watch_min`] and [`Config::watch_max`].
    pub fn watch(mut self, min: Duration, max: Duration) -> Self {
        self.config.watch_min = min;
        self.config.watch_max = max;
        self
    }

    /// Sets [`Config::budget`].
    pub fn budget(mut self, operations: u32) -> Self {
        self.config.budget = operations;
        self
    }

    /// Sets [`Config::steal_policy`].
    pub fn steal_policy(mut self, policy: impl StealPolicy + 'static) -> Self {
        self.config.steal_policy = arc_dyn!(policy);
        self
    }

    /// Sets [`Config::steal_passes`].
    pub fn steal_passes(mut self, passes: u32) -> Self {
        self.config.steal_passes = passes;
        self
    }

    /// Sets [`Config::spin`].
    pub fn spin(mut self, spin: SpinConfig) -> Self {
        self.config.spin = Some(spin);
        self
    }

    /// Sets [`Config::blocking_threads_max`].
    pub fn blocking_threads_max(mut self, threads: usize) -> Self {
        self.config.blocking_threads_max = threads;
        self
    }

    /// Sets [`Config::blocking_keep_alive`].
    pub fn blocking_keep_alive(mut self, keep_alive: Duration) -> Self {
        self.config.blocking_keep_alive = keep_alive;
        self
    }

    /// Sets `on_start` of [`Config::hooks`]: called on each worker thread before its first task.
    /// The worker runs first what the hook spawns, with `spawn_local` too. A table at
    /// [`Hooks`](crate::Hooks) says what it may do.
    pub fn on_worker_start(mut self, hook: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.config.hooks.on_start = Some(arc_dyn!(hook));
        self
    }

    /// Sets `on_stop` of [`Config::hooks`]: called on each worker thread after its last task and
    /// its last destructor. Tasks that it spawns and wakes are cancelled, `spawn_local` panics; see
    /// the table at [`Hooks`](crate::Hooks).
    pub fn on_worker_stop(mut self, hook: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.config.hooks.on_stop = Some(arc_dyn!(hook));
        self
    }

    /// Sets `on_park` of [`Config::hooks`]: called on a worker thread before it sleeps. If it
    /// spawns or wakes something, the worker runs that and does not sleep; see the table at
    /// [`Hooks`](crate::Hooks).
    pub fn on_park(mut self, hook: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.config.hooks.on_park = Some(arc_dyn!(hook));
        self
    }

    /// Sets `on_unpark` of [`Config::hooks`]: called on a worker thread after it slept. The
    /// worker runs next what the hook spawns or wakes; see the table at [`Hooks`](crate::Hooks).
    pub fn on_unpark(mut self, hook: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.config.hooks.on_unpark = Some(arc_dyn!(hook));
        self
    }

    /// Sets `on_panic` of [`Config::hooks`]: called with each panic that was caught, on the thread
    /// that caught it, before a joiner learns of it; see the table at [`Hooks`](crate::Hooks).
    pub fn on_task_panic(
        mut self,
        hook: impl Fn(&(dyn Any + Send)) + Send + Sync + 'static,
    ) -> Self {
        self.config.hooks.on_panic = Some(arc_dyn!(hook));
        self
    }

    /// Sets [`Config::schedtrace`].
    pub fn schedtrace(mut self, every: Duration) -> Self {
        self.config.schedtrace = Some(every);
        self
    }

    /// Sets [`Config::seed`].
    pub fn seed(mut self, seed: u64) -> Self {
        self.config.seed = Some(seed);
        self
    }

    /// Sets `starter` of [`Config`].
    #[doc(hidden)]
    pub fn starter(mut self, starter: impl stealyard_park::pool::Start + 'static) -> Self {
        self.config.starter = arc_dyn!(starter);
        self
    }

    /// Starts the scheduler.
    ///
    /// # Errors
    /// [`BuildError`] names the field or variable that makes no sense, the placement that is
    /// impossible, or what the system said when not a single thread could be started.
    pub fn build(self) -> Result<Scheduler, BuildError> {
        Scheduler::from_config(self.config)
    }
}
