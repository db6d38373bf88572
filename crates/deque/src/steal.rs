//! The outcome of an attempt to steal.
//!
//! A thief has three outcomes to tell apart: it got something, there was nothing, or another thread
//! was quicker and trying again makes sense. A plain `None` for the last two would make callers
//! either give up too early or spin on an empty queue.

/// The outcome of an attempt to steal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "a stolen item is lost when it is ignored, and `Retry` asks for another attempt"]
pub enum Steal<T> {
    /// The attempt got this.
    Success(T),
    /// There was nothing to take.
    Empty,
    /// Another thread was quicker. Trying again may succeed.
    Retry,
}

impl<T> Steal<T> {
    /// Whether something was stolen.
    #[inline]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Success(_))
    }

    /// Whether there was nothing to take.
    #[inline]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Whether trying again makes sense.
    #[inline]
    pub fn is_retry(&self) -> bool {
        matches!(self, Self::Retry)
    }

    /// Returns what was stolen, if anything. The difference between the other two outcomes is lost.
    #[inline]
    pub fn success(self) -> Option<T> {
        match self {
            Self::Success(stolen) => Some(stolen),
            Self::Empty | Self::Retry => None,
        }
    }

    /// Applies `f` to what was stolen.
    #[inline]
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Steal<U> {
        match self {
            Self::Success(stolen) => Steal::Success(f(stolen)),
            Self::Empty => Steal::Empty,
            Self::Retry => Steal::Retry,
        }
    }

    /// Returns this outcome if something was stolen, else the outcome of `f`. `Retry` is kept
    /// unless `f` succeeds: a search over several queues that met one race must not report that all
    /// were empty.
    #[inline]
    pub fn or_else(self, f: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Success(_) => self,
            Self::Empty => f(),
            Self::Retry => match f() {
                Self::Success(stolen) => Self::Success(stolen),
                Self::Empty | Self::Retry => Self::Retry,
            },
        }
    }
}

/// Takes the first success of a sequence of attempts, and stops there. Without a success the
/// outcome is `Retry` if there was any `Retry`, else `Empty`.
impl<T> FromIterator<Self> for Steal<T> {
    fn from_iter<I: IntoIterator<Item = Self>>(attempts: I) -> Self {
        let mut outcome = Self::Empty;
        for attempt in attempts {
            match attempt {
                Self::Success(_) => return attempt,
                Self::Retry => outcome = Self::Retry,
                Self::Empty => {}
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    //! Goal: every combinator on every outcome. Method: the nine pairs, written out.

    use super::Steal::{self, Empty, Retry, Success};

    #[test]
    fn predicates_and_map_cover_every_outcome() {
        assert!(Success(1).is_success() && !Success(1).is_empty() && !Success(1).is_retry());
        assert!(Steal::<u8>::Empty.is_empty() && !Steal::<u8>::Empty.is_success());
        assert!(Steal::<u8>::Retry.is_retry() && !Steal::<u8>::Retry.is_empty());
        assert_eq!(Success(2).map(|n| n + 1), Success(3));
        assert_eq!(Steal::<u8>::Empty.map(|n| n + 1), Empty);
        assert_eq!(Steal::<u8>::Retry.map(|n| n + 1), Retry);
        assert_eq!(Success(2).success(), Some(2));
        assert_eq!(Steal::<u8>::Retry.success(), None);
    }

    #[test]
    fn or_else_and_collect_agree_on_all_pairs() {
        let expected = [
            (Success(1), Success(2), Success(1)),
            (Success(1), Empty, Success(1)),
            (Success(1), Retry, Success(1)),
            (Empty, Success(2), Success(2)),
            (Empty, Empty, Empty),
            (Empty, Retry, Retry),
            (Retry, Success(2), Success(2)),
            (Retry, Empty, Retry),
            (Retry, Retry, Retry),
        ];
        for (first, second, outcome) in expected {
            assert_eq!(first.or_else(|| second), outcome);
            assert_eq!([first, second].into_iter().collect::<Steal<_>>(), outcome);
        }
    }
}
