#![doc = include_str!("../README.md")]

mod fork_join;
mod task;

pub use fork_join::{Scope, join, scope};
pub use task::{JoinError, JoinHandle, Payload};

/// The parts behind the scheduler, for its own models and measurements. No promise is made about them.
#[doc(hidden)]
pub mod internals {
    pub use crate::fork_join::{Crew, Entered, Jobs};
    pub use crate::task::{
        Farewell, Local, Memory, Ran, Schedule, StackJob, Task, Why, spawn, spawn_call,
        spawn_call_detached, spawn_detached, spawn_unchecked,
    };
}
