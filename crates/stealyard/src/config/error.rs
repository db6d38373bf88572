//! Errors when a scheduler is built: each names the field or the thing that failed, its value, and
//! what would be right.

use core::fmt;
use std::io;

use stealyard_topology::{PinError, PlacementError};

/// Why a scheduler could not be built.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// A field of the configuration has a value that makes no sense.
    Config {
        /// The field of [`Config`](crate::Config).
        field: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        wanted: String,
    },
    /// A variable of the environment has a value that makes no sense.
    Environment {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        wanted: String,
    },
    /// The workers cannot be placed as `Config::placement` asks.
    Placement(PlacementError),
    /// A worker could not be bound to its CPUs, and `Config::on_pin_failure` is
    /// `PinFailure::Refuse`.
    Pin {
        /// The worker.
        worker: usize,
        /// Which CPUs, and why.
        error: PinError,
    },
    /// Not a single worker thread could be started.
    NoThread {
        /// How many were wanted.
        wanted: usize,
        /// The system's answer to the first.
        error: io::Error,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config {
                field,
                value,
                wanted,
            } => {
                write!(f, "{field} is {value}: it must be {wanted}")
            }
            Self::Environment {
                variable,
                value,
                wanted,
            } => {
                write!(
                    f,
                    "the environment has {variable}={value:?}: it must be {wanted}"
                )
            }
            Self::Placement(error) => write!(f, "placement: {error}"),
            Self::Pin { worker, error } => write!(
                f,
                "worker {worker} cannot be bound to its CPUs: {error}; `on_pin_failure(PinFailure::Continue)` goes \
                 on without"
            ),
            Self::NoThread { wanted, error } => write!(
                f,
                "none of {wanted} worker threads could be started ({error}): raise the limit on processes \
                 (`ulimit -u`, pids.max) or on memory, or ask for a smaller `stack_size`"
            ),
        }
    }
}

impl core::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Placement(error) => Some(error),
            Self::Pin { error, .. } => Some(error),
            Self::NoThread { error, .. } => Some(error),
            Self::Config { .. } | Self::Environment { .. } => None,
        }
    }
}
