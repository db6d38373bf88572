//! Machines: the threads that run tasks (the M of G, M, P), and what stays with each of them.

pub(crate) mod current;
pub(crate) mod local_tasks;
