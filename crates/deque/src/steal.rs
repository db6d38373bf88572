//! What an attempt to steal can end in.

/// The outcome of one attempt to steal.
#[must_use = "a stolen item is lost if it is not used"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steal<T> {
    /// This was taken.
    Success(T),
    /// There was nothing to take at some moment during the attempt.
    Empty,
    /// Somebody else was quicker: trying again may succeed.
    Retry,
}

impl<T> Steal<T> {
    /// What was taken, if anything was.
    pub fn success(self) -> Option<T> {
        match self {
            Self::Success(item) => Some(item),
            Self::Empty | Self::Retry => None,
        }
    }

    /// True if something was taken.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Success(_))
    }

    /// True if there was nothing to take.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// True if trying again may succeed.
    pub fn is_retry(&self) -> bool {
        matches!(self, Self::Retry)
    }

    /// The same outcome with another item.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Steal<U> {
        match self {
            Self::Success(item) => Steal::Success(change(item)),
            Self::Empty => Steal::Empty,
            Self::Retry => Steal::Retry,
        }
    }

    /// This outcome if it is a success; else `next`'s, and `Retry` if either said so.
    pub fn or_else(self, next: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Success(_) => self,
            Self::Empty => next(),
            Self::Retry => match next() {
                Self::Empty => Self::Retry,
                other => other,
            },
        }
    }
}

/// The first success of several attempts; `Retry` if there was none and one of them said so.
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
    use super::*;

    #[test]
    fn a_retry_is_not_forgotten() {
        let outcome: Steal<u8> = [Steal::Retry, Steal::Empty].into_iter().collect();
        assert!(outcome.is_retry());
        assert!(Steal::<u8>::Retry.or_else(|| Steal::Empty).is_retry());
        let outcome: Steal<u8> = [Steal::Retry, Steal::Success(1)].into_iter().collect();
        assert_eq!(outcome.success(), Some(1));
        assert_eq!(Steal::Success(1).map(|n| n + 1), Steal::Success(2));
    }
}
