//! What becomes of a job, as values.

use core::fmt;
use std::io;

use super::Job;

/// Where a job went.
#[derive(Debug)]
#[must_use = "a start that failed is told here"]
pub enum Placed {
    /// To a thread that was idle.
    Reused,
    /// To a thread started for it.
    Started,
    /// To the queue: the next thread that becomes free takes it.
    Queued {
        /// Why no thread was started for it, if one should have been: the job is safe, but the system
        /// is short of threads or memory.
        start_failed: Option<io::Error>,
    },
}

/// A job that the pool did not take, and why. The job is in it.
#[must_use = "the job is in it"]
pub struct Refused {
    job: Job,
    reason: RefusedReason,
}

/// Why a job was refused.
#[derive(Debug)]
#[non_exhaustive]
pub enum RefusedReason {
    /// The pool was closed or shut down.
    Closed,
    /// Every thread is busy, there may be no more, and the job must not wait.
    Busy,
    /// No thread could be started (too many processes, no memory for the stack), and there is none
    /// that could take the job later, or it must not wait.
    NoThread(io::Error),
    /// This process was forked from the one that has the pool's threads: it needs a pool of its own.
    Forked,
}

impl Refused {
    pub(super) fn new(job: Job, reason: RefusedReason) -> Self {
        Self { job, reason }
    }

    /// Why.
    pub fn reason(&self) -> &RefusedReason {
        &self.reason
    }

    /// The job, to be run elsewhere.
    pub fn into_job(self) -> Job {
        self.job
    }

    /// The job and the reason.
    pub fn into_parts(self) -> (Job, RefusedReason) {
        (self.job, self.reason)
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused")
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            RefusedReason::Closed => f.write_str("the thread pool is closed"),
            RefusedReason::Busy => {
                f.write_str("every thread of the pool is busy: raise threads_max")
            }
            RefusedReason::NoThread(error) => {
                write!(f, "no thread could be started for the job: {error}")
            }
            RefusedReason::Forked => f.write_str(
                "this process was forked from the one with the pool's threads: make a pool after the fork",
            ),
        }
    }
}

impl core::error::Error for Refused {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.reason {
            RefusedReason::NoThread(error) => Some(error),
            RefusedReason::Closed | RefusedReason::Busy | RefusedReason::Forked => None,
        }
    }
}

/// How a shutdown ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a shutdown may run out of time"]
pub enum ShutdownResult {
    /// Every job has run, every thread has ended and was joined.
    Complete,
    /// The time was up. What runs goes on, and what is queued will still run; nothing is lost, and
    /// another shutdown may wait further.
    TimedOut {
        /// Threads that have not ended, their last hooks included.
        running: usize,
        /// Jobs that no thread has taken yet.
        queued: usize,
    },
}

/// A snapshot of a pool's counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Threads that take jobs, idle ones and those being started included; one in its last hook counts no longer.
    pub threads: usize,
    /// Threads that wait for a job.
    pub idle: usize,
    /// Jobs that wait for a thread.
    pub queued: usize,
    /// Threads started so far: those that began, or whose starter has promised them.
    pub started: u64,
    /// Starts that failed so far, by an error or a panic of the starter.
    pub start_failures: u64,
    /// Jobs and hooks that panicked so far.
    pub panics: u64,
}
