#![doc = include_str!("../README.md")]

#[cfg(all(stealyard_loom, not(feature = "loom")))]
compile_error!("`--cfg stealyard_loom` needs `--features loom`");
#[cfg(all(stealyard_shuttle, not(feature = "shuttle")))]
compile_error!("`--cfg stealyard_shuttle` needs `--features shuttle`");

pub mod fork_join;
mod panics;
mod task;
pub mod user_code;

pub use fork_join::{Scope, join, scope};
pub use task::{
    AbortHandle, JoinError, JoinHandle, LocalMemory, Payload, Ran, Schedule, StackJob, Task,
    TaskId, TaskMemory, Why, running, spawn, spawn_call, spawn_call_detached, spawn_detached,
    spawn_unchecked, task_id, trampoline, try_task_id, wait_for,
};
