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
//! - **B3** *After an end only those threads are left that are inside a call*: `running` counts them, from before the
//!   user's code begins to when it has returned, before a joiner learns of it; and the end waits until the pool has no
//!   others, and joins them. A call whose turn comes after the close is cancelled on its thread, which the end waits
//!   for.

use core::cell::Cell;
use core::fmt;
use core::ptr;

use stealyard_park::pool::{Placed, PoolStats, RefusedReason};
use stealyard_park::{PoolConfig, ThreadPool};
use stealyard_sync::atomic::{AtomicUsize, Ordering};
use stealyard_sync::time::Instant;
use stealyard_sync::{Arc, const_thread_local};

use crate::config::Config;
use crate::config::error::BuildError;
use crate::machine::current::{self, Context, Role};
use crate::search::ready;
use crate::state::Shared;
use crate::task::running::{self, Duty};
use crate::task::{self, JoinHandle, Ran, Task};
use crate::user_code::tell;

/// The threads for blocking calls.
pub(crate) struct Blocking {
    pool: ThreadPool,
    /// Calls that wait or run.
    in_flight: AtomicUsize,
    /// Calls that run on a thread of the pool (B3).
    running: AtomicUsize,
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
            running: AtomicUsize::new(0),
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

    /// Waits until all threads have ended but those that are inside a call (B3), and the calling one; once `deadline`
    /// is past, also but those that have not got rid of their call.
    pub(crate) fn wait_for_idle(&self, shared: &Shared, deadline: Option<Instant>) {
        // A thread that is inside a call is among those that run.
        let own = usize::from(Cancels::any_of(shared));
        self.pool.shutdown_idle(|| {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return self.in_flight();
            }
            // Ordering: Relaxed; the wait asks again and again, and a thread that is inside a call when it is closed
            // stays inside.
            self.running.load(Ordering::Relaxed) + own
        });
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
                ready::submit(shared, task::spawn_call_detached(shared, None, job));
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
        let shared = &self.shared;
        let run = || {
            if shared.life.is_closed() {
                let _cancels = Cancels::new(shared);
                drop(task);
                return Ran::Done;
            }
            task.run()
        };
        let ran = if current::is_worker() {
            // B2.
            let _duty = running::enter_duty(Duty::CallOnWorker);
            run()
        } else {
            let context = Context::new(Arc::clone(shared), Role::Blocking);
            let _entered = current::enter(&context);
            run()
        };
        match ran {
            Ran::Done | Ran::Pending => {}
            Ran::Again(task) => ready::submit(&self.shared, task),
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

/// A task for a blocking call, and its handle.
pub(crate) fn task<T, F>(shared: &Arc<Shared>, call: F) -> (Task, JoinHandle<T>)
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let own = Arc::clone(shared);
    task::spawn_call(shared, None, move || {
        // Gone before a joiner learns of the end.
        let _running = (!current::is_worker()).then(|| Running::new(&own.blocking));
        call()
    })
}

/// The thread is inside a call (B3).
struct Running<'a>(&'a AtomicUsize);

impl<'a> Running<'a> {
    fn new(blocking: &'a Blocking) -> Self {
        // Ordering: Relaxed; a count that is asked for again and again.
        blocking.running.fetch_add(1, Ordering::Relaxed);
        Self(&blocking.running)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // Ordering: Relaxed; as above.
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

const_thread_local! {
    /// The scheduler whose call this thread cancels.
    static CANCELS: Cell<*const Shared> = Cell::new(ptr::null());
}

/// The thread cancels a call, whose destructors may be what ends the scheduler.
struct Cancels(*const Shared);

impl Cancels {
    fn new(shared: &Arc<Shared>) -> Self {
        Self(CANCELS.with(|cancels| cancels.replace(Arc::as_ptr(shared))))
    }

    /// Whether the calling thread cancels a call of this scheduler.
    fn any_of(shared: &Shared) -> bool {
        let cancels = CANCELS.try_with(Cell::get);
        cancels.is_ok_and(|cancels| ptr::eq(cancels, shared))
    }
}

impl Drop for Cancels {
    fn drop(&mut self) {
        CANCELS.with(|cancels| cancels.set(self.0));
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
