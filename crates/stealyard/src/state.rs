//! What all threads of a scheduler share.

use core::any::Any;
use core::fmt;

use stealyard_park::{Idle, SpinConfig};
use stealyard_sync::{Arc, CachePadded};

use crate::config::Config;
use crate::fork_join::{Boards, Crew};
use crate::machine::current;
use crate::metrics::{Clock, Counter, Metrics, WakeBegan, WorkerMetrics};
use crate::processor::Remote;
use crate::processor::global_queue::Global;
use crate::run::blocking::Blocking;
use crate::run::shutdown::Life;
use crate::search::monitor::Watch;
use crate::search::ready;
use crate::task::running::{self, Code};
use crate::task::{Local, Memory, Schedule, Task, Why};
use crate::user_code::{Panic, Quiet, catch, discard, dispose, tell};

/// What all threads of a scheduler share; kept by its handles, its threads and its tasks.
pub(crate) struct Shared {
    pub(crate) config: Quiet<Config>,
    /// One for each P.
    pub(crate) remotes: Box<[Arc<Remote>]>,
    pub(crate) idle: Idle,
    /// Where scopes show their jobs.
    pub(crate) boards: Arc<Boards>,
    pub(crate) global: Global,
    pub(crate) watch: Watch,
    pub(crate) life: Life,
    pub(crate) blocking: Blocking,
    pub(crate) memory: Memory<Self>,
    pub(crate) clock: Clock,
    pub(crate) wake_began: CachePadded<WakeBegan>,
    pub(crate) outside_wakes: Counter,
    pub(crate) panics: Counter,
    pub(crate) refused: Counter,
    pub(crate) start_failures: Counter,
}

impl Shared {
    /// Whether any queue seems to hold a task that a thief could take, run-next slots left out.
    pub(crate) fn any_work(&self) -> bool {
        let holds = |remote: &Arc<Remote>| {
            remote.stealer.len() > 0 || remote.jobs.has_offer() || !remote.mail.is_empty()
        };
        !self.global.is_empty() || self.remotes.iter().any(holds)
    }

    /// Calls code of the user's. None if it panicked, which is counted and told to the panic hook.
    pub(crate) fn call_user<R>(&self, code: Code, call: impl FnOnce() -> R) -> Option<R> {
        match running::within(code, || catch(call)) {
            Ok(result) => Some(result),
            Err(panic) => {
                self.caught(panic);
                None
            }
        }
    }

    /// Calls a hook of a worker's.
    pub(crate) fn call_hook(&self, code: Code, worker: usize) {
        if let Some(hook) = self.config.hooks.of_worker(code) {
            // A hook that panics is as if it had returned.
            let _called = self.call_user(code, || hook(worker));
        }
    }

    /// A panic of the user's code that is no task's result: counts it and tells the hook. Does not unwind.
    #[cold]
    pub(crate) fn caught(&self, panic: Panic) {
        self.task_panicked(&*panic);
        dispose(panic);
    }

    /// Drops what a caller passed in vain.
    #[cold]
    pub(crate) fn drop_unwanted<T>(&self, value: T) {
        if let Some(panic) = discard(value) {
            self.caught(panic);
        }
    }

    /// A task came when the scheduler takes none: it is cancelled. Without a handle to say so, an event does where it
    /// could not be expected.
    #[cold]
    pub(crate) fn refuse(&self, task: Task, has_handle: bool) {
        self.refused.add_shared(1);
        if !has_handle && self.life.is_copy() {
            tell(|| {
                tracing::error!(
                    scheduler = %self.config.name,
                    "spawn_detached: this process was forked from the one with the scheduler's workers, so the task is \
                     cancelled: build a scheduler after the fork"
                );
            });
        }
        task.cancel();
    }

    pub(crate) fn metrics(&self) -> Metrics {
        let blocking = self.blocking.stats();
        let read = |remote: &Arc<Remote>| remote.counters.read(remote.len());
        let workers: Vec<WorkerMetrics> = self.remotes.iter().map(read).collect();
        let injector_depth = self.global.len();
        // What came out of the global queue or is in it, less what workers put in.
        let sum = |count: fn(&WorkerMetrics) -> u64| workers.iter().map(count).sum::<u64>();
        let passed = sum(|worker| worker.tasks_injected) + injector_depth as u64;
        let pushed_from_outside = passed.saturating_sub(sum(|worker| worker.tasks_overflowed));
        Metrics {
            workers,
            injector_depth,
            pushed_from_outside,
            wakes_from_outside: self.outside_wakes.get(),
            searching: self.idle.searching(),
            sleeping: self.idle.sleeping(),
            blocking_threads: blocking.threads,
            blocking_idle: blocking.idle,
            blocking_queued: blocking.queued,
            thread_start_failures: self.start_failures.get() + blocking.start_failures,
            panics: self.panics.get(),
            refused: self.refused.get(),
        }
    }
}

impl Crew for Shared {
    fn offered(&self) {
        current::with(
            |context| match context.and_then(|context| context.processor_of(self)) {
                Some(processor) => ready::announce(self, processor, 1),
                None => _ = self.idle.announce(1),
            },
        );
    }

    fn hungry(&self) -> bool {
        self.idle.searching() > 0 || self.idle.sleeping() > 0
    }

    fn push(&self, task: Task) {
        current::with(
            |context| match context.and_then(|context| context.processor_of(self)) {
                Some(processor) => ready::push_back(self, processor, task),
                None => ready::submit(self, task),
            },
        );
    }

    fn boards(&self) -> &Arc<Boards> {
        &self.boards
    }

    fn index(&self) -> usize {
        current::with_processor(|held| held.map_or(0, |(_, processor)| processor.index))
    }
}

// SAFETY: 1. the pool is a field, made for this scheduler's tasks; 2. the lists belong to a P of this
// scheduler, as `processor_of` checks; 3. a thread's context keeps what it belongs to, and is left after all
// that runs within it; 4. what calls code of the user's catches its panics, and the rest has none.
unsafe impl Schedule for Shared {
    #[inline]
    fn schedule(&self, task: Task, _why: Why) {
        current::with(
            |context| match context.and_then(|context| context.processor_of(self)) {
                Some(processor) => ready::push_woken(self, processor, task),
                None => ready::submit(self, task),
            },
        );
    }

    #[inline(always)]
    fn is_kept_by_this_thread(&self) -> bool {
        current::with(|context| context.is_some_and(|context| context.keeps(self)))
    }

    #[inline(always)]
    fn memory(&self) -> &Memory<Self> {
        &self.memory
    }

    #[inline(always)]
    fn with_local<R>(&self, f: impl FnOnce(Option<&Local>) -> R) -> R {
        current::with(|context| {
            let processor = context.and_then(|context| context.processor_of(self));
            f(processor.map(|processor| &processor.memory))
        })
    }

    fn spin(&self) -> SpinConfig {
        self.config.spin.unwrap_or(SpinConfig::OFF)
    }

    fn task_panicked(&self, payload: &(dyn Any + Send)) {
        self.panics.add_shared(1);
        if let Some(hook) = &self.config.hooks.on_panic
            && let Err(panic) = running::within(Code::OnPanic, || catch(|| hook(payload)))
        {
            // Not told to the hook, or one that always panics would be called for ever.
            self.panics.add_shared(1);
            dispose(panic);
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("name", &self.config.name)
            .field("workers", &self.remotes.len())
            .field("idle", &self.idle.sleeping())
            .field("global", &self.global.len())
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}
