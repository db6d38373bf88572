//! The threads for blocking calls, and how many calls they have.
//!
//! How a call comes to such a thread is in `run/blocking.rs`, whose label is B3.

use core::fmt;

use stealyard_park::pool::{Placed, PoolStats, Refused, Start};
use stealyard_park::{PoolConfig, ThreadPool};
use stealyard_sync::Arc;
use stealyard_sync::atomic::{AtomicUsize, Ordering};
use stealyard_sync::time::Instant;

use crate::config::Config;
use crate::config::error::BuildError;

/// The threads for blocking calls.
pub(crate) struct BlockingPool {
    pool: ThreadPool,
    /// Calls that wait or run.
    in_flight: AtomicUsize,
    /// Calls that run on a thread of the pool (B3).
    running: AtomicUsize,
}

impl BlockingPool {
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
            running: AtomicUsize::new(0),
        })
    }

    /// Runs `job` on a thread of the pool.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) -> Result<Placed, Refused> {
        self.pool.run(job)
    }

    /// Returns how many calls wait or run.
    pub(crate) fn in_flight(&self) -> usize {
        // Ordering: Acquire, partner: the Release in `call_ends`; when a call has ended, what it
        // spawned and woke is visible. Unmodelled: a thread that drains looks in a loop with
        // pauses, and a model has no time.
        self.in_flight.load(Ordering::Acquire)
    }

    /// Counts a call in.
    pub(crate) fn call_begins(&self) {
        // Ordering: Relaxed; the caller's own work is under way until this call ends.
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call out.
    pub(crate) fn call_ends(&self) {
        // Ordering: Release, partner: the Acquire in `in_flight`. Unmodelled: see there.
        self.in_flight.fetch_sub(1, Ordering::Release);
    }

    /// Counts the calling thread as one inside a call, until the returned value is dropped (B3).
    pub(crate) fn enter_call(&self) -> InsideCall<'_> {
        // Ordering: Relaxed; a count that is asked for again and again.
        self.running.fetch_add(1, Ordering::Relaxed);
        InsideCall(&self.running)
    }

    pub(crate) fn stats(&self) -> PoolStats {
        self.pool.stats()
    }

    /// Takes no more calls, and ends the threads that have none.
    pub(crate) fn close(&self) {
        self.pool.close();
    }

    /// Waits until all threads have ended but those that are inside a call (B3), and `own` more.
    /// Once `deadline` is past, waits no longer for those that have not got rid of their call.
    pub(crate) fn wait_for_idle(&self, own: usize, deadline: Option<Instant>) {
        self.pool.shutdown_idle(|| {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return self.in_flight();
            }
            // Ordering: Relaxed; the wait asks again and again, and a thread that is inside a call
            // when it is closed stays inside.
            self.running.load(Ordering::Relaxed) + own
        });
    }
}

/// The thread is inside a call (B3).
pub(crate) struct InsideCall<'a>(&'a AtomicUsize);

impl Drop for InsideCall<'_> {
    fn drop(&mut self) {
        // Ordering: Relaxed; as in `enter_call`.
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for BlockingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingPool")
            .field("pool", &self.pool)
            .field("in_flight", &self.in_flight())
            .finish()
    }
}

/// The configured way to start threads, as the pool's.
struct Starter(Arc<dyn Start>);

impl Start for Starter {
    fn start(
        &self,
        name: String,
        stack_size: Option<usize>,
        body: Box<dyn FnOnce() + Send>,
    ) -> std::io::Result<stealyard_sync::thread::JoinHandle<()>> {
        self.0.start(name, stack_size, body)
    }
}
