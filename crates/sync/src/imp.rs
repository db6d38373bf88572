//! Picks the primitives that stand behind the door: the real ones, loom's or shuttle's.

#[cfg(stealyard_loom)]
pub mod frozen;
#[cfg(stealyard_loom)]
mod modelled;
#[cfg(stealyard_shuttle)]
pub mod moving;
#[cfg(not(any(stealyard_loom, stealyard_shuttle)))]
mod real;
#[cfg(stealyard_shuttle)]
mod shuttled;
#[cfg(not(stealyard_loom))]
mod unsafe_cell;
#[cfg(stealyard_loom)]
pub(crate) mod watched;

#[cfg(stealyard_loom)]
pub use modelled::*;
#[cfg(not(any(stealyard_loom, stealyard_shuttle)))]
pub use real::*;
#[cfg(stealyard_shuttle)]
pub use shuttled::*;
