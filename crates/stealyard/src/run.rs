//! Run: the worker's loop, and the birth and death of threads.

pub(crate) mod blocking;
mod layout;
mod pinning;
mod schedtrace;
pub(crate) mod shutdown;
pub(crate) mod start;
mod worker;
