//! The owner of a scheduler: building it, and ending it.

use core::fmt;
use core::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};

use stealyard_sync::Arc;
use stealyard_sync::thread::JoinHandle as ThreadHandle;

use crate::config::Config;
use crate::config::error::BuildError;
use crate::handle::Handle;
use crate::run::shutdown::{self, Shutdown, ShutdownReport};
use crate::run::start;

/// A scheduler and its worker threads.
///
/// Dropping it is [`Shutdown::Cancel`]: that joins all its threads, except those inside a
/// blocking call and, if it is dropped inside one of its own tasks, that task's.
///
/// It can do all that a [`Handle`] can do.
///
/// ```
/// let scheduler = stealyard::Scheduler::new()?;
/// let answer = scheduler.block_on(async { stealyard::spawn(async { 6 * 7 }).await });
/// assert_eq!(answer.unwrap(), 42);
/// # Ok::<(), stealyard::BuildError>(())
/// ```
pub struct Scheduler {
    handle: Handle,
    threads: Vec<ThreadHandle<()>>,
    /// It was shut down in some manner: dropping it has nothing left to do.
    ended: bool,
}

impl Scheduler {
    /// Starts a scheduler with all defaults: as many workers as this process may use CPUs.
    ///
    /// # Errors
    /// As [`Builder::build`](crate::Builder::build).
    pub fn new() -> Result<Self, BuildError> {
        Self::from_config(Config::default())
    }

    pub(crate) fn from_config(config: Config) -> Result<Self, BuildError> {
        let start::Assembled { shared, threads } = start::assemble(config)?;
        Ok(Self {
            handle: Handle::new(shared),
            threads,
            ended: false,
        })
    }

    /// Returns a handle that can be cloned and sent.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Ends the scheduler in the given manner, and reports what was left. [`Shutdown`] says which
    /// threads may be left.
    ///
    /// - *Inside one of its own tasks* it does not wait, because that task would wait for itself.
    ///   The rest happens when the task returns, and a thread of its own carries on a `Drain`.
    /// - *Inside one of its own blocking calls* a thread of its own carries on a `Drain` as well,
    ///   which would have to wait for the call. A `Cancel` waits for the workers and for the idle
    ///   threads, as anywhere, and leaves the calling thread.
    ///
    /// A `Drain` that is carried on reports nothing. After an end from inside a task, all threads
    /// end by themselves: the calling one when its task has returned, the one that carries on when
    /// all others have ended.
    pub fn shutdown(mut self, how: Shutdown) -> ShutdownReport {
        self.end(how)
    }

    fn end(&mut self, how: Shutdown) -> ShutdownReport {
        self.ended = true;
        let threads = core::mem::take(&mut self.threads);
        shutdown::end(Arc::clone(&self.handle.shared), threads, how)
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        if !self.ended {
            let _report = self.end(Shutdown::Cancel);
        }
    }
}

impl Deref for Scheduler {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

// A panic of the user's code is caught before it comes to what a handle reaches, or leaves that
// whole.
impl UnwindSafe for Scheduler {}
impl RefUnwindSafe for Scheduler {}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler")
            .field("shared", &self.handle.shared)
            .field("threads", &self.threads.len())
            .finish()
    }
}
