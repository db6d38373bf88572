//! Picks what a thread sleeps on: `futex.rs` on Linux, `condvar.rs` elsewhere and in models.
//!
//! Both have the type `Futex`, a word that threads can sleep on, with the same two guarantees.
//!
//! # Invariants
//! - **F1** *No wake is missed.* `wait(expected)` returns at once if the word no longer holds
//!   `expected`. To `wake_one` and `wake_all` the check and the falling asleep are one step. So a
//!   change of the word that is followed by a wake is never missed.
//! - **F2** *A return proves nothing.* `wait` may return for no reason, so its caller looks at the
//!   word again.

#[cfg(all(target_os = "linux", not(stealyard_loom), not(stealyard_shuttle)))]
#[path = "imp/futex.rs"]
mod platform;

#[cfg(not(all(target_os = "linux", not(stealyard_loom), not(stealyard_shuttle))))]
#[path = "imp/condvar.rs"]
mod platform;

pub(crate) use platform::Futex;
