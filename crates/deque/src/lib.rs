#![doc = include_str!("../README.md")]

mod batch;
mod buffer;
mod capacity;
mod chase_lev;
mod collector;
#[cfg(feature = "conformance")]
pub mod conformance;
mod ring;
mod slot;
mod split;
mod steal;
mod word;
mod worker;

pub use capacity::CapacityError;
pub use chase_lev::{ChaseLev, ChaseLevStealer, Discipline, Fifo, Lifo};
#[cfg(stealyard_loom)]
#[doc(hidden)]
pub use collector::pin;
pub use ring::{Ring, RingStealer};
pub use slot::{LastPass, NeverSteal, Slot, SlotPolicy};
pub use split::{Split, SplitStealer};
pub use steal::Steal;
pub use word::Word;
pub use worker::{Callers, Capacity, Hidden, MaxSteal, Order, Progress, Promises, Stealer, Worker};
