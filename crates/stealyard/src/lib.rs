#![doc = include_str!("../README.md")]

#[cfg(all(stealyard_loom, not(feature = "loom")))]
compile_error!("`--cfg stealyard_loom` needs `--features loom`");
#[cfg(all(stealyard_shuttle, not(feature = "shuttle")))]
compile_error!("`--cfg stealyard_shuttle` needs `--features shuttle`");

mod config;
mod handle;
mod machine;
mod machine_remote;
mod metrics;
pub mod policy;
mod processor;
mod run;
mod search;
mod state;
mod user_code;

pub use config::error::BuildError;
pub use config::hooks::{Hooks, PanicHook, WorkerHook};
pub use config::local_queue::{CustomQueue, LocalQueue};
pub use config::{Config, GlobalInterval, PARALLELISM_MAX, PinFailure};
pub use handle::builder::Builder;
pub use handle::coop::{self, YieldNow, yield_now};
pub use handle::place::{NoSuchPlace, Place};
pub use handle::scheduler::Scheduler;
pub use handle::spawn::{spawn, spawn_blocking, spawn_detached, spawn_local};
pub use handle::{Handle, NoScheduler};
pub use machine::current::EnterGuard;
pub use metrics::histogram::{BUCKETS, Histogram};
pub use metrics::{DISTANCES, Metrics, WorkerMetrics};
pub use policy::{Longest, Nearest, Random, StealAmount, StealPolicy, Sticky, Weighted};
pub use run::shutdown::{Shutdown, ShutdownReport};
pub use stealyard_deque::Order;
pub use stealyard_park::SpinConfig;
pub use stealyard_task::{
    AbortHandle, JoinError, JoinHandle, Payload, Scope, Task, TaskId, join, scope, task_id,
    try_task_id,
};
pub use stealyard_topology::{Placement, Topology};
