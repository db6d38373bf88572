#![doc = include_str!("../README.md")]

#[cfg(all(stealyard_loom, not(feature = "loom")))]
compile_error!("`--cfg stealyard_loom` needs `--features loom`");
#[cfg(all(stealyard_shuttle, not(feature = "shuttle")))]
compile_error!("`--cfg stealyard_shuttle` needs `--features shuttle`");

#[cfg(any(feature = "futures", feature = "hyper"))]
mod adapters;
mod block_on;
mod blocking;
mod builder;
mod config;
pub mod coop;
mod current;
mod environment;
mod error;
mod find;
mod fork_join;
mod global;
mod histogram;
mod hooks;
mod install;
mod machine;
mod metrics;
mod place;
pub mod policy;
mod processor;
mod queue;
mod schedtrace;
mod scheduler;
mod shared;
mod shutdown;
mod task;
mod user_code;
mod wake;
mod watch;
mod worker;

pub use builder::Builder;
pub use config::{Config, GlobalInterval, PARALLELISM_MAX, PinFailure};
pub use coop::{YieldNow, yield_now};
pub use current::EnterGuard;
pub use error::{BuildError, NoScheduler};
pub use fork_join::{Scope, join, scope};
pub use histogram::{BUCKETS, Histogram};
pub use hooks::{Hooks, PanicHook, WorkerHook};
pub use metrics::{DISTANCES, Metrics, WorkerMetrics};
pub use place::{NoSuchPlace, Place};
pub use policy::{Longest, Nearest, Random, StealAmount, StealPolicy, Sticky, Weighted};
pub use queue::{CustomQueue, LocalQueue};
pub use scheduler::{Handle, Scheduler, spawn, spawn_blocking, spawn_detached, spawn_local};
pub use shutdown::{Shutdown, ShutdownReport};
pub use stealyard_deque::Order;
pub use stealyard_park::SpinConfig;
pub use stealyard_topology::{Placement, Topology};
pub use task::{AbortHandle, JoinError, JoinHandle, Payload, Task, TaskId, task_id, try_task_id};

/// The parts behind the scheduler, for its own models and measurements. No promise is made about them.
#[doc(hidden)]
pub mod internals {
    pub use crate::fork_join::{Boards, Crew, Entered, Jobs};
    pub use crate::task::{
        Farewell, Local, Memory, Ran, Schedule, StackJob, Task, Why, spawn, spawn_call,
        spawn_call_detached, spawn_detached, spawn_unchecked,
    };
}
