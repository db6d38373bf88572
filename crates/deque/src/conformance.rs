//! The conformance suite: does a queue keep what its [`Worker`] implementation promises?
//!
//! To check a queue of your own, make it generic over its items, let it hold [`Token`]s, and run
//! [`check`] in a test. P1 to P8 are those of `worker.rs`: the promises of [`Worker`].
//!
//! - [`sequential()`] makes random calls from one thread and compares them with a model. It shrinks
//!   a failure. It checks P1 to P6, and P8.
//! - [`linearizable()`] records small histories of concurrent calls. Each of them must have an
//!   order that explains it. It checks P1 to P4, and P6.
//! - [`stress()`] makes many calls from many threads, whose counts must add up. It checks P1, P2,
//!   P3, P5 and P7.
//!
//! The parts are separate so that a failure says where to look, and so that one part can be run for
//! longer. [`Effort`] says for how long, and `STEALYARD_SOAK` in the environment multiplies it.
//!
//! # Example
//! ```
//! use stealyard_deque::conformance::{self, Effort, Token};
//! use stealyard_deque::Ring;
//!
//! let make = |capacity| Ring::<Token>::with_capacity(capacity).expect("a power of two");
//! conformance::check(make, Effort::quick()).expect("the ring keeps its promises");
//! ```

mod history;
mod linearize;
mod record;
mod sequential;
mod stress;
mod token;

use core::fmt;

use crate::worker::Worker;

pub use history::{Call, History, Record, Specification};
pub use linearize::{MAX_CALLS, explain};
pub use record::linearizable;
pub use sequential::sequential;
pub use stress::{Tally, stress};
pub use token::{Ledger, Token};

/// How much to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// The number of random programs in the sequential part.
    pub programs: u32,
    /// The number of histories that are recorded and checked.
    pub histories: u32,
    /// The number of items that go through the queues in each round of the stress part.
    pub items: u64,
}

impl Effort {
    /// Returns an effort of about a second on one core in an optimised build, for a queue that
    /// costs about ten nanoseconds a call.
    #[must_use]
    pub fn everyday() -> Self {
        Self {
            programs: 256,
            histories: 1_500,
            items: 100_000,
        }
        .soaked()
    }

    /// Returns an effort for an example or a first look.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            programs: 64,
            histories: 100,
            items: 5_000,
        }
    }

    /// Returns this effort multiplied by `STEALYARD_SOAK`, if that is set to a number.
    fn soaked(self) -> Self {
        let soak = std::env::var("STEALYARD_SOAK").map_or(1, |text| text.parse().unwrap_or(1));
        Self {
            programs: self.programs.saturating_mul(soak),
            histories: self.histories.saturating_mul(soak),
            items: self.items.saturating_mul(u64::from(soak)),
        }
    }
}

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The promise of [`Worker`], as `P1` to `P8`.
    pub promise: &'static str,
    /// A description of what happened, and of what would have been right.
    pub what: String,
}

impl Violation {
    fn new(promise: &'static str, what: impl Into<String>) -> Self {
        Self {
            promise,
            what: what.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not kept: {}", self.promise, self.what)
    }
}

impl core::error::Error for Violation {}

/// Runs every part on queues that `make` creates for a given capacity. The capacity is a power of
/// two and at least 2; a queue that grows may start with it.
///
/// # Errors
/// Returns the first promise found broken.
pub fn check<W>(make: impl Fn(usize) -> W, effort: Effort) -> Result<Tally, Violation>
where
    W: Worker<Item = Token> + 'static,
{
    sequential(&make, effort.programs)?;
    for capacity in [2, 4, 16] {
        linearizable(&make, capacity, effort.histories / 3 + 1)?;
    }
    stress(&make, 64, effort.items)
}
