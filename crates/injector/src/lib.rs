#![doc = include_str!("../README.md")]

#[cfg(feature = "conformance")]
pub mod conformance;
mod injector;
mod locked;
mod segmented;
mod sharded;
mod stack;

pub use injector::Injector;
pub use locked::Locked;
pub use segmented::Segmented;
pub use sharded::{FAIR_SWEEP, LANES_MAX, LanesError, Sharded};
pub use stack::{Chain, Linked, Stack};
