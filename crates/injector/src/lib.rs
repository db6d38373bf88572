#![doc = include_str!("../README.md")]

mod injector;
mod locked;

pub use injector::Injector;
pub use locked::Locked;
