//! What a thread pool is told: plain data, and how threads are started.

use core::fmt;
use std::io;

use stealyard_sync::thread::{Builder, JoinHandle};
use stealyard_sync::time::Duration;

/// Called on a pool thread with the thread's number.
pub type ThreadHook = Box<dyn Fn(usize) + Send + Sync>;

/// The bounds and habits of a [`ThreadPool`](crate::ThreadPool). Plain data; `..PoolConfig::default()`
/// fills the rest.
pub struct PoolConfig {
    /// Threads are named this, a hyphen and a number counted from 0. Default: `stealyard-blocking`.
    /// Linux shows the first 15 bytes.
    pub name: String,
    /// Never more threads than this; one that is in `on_stop` counts no longer. Default: 512, as the peers'
    /// pools for blocking calls: more blocked system calls than that at once are usually a mistake.
    pub threads_max: usize,
    /// How long an idle thread waits for a job before it ends. Default: 10 s. Zero ends it at once;
    /// `Duration::MAX` keeps it for ever.
    pub keep_alive: Duration,
    /// The stack of each thread in bytes. Default: `None`, the platform's usual size (2 MiB in Rust).
    pub stack_size: Option<usize>,
    /// Called on each thread before its first job. It may use the pool; a panic is counted. Default: nothing.
    pub on_start: Option<ThreadHook>,
    /// Called on each thread after its last job. It may use the pool; a panic is counted. Default: nothing.
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

/// A configuration that makes no sense: the field, its value and what would be right.
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
    /// [`PoolConfigError`] names the first field that makes no sense.
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

/// Starts a thread: the operating system's, or a simulator's.
pub trait Start: Send + Sync {
    /// Starts a thread that runs `body` to its end. Called without any lock, so it may use the pool; but it must
    /// not wait for the pool's end, nor for another thread that waits for this start.
    ///
    /// The pool goes by what becomes of `body`: one that has begun is a thread, whatever is returned; one that is
    /// dropped is none, and its job is lost if a thread was promised. A `body` that is neither run nor dropped
    /// after `Ok` counts as a thread for good.
    ///
    /// # Errors
    /// Whatever kept the thread from starting; a `body` that has not begun then never will. A panic is an error
    /// as well.
    fn start(
        &self,
        name: String,
        stack_size: Option<usize>,
        body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<JoinHandle<()>>;
}

/// Threads of the operating system. The default.
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
