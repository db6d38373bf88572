//! Run: the worker's loop, and the birth and death of threads.

pub(crate) mod blocking;
pub(crate) mod schedtrace;
pub(crate) mod shutdown;
pub(crate) mod start;
pub(crate) mod worker;
