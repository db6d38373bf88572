//! Models of tasks and of fork-join, named after the invariants they check; each folder file says
//! its goal and method.
#![cfg(stealyard_loom)]

#[path = "loom/fork_join.rs"]
mod fork_join;
#[path = "loom/scope.rs"]
mod scope;
#[path = "loom/task.rs"]
mod task;
#[path = "loom/waker.rs"]
mod waker;
