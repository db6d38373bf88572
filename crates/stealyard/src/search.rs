//! Search: how a task is made ready, and how a worker without one finds it.

pub(crate) mod find;
pub(crate) mod monitor;
pub(crate) mod ready;
