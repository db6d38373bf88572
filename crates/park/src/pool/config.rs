//! The configuration of a thread pool as plain data, and the way to start threads.

use core::fmt;
use std::io;

use stealyard_sync::thread::{Builder, JoinHandle};
use stealyard_sync::time::Duration;

/// A hook that is called on a pool thread with the thread's number.
pub type ThreadHook = Box<dyn Fn(usize) + Send + Sync>;

/// The configuration of a [`ThreadPool`](crate::ThreadPool). Plain data; `..PoolConfig::default()`
/// fills in the rest.
pub struct PoolConfig {
    /// The prefix of the threads' names: a thread is named this, a hyphen and a number counted from
    /// 0. Default: `stealyard-blocking`. Linux shows the first 15 bytes.
    pub name: String,
    /// The largest number of threads; a thread in `on_stop` no longer counts. Default: 512, as in
    /// the peers' pools for blocking calls. More blocked system calls at once are usually a
    /// mistake.
    pub threads_max: usize,
    /// The time for which an idle thread waits for a job before it ends. Default: 10 s. Zero ends
    /// it at once; `Duration::MAX` keeps it for ever.
    pub keep_alive: Duration,
    /// The stack size of each thread in bytes. Default: `None`, the platform's usual size (2 MiB in
    /// Rust).
    pub stack_size: Option<usize>,
    /// Called on each thread before its first job. It may use the pool, and a panic is counted.
    /// Default: nothing.
    pub on_start: Option<ThreadHook>,
    /// Called on each thread after its last job. It may use the pool, and a panic is counted.
    /// Default: nothing.
    pub on_stop: Option<ThreadHook>,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            name: "stealyard-blocking".to_owned(),
            threads_max: 512,
            keep_alive: Duration::from_secs(10),
            stack_size: None,
            on_start: None,
            on_stop: None,
        }
    }
}

impl fmt::Debug for PoolConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolConfig")
            .field("name", &self.name)
            .field("threads_max", &self.threads_max)
            .field("keep_alive", &self.keep_alive)
            .field("stack_size", &self.stack_size)
            .field("on_start", &self.on_start.is_some())
            .field("on_stop", &self.on_stop.is_some())
            .finish()
    }
}

/// The error of an invalid configuration. It names the field, its value and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolConfigError {
    /// `threads_max` is zero: no job could ever run.
    NoThreads,
    /// `name` contains a zero byte, which no platform takes.
    NameHasZero(String),
}

impl fmt::Display for PoolConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoThreads => f.write_str("threads_max is 0: it must be at least 1"),
            Self::NameHasZero(name) => {
                write!(f, "name {name:?} contains a zero byte: leave it out")
            }
        }
    }
}

impl core::error::Error for PoolConfigError {}

impl PoolConfig {
    /// Checks the configuration without building anything.
    ///
    /// # Errors
    /// [`PoolConfigError`] names the first field with an invalid value.
    pub fn validate(&self) -> Result<(), PoolConfigError> {
        if self.threads_max == 0 {
            return Err(PoolConfigError::NoThreads);
        }
        if self.name.contains('\0') {
            return Err(PoolConfigError::NameHasZero(self.name.clone()));
        }
        Ok(())
    }
}

/// Starts threads: those of the operating system, or those of a simulator.
pub trait Start: Send + Sync {
    /// Starts a thread that runs `body` to its end.
    ///
    /// The pool calls it without any lock, so it may use the pool. It must not wait for the end of
    /// the pool, nor for another thread that waits for this start.
    ///
    /// The pool goes by what becomes of `body`:
    /// - a `body` that has begun is a thread, whatever is returned;
    /// - a `body` that is dropped is no thread, and its job is lost if a thread was promised by
    ///   `Ok`;
    /// - a `body` that is neither run nor dropped after `Ok` counts as a thread for good.
    ///
    /// # Errors
    /// Returns the error that kept the thread from starting. A `body` that has not begun by then
    /// never will. A panic counts as an error.
    fn start(
        &self,
        name: String,
        stack_size: Option<usize>,
        body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<JoinHandle<()>>;
}

/// Starts threads of the operating system. This is the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsThreads;

impl Start for OsThreads {
    fn start(
        &self,
        name: String,
        stack_size: Option<usize>,
        body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<JoinHandle<()>> {
        let mut builder = Builder::new().name(name);
        if let Some(bytes) = stack_size {
            builder = builder.stack_size(bytes);
        }
        builder.spawn(body)
    }
}
