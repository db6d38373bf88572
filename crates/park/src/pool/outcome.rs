//! The outcomes of giving a job to the pool and of shutting it down, as values.

use core::fmt;
use std::io;

use super::Job;

/// Where the pool put a job.
#[derive(Debug)]
#[must_use = "a start that failed is reported here"]
pub enum Placed {
    /// On a thread that was idle.
    Reused,
    /// On a thread that was started for it.
    Started,
    /// In the queue. The next thread that becomes free takes it.
    Queued {
        /// The error that kept a thread from being started for the job, if one should have been.
        /// The job is safe, but the system is short of threads or memory.
        start_failed: Option<io::Error>,
    },
}

/// A job that the pool did not take, with the reason.
#[must_use = "the job is in it"]
pub struct Refused {
    job: Job,
    reason: RefusedReason,
}

/// The reason why a job was refused.
#[derive(Debug)]
#[non_exhaustive]
pub enum RefusedReason {
    /// The pool was closed or shut down.
    Closed,
    /// Every thread is busy, the limit is reached, and the job must not wait.
    Busy,
    /// No thread could be started (too many processes, no memory for the stack). The job must not
    /// wait, or there is no thread that could take it later.
    NoThread(io::Error),
    /// This process was forked from the one that has the pool's threads, and needs a pool of its
    /// own.
    Forked,
}

impl Refused {
    pub(super) fn new(job: Job, reason: RefusedReason) -> Self {
        Self { job, reason }
    }

    /// Returns the reason.
    pub fn reason(&self) -> &RefusedReason {
        &self.reason
    }

    /// Returns the job, to be run elsewhere.
    pub fn into_job(self) -> Job {
        self.job
    }

    /// Returns the job and the reason.
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
    /// The time was up. Running jobs go on, and queued jobs will still run. No job is lost, and
    /// another shutdown may wait further.
    TimedOut {
        /// The number of threads that have not ended, including those in their last hooks.
        running: usize,
        /// The number of jobs that no thread has taken yet.
        queued: usize,
    },
}

/// A snapshot of a pool's counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// The number of threads that take jobs, including idle threads and those being started. A
    /// thread in its last hook no longer counts.
    pub threads: usize,
    /// The number of threads that wait for a job.
    pub idle: usize,
    /// The number of jobs that wait for a thread.
    pub queued: usize,
    /// The number of threads started so far: those that began, or that a starter has promised.
    pub started: u64,
    /// The number of starts that failed so far, by an error or a panic of the starter.
    pub start_failures: u64,
    /// The number of jobs and hooks that panicked so far.
    pub panics: u64,
}
