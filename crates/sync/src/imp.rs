//! Picks what stands behind the door; nothing else.

#[cfg(stealyard_loom)]
mod modelled;
#[cfg(not(stealyard_loom))]
mod real;

#[cfg(stealyard_loom)]
pub use modelled::*;
#[cfg(not(stealyard_loom))]
pub use real::*;
