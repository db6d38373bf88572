//! What a reader doubted, and what it assumed in place of it.
//!
//! Real `/sys` trees are old, partial, contradictory, or rewritten by containers. A contradiction
//! costs the thing it is about, never the machine: the reader takes the intersection or the next
//! source and leaves a [`Note`]. In strict mode the same doubt is an [`Error`].
//!
//! A machine of 8,192 CPUs can have the same trouble in 8,192 files. Notes that differ only in
//! numbers are one, with a count.

use crate::Error;
use core::fmt;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Something in the source of a machine that was missing, malformed or contradictory, and what was
/// assumed in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Note {
    /// The file it is about; the first of them, if the same is true of several. `None` where the
    /// source is no file.
    pub file: Option<PathBuf>,
    /// What was found there, in words.
    pub found: String,
    /// What was assumed in its place, in words.
    pub assumed: String,
    /// The number of files of which the same was found; at least 1.
    pub times: usize,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        write!(f, "{}; {}", self.found, self.assumed)?;
        match self.times {
            0 | 1 => Ok(()),
            2 => write!(f, " (and one more file like it)"),
            times => write!(f, " (and {} more files like it)", times - 1),
        }
    }
}

/// The notes of one reading.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    strict: bool,
    list: Vec<Note>,
    /// The index in `list`, by what is equal but for its numbers.
    known: BTreeMap<(String, String), usize>,
}

/// The most notes of one reading: a hostile tree must not make a list that is longer than the tree.
const MOST: usize = 1000;

impl Notes {
    /// Takes every doubt as an error.
    pub(crate) fn strict() -> Self {
        Self {
            strict: true,
            ..Self::default()
        }
    }

    /// Whether every doubt is an error.
    pub(crate) fn is_strict(&self) -> bool {
        self.strict
    }

    /// Records a doubt, and what is assumed because of it.
    ///
    /// # Errors
    /// The doubt itself, in strict mode.
    pub(crate) fn doubt(&mut self, doubt: Error, assumed: &str) -> Result<(), Error> {
        if self.strict {
            return Err(doubt);
        }
        let (file, found) = doubt.parts();
        self.add(file.as_deref(), found, assumed);
        Ok(())
    }

    /// Records what the source does not say, which is no error in either mode.
    pub(crate) fn unsaid(&mut self, file: Option<&Path>, found: &str, assumed: &str) {
        self.add(file, found.into(), assumed);
    }

    /// Returns the value, or `None` for a doubt, which is recorded.
    ///
    /// # Errors
    /// The doubt itself, in strict mode.
    pub(crate) fn accept<T>(
        &mut self,
        value: Result<T, Error>,
        assumed: &str,
    ) -> Result<Option<T>, Error> {
        match value {
            Ok(value) => Ok(Some(value)),
            Err(doubt) => self.doubt(doubt, assumed).map(|()| None),
        }
    }

    pub(crate) fn into_list(self) -> Vec<Note> {
        self.list
    }

    fn add(&mut self, file: Option<&Path>, found: String, assumed: &str) {
        let shape = |text: &str| -> String {
            let mut shape: Vec<char> = text
                .chars()
                .map(|c| if c.is_ascii_digit() { '#' } else { c })
                .collect();
            shape.dedup_by(|a, b| *a == '#' && *b == '#');
            shape.into_iter().collect()
        };
        let place = file.map(|file| shape(&file.to_string_lossy()));
        let key = (place.unwrap_or_else(|| shape(&found)), shape(assumed));
        if let Some(&index) = self.known.get(&key) {
            self.list[index].times += 1;
        } else if self.list.len() < MOST {
            self.known.insert(key, self.list.len());
            self.list.push(Note {
                file: file.map(Into::into),
                found,
                assumed: assumed.into(),
                times: 1,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    //! Goal: equal doubts are one note with a count, and strict mode has none. Method: doubts by
    //! hand.

    use super::*;

    #[test]
    fn doubts_that_differ_in_numbers_are_one_note() {
        let mut notes = Notes::default();
        for cpu in 0..3 {
            let file = PathBuf::from(format!("cpu{cpu}/topology/core_id"));
            let doubt = Error::malformed(&file, format!("{cpu} is odd"));
            notes
                .doubt(doubt, "no number is assumed")
                .expect("not strict");
        }
        let other = Error::malformed(Path::new("online"), "nothing");
        notes.doubt(other, "all are").expect("not strict");
        let texts: Vec<String> = notes.into_list().iter().map(Note::to_string).collect();
        assert_eq!(
            texts,
            [
                "cpu0/topology/core_id: 0 is odd; no number is assumed (and 2 more files like it)",
                "online: nothing; all are"
            ]
        );
    }

    #[test]
    fn a_strict_reading_fails_with_the_doubt() {
        let doubt = Error::malformed(Path::new("online"), "nothing");
        assert_eq!(Notes::strict().doubt(doubt.clone(), "all are"), Err(doubt));
    }
}
