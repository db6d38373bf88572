#![doc = include_str!("../README.md")]

#[cfg(all(stealyard_loom, not(feature = "loom")))]
compile_error!("`--cfg stealyard_loom` needs `--features loom`");
#[cfg(all(stealyard_shuttle, not(feature = "shuttle")))]
compile_error!("`--cfg stealyard_shuttle` needs `--features shuttle`");

pub mod asymmetric;
pub mod fork;
pub mod seed;
pub mod unique;
pub mod unpoisoned;

#[cfg(stealyard_loom)]
pub mod model;
#[cfg(stealyard_shuttle)]
pub mod replay;

mod imp;
mod patience;
#[cfg(stealyard_tsan)]
mod tsan;

pub use crossbeam_utils::{Backoff, CachePadded};
#[cfg(stealyard_loom)]
pub use imp::lazy_static;
pub use imp::{Arc, Condvar, Mutex, MutexGuard, atomic, cell, hint, thread, thread_local, time};
pub use patience::Patience;

/// Whether the primitives are those of a model checker. In a model a wait must go through the
/// model, and sizes are kept small.
pub const MODELLED: bool = cfg!(any(stealyard_loom, stealyard_shuttle));

/// Whether time passes. It does not under loom, where a thread that waits for a moment would wait
/// for ever.
pub const HAS_TIME: bool = !cfg!(stealyard_loom);
