//! What an attempt to steal comes to.
//!
//! A thief has three answers to tell apart: it got something, there was nothing, or somebody else was
//! quicker and trying again makes sense. Folding the last two into `None` makes callers either give up
//! too early or spin on an empty queue.

/// The outcome of an attempt to steal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "a stolen item is lost when it is ignored, and `Retry` asks for another attempt"]
pub enum Steal<T> {
    /// What was stolen.
    Success(T),
    /// There was nothing to take.
    Empty,
    /// Another thread took it first: trying again may succeed.
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

    /// What was stolen, if anything: forgets the difference between the other two answers.
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

    /// This, or what `f` steals if this got nothing. `Retry` is kept unless `f` succeeds: a search
    /// over several queues that met one race must not report that all were empty.
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

/// The first success of a sequence of attempts, stopping there; else `Retry` if there was any; else
/// `Empty`.
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
    //! Goal: every combinator on every answer. Method: the nine pairs, written out.

    use super::Steal::{self, Empty, Retry, Success};

    #[test]
    fn questions_and_maps() {
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
