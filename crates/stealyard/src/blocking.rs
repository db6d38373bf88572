//! Calls that block, on threads of their own.
//!
//! A worker that blocks is a core that idles, so such calls run on `stealyard_park::ThreadPool`: started
//! on demand, bounded, ended when idle. The call is a task like any other: its handle gives the value or
//! the panic, and it is cancelled if the scheduler ends before its turn.
//!
//! - **B1** A call is never lost because a thread can't be started: it waits for a thread of the pool, and
//!   if there is none, a worker runs it, which is worse than a thread and better than nothing. Both are
//!   reported once each time they happen, as an event.
//! - **B2** A worker that runs a call stays a worker, and the call is inside a task: to block on the scheduler's
//!   own tasks there panics, because it could block the only thread that would run them, and an end does not
//!   wait for that worker.

use core::fmt;

use stealyard_park::pool::{Placed, PoolStats, RefusedReason};
use stealyard_park::{PoolConfig, ThreadPool};
use stealyard_sync::Arc;
use stealyard_sync::atomic::{AtomicUsize, Ordering};

use crate::config::Config;
use crate::current::{self, Context, Role};
use crate::error::BuildError;
use crate::shared::Shared;
use crate::task::{self, Ran, Task};
use crate::user_code::tell;
use crate::wake;

/// The threads for blocking calls.
pub(crate) struct Blocking {
    pool: ThreadPool,
    /// Calls that wait or run.
    in_flight: AtomicUsize,
}

impl Blocking {
    pub(crate) fn new(config: &Config) -> Result<Self, BuildError> {
        let pool_config = PoolConfig {
            name: format!("{}-blocking", config.name),
            threads_max: config.blocking_threads_max,
            keep_alive: config.blocking_keep_alive,
            stack_size: config.stack_size,
            ..PoolConfig::default()
        };
        let pool = ThreadPool::with_starter(pool_config, Starter(Arc::clone(&config.starter)));
        Ok(Self {
            pool: pool.map_err(|error| BuildError::Config {
                field: "blocking",
                value: format!("{error:?}"),
                wanted: error.to_string(),
            })?,
            in_flight: AtomicUsize::new(0),
        })
    }

    pub(crate) fn in_flight(&self) -> usize {
        // Ordering: Acquire, partner: the Release in `Call::drop`; when a call has ended, what it spawned
        // and woke is visible. Unmodelled: who drains looks in a loop with pauses, and a model has no time.
        self.in_flight.load(Ordering::Acquire)
    }

    pub(crate) fn stats(&self) -> PoolStats {
        self.pool.stats()
    }

    pub(crate) fn close(&self) {
        self.pool.close();
    }
}

impl fmt::Debug for Blocking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking")
            .field("pool", &self.pool)
            .field("in_flight", &self.in_flight())
            .finish()
    }
}

/// Has `task` run on a thread where it may block.
pub(crate) fn run(shared: &Arc<Shared>, task: Task) {
    // Ordering: Relaxed; the caller's own work is under way until this call ends.
    shared.blocking.in_flight.fetch_add(1, Ordering::Relaxed);
    let call = Call {
        shared: Arc::clone(shared),
        task: Some(task),
    };
    match shared.blocking.pool.run(move || call.run()) {
        Ok(Placed::Queued {
            start_failed: Some(error),
        }) => tell(|| {
            tracing::warn!(
                %error,
                "a thread for blocking calls could not be started: the call waits for one that exists"
            );
        }),
        Ok(_) => {}
        Err(refused) => match refused.into_parts() {
            (job, RefusedReason::NoThread(error)) => {
                tell(|| {
                    tracing::error!(
                        %error,
                        "no thread for blocking calls could be started: a worker runs the call"
                    );
                });
                wake::submit(shared, task::spawn_call_detached(shared, None, job));
            }
            // The scheduler is closed, or a forked child's copy: dropping the job cancels the task.
            (job, _) => drop(job),
        },
    }
}

/// A call on its way; dropping it cancels the task.
struct Call {
    shared: Arc<Shared>,
    task: Option<Task>,
}

impl Call {
    fn run(mut self) {
        let Some(task) = self.task.take() else { return };
        if self.shared.life.is_closed() {
            drop(task);
            return;
        }
        let ran = if current::is_worker() {
            // B2.
            current::running_a_call(|| task.run())
        } else {
            let context = Context::new(Arc::clone(&self.shared), Role::Blocking);
            let _entered = current::enter(&context);
            task.run()
        };
        match ran {
            Ran::Done | Ran::Pending => {}
            Ran::Again(task) => wake::submit(&self.shared, task),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        drop(self.task.take());
        // Ordering: Release, partner: the Acquire in `in_flight`. Unmodelled: see there.
        self.shared
            .blocking
            .in_flight
            .fetch_sub(1, Ordering::Release);
    }
}

/// The configured way to start threads, as the pool's.
struct Starter(Arc<dyn stealyard_park::pool::Start>);

impl stealyard_park::pool::Start for Starter {
    fn start(
        &self,
        name: String,
        stack_size: Option<usize>,
        body: Box<dyn FnOnce() + Send>,
    ) -> std::io::Result<stealyard_sync::thread::JoinHandle<()>> {
        self.0.start(name, stack_size, body)
    }
}
