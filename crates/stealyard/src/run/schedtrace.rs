//! A line about the scheduler's state on standard error, every so often, as Go's
//! `GODEBUG=schedtrace=n`.
//!
//! ```text
//! STEALYARD web 2013ms: parallelism=4 idle=2 threads=6 searching=1 blocking=2/0 global=0
//!   [ 0 1 0 0 ] run=81234 stolen=310 parks=55
//! ```
//! It is one line, broken here.
//! - `blocking` counts threads for blocking calls, and calls that wait for one.
//! - The brackets hold how many tasks each worker has queued.
//! - `run`, `stolen` and `parks` are counted since the scheduler began.
//!
//! A thread of its own prints the lines; it reads counters and stops no worker.

use std::io::Write;

use stealyard_sync::Arc;
use stealyard_sync::thread::JoinHandle as ThreadHandle;
use stealyard_sync::time::{Duration, Instant};

use crate::state::SchedulerState;
use crate::user_code::tell;

/// Starts the thread, if lines are wanted. It ends when the workers have.
pub(crate) fn start(shared: &Arc<SchedulerState>) -> Option<ThreadHandle<()>> {
    let every = shared.config.schedtrace?;
    let own = Arc::clone(shared);
    let name = format!("{}-trace", shared.config.name);
    let body = Box::new(move || print(&own, every));
    match shared.config.starter.start(name, None, body) {
        Ok(thread) => Some(thread),
        Err(error) => {
            tell(|| tracing::warn!(%error, "the thread for schedtrace lines could not be started"));
            None
        }
    }
}

fn print(shared: &SchedulerState, every: Duration) {
    let began = Instant::now();
    loop {
        let next = Instant::now().checked_add(every);
        if shared.lifecycle.wait(next) == 0 {
            return;
        }
        // Standard error may be closed: then there is no reader.
        let _ = writeln!(std::io::stderr(), "{}", line(shared, began.elapsed()));
    }
}

fn line(shared: &SchedulerState, age: Duration) -> String {
    let metrics = shared.metrics();
    let total = metrics.total();
    let queues: Vec<String> = metrics
        .workers
        .iter()
        .map(|worker| worker.queue_depth.to_string())
        .collect();
    format!(
        "STEALYARD {} {}ms: parallelism={} idle={} threads={} searching={} blocking={}/{} global={} [ {} ] run={} \
         stolen={} parks={}",
        shared.config.name,
        age.as_millis(),
        metrics.workers.len(),
        metrics.sleeping,
        shared.idle.joined() + metrics.blocking_threads,
        metrics.searching,
        metrics.blocking_threads,
        metrics.blocking_queued,
        metrics.injector_depth,
        queues.join(" "),
        total.tasks_run,
        total.tasks_stolen,
        total.parks,
    )
}
