#![doc = include_str!("../README.md")]

mod injector;
mod locked;
mod segmented;

pub use injector::Injector;
pub use locked::Locked;
pub use segmented::{Segmented, TryPop};
