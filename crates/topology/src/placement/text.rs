//! Placements as words, for configuration files, environment variables and command lines.
//!
//! | text | placement |
//! |------|-----------|
//! | `none`, `compact`, `spread`, `balanced`, `one-per-core`, `per-node` | the one of that name |
//! | `explicit:0;2;4-5` | a list of CPUs for each worker |
//! | `places:cores`, `places:{0:4}:4:4 spread` | places, with an optional way to bind |
//! | `performance:PLACEMENT` | on performance cores alone |
//! | `local-memory:PLACEMENT` | with the memory of the node |
//!
//! A placement that is written as text is read back as the same value.

use super::{Placement, Places};
use crate::CpuSet;
use core::fmt;
use core::str::FromStr;

/// A text that is no placement; says what is wrong with which part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsePlacementError {
    /// The whole text.
    pub text: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl fmt::Display for ParsePlacementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "placement {:?}: {}", self.text, self.what)
    }
}

impl core::error::Error for ParsePlacementError {}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(f, "none"),
            Self::Compact => write!(f, "compact"),
            Self::Spread => write!(f, "spread"),
            Self::Balanced => write!(f, "balanced"),
            Self::OnePerCore => write!(f, "one-per-core"),
            Self::PerNode => write!(f, "per-node"),
            Self::Explicit(sets) => {
                let lists: Vec<String> = sets.iter().map(CpuSet::to_string).collect();
                write!(f, "explicit:{}", lists.join(";"))
            }
            Self::Places(places) => write!(f, "places:{places}"),
            Self::PerformanceCores(policy) => write!(f, "performance:{policy}"),
            Self::LocalMemory(policy) => write!(f, "local-memory:{policy}"),
        }
    }
}

impl FromStr for Placement {
    type Err = ParsePlacementError;

    fn from_str(text: &str) -> Result<Self, ParsePlacementError> {
        let error = |what: String| ParsePlacementError {
            text: text.into(),
            what,
        };
        let (name, rest) = match text.trim().split_once(':') {
            Some((name, rest)) => (name, Some(rest.trim())),
            None => (text.trim(), None),
        };
        match (name, rest) {
            ("none", None) => Ok(Self::None),
            ("compact", None) => Ok(Self::Compact),
            ("spread", None) => Ok(Self::Spread),
            ("balanced", None) => Ok(Self::Balanced),
            ("one-per-core", None) => Ok(Self::OnePerCore),
            ("per-node", None) => Ok(Self::PerNode),
            ("explicit", Some(lists)) => {
                let one = |list: &str| {
                    list.parse().map_err(|e| error(format!("{list:?} is not a list of CPUs, {e}")))
                };
                lists.split(';').map(one).collect::<Result<_, _>>().map(Self::Explicit)
            }
            ("places", Some(rest)) => {
                // A blank may stand inside braces; the way to bind is a word at the end.
                let (list, bind) = match rest.rsplit_once(' ') {
                    Some((list, bind)) if bind.bytes().all(|b| b.is_ascii_alphabetic()) => {
                        (list, bind.parse().map_err(|e| error(format!("{e}")))?)
                    }
                    _ => (rest, Default::default()),
                };
                let list = list.parse().map_err(|e| error(format!("{e}")))?;
                Ok(Self::Places(Places { list, bind }))
            }
            ("performance", Some(policy)) => {
                let policy: Self = policy.parse().map_err(|e: Self::Err| error(e.what))?;
                Ok(policy.on_performance_cores())
            }
            ("local-memory", Some(policy)) => {
                let policy: Self = policy.parse().map_err(|e: Self::Err| error(e.what))?;
                Ok(policy.with_local_memory())
            }
            _ => Err(error(
                "expected none, compact, spread, balanced, one-per-core, per-node, explicit:CPUS;CPUS…, \
                 places:LIST, performance:PLACEMENT or local-memory:PLACEMENT"
                    .into(),
            )),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Placement {
    /// Writes the words that [`FromStr`] reads.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
