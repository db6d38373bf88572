//! Models of the scheduler's parts, named after the invariants they check; each folder file says
//! its goal and method. Those of tasks and of fork-join are in `stealyard-task`.
#![cfg(stealyard_loom)]

#[path = "loom/scheduler.rs"]
mod scheduler;
