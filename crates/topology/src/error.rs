//! What can go wrong while reading a machine; every error names its file or its place.

use core::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A machine that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    Read {
        /// The file.
        path: PathBuf,
        /// The kind of failure; `NotFound` for a missing file.
        kind: io::ErrorKind,
        /// The system's error number, where there is one.
        errno: Option<i32>,
    },
    /// A file is larger than this crate reads.
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, in bytes.
        limit: usize,
    },
    /// A file was read and its content makes no sense.
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with the content, and what would be right.
        what: String,
    },
    /// Files that are each well-formed contradict each other.
    Inconsistent {
        /// The file that revealed the contradiction, or the source of the whole description.
        path: PathBuf,
        /// The contradiction.
        what: String,
    },
    /// A synthetic description is malformed.
    Synthetic {
        /// Byte position in the description.
        position: usize,
        /// What is wrong there, and what would be right.
        what: String,
    },
    /// A system call failed.
    System {
        /// The call.
        call: &'static str,
        /// The system's error number.
        errno: i32,
    },
    /// This system does not offer what was asked.
    Unsupported {
        /// What it does not offer.
        what: &'static str,
    },
    /// libhwloc refused or contradicted itself.
    Hwloc {
        /// What was asked of it and what came back.
        what: String,
    },
}

impl Error {
    pub(crate) fn read(path: &Path, error: &io::Error) -> Self {
        Self::Read {
            path: path.into(),
            kind: error.kind(),
            errno: error.raw_os_error(),
        }
    }

    pub(crate) fn malformed(path: &Path, what: impl fmt::Display) -> Self {
        Self::Malformed {
            path: path.into(),
            what: what.to_string(),
        }
    }

    pub(crate) fn inconsistent(path: &Path, what: impl fmt::Display) -> Self {
        Self::Inconsistent {
            path: path.into(),
            what: what.to_string(),
        }
    }

    /// Returns the file that it is about, if it is one, and the words for the rest.
    pub(crate) fn parts(&self) -> (Option<PathBuf>, String) {
        match self {
            Self::Read { path, kind, errno } => (Some(path.clone()), unreadable(*kind, *errno)),
            Self::TooLarge { path, limit } => (
                Some(path.clone()),
                format!("it is larger than {limit} bytes"),
            ),
            Self::Malformed { path, what } | Self::Inconsistent { path, what } => {
                (Some(path.clone()), what.clone())
            }
            other => (None, other.to_string()),
        }
    }

    /// Whether the failure is a file that does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::Read {
                kind: io::ErrorKind::NotFound,
                ..
            }
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { .. } | Self::TooLarge { .. } => {
                let (path, what) = self.parts();
                write!(f, "{}: {what}", path.unwrap_or_default().display())
            }
            Self::Malformed { path, what } | Self::Inconsistent { path, what } => {
                write!(f, "{}: {what}", path.display())
            }
            Self::Synthetic { position, what } => {
                write!(f, "synthetic topology, at byte {position}: {what}")
            }
            Self::System { call, errno } => {
                write!(f, "{call}: {}", io::Error::from_raw_os_error(*errno))
            }
            Self::Unsupported { what } => write!(f, "{what}"),
            Self::Hwloc { what } => write!(f, "hwloc: {what}"),
        }
    }
}

/// Words for a file that could not be read.
fn unreadable(kind: io::ErrorKind, errno: Option<i32>) -> String {
    match (kind, errno) {
        (io::ErrorKind::NotFound, _) => "there is no such file".into(),
        (_, Some(errno)) => {
            format!("it cannot be read: {}", io::Error::from_raw_os_error(errno))
        }
        (kind, None) => format!("it cannot be read: {kind}"),
    }
}

impl core::error::Error for Error {}

#[cfg(feature = "serde")]
impl serde::Serialize for Error {
    /// Writes the words of [`fmt::Display`].
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Returns a text as errors and notes show it: quoted, and no longer than a line.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        _ if text.is_empty() => "an empty text".into(),
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}
