//! The capacities that a bounded queue can have. They are powers of two, so that a position finds
//! its slot by a mask.

use core::fmt;

/// The error of making a queue with a capacity that it cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapacityError {
    capacity: usize,
    max: usize,
}

/// Returns `capacity` if it is a power of two from 2 to `max`.
pub(crate) fn checked(capacity: usize, max: usize) -> Result<usize, CapacityError> {
    if capacity.is_power_of_two() && (2..=max).contains(&capacity) {
        Ok(capacity)
    } else {
        Err(CapacityError { capacity, max })
    }
}

/// Returns `capacity` as [`checked`] does, for the constructors that panic.
///
/// # Panics
/// If `capacity` is not a power of two from 2 to `max`.
#[track_caller]
pub(crate) fn checked_or_panic(capacity: usize, max: usize) -> usize {
    checked(capacity, max).unwrap_or_else(|error| panic!("{error}"))
}

impl fmt::Display for CapacityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { capacity, max } = self;
        let next = capacity.checked_next_power_of_two().unwrap_or(*max);
        let near = next.clamp(2, *max);
        write!(
            f,
            "a capacity of {capacity} is not a power of two from 2 to {max}: take {near}"
        )
    }
}

impl core::error::Error for CapacityError {}

#[cfg(test)]
mod tests {
    //! Goal: exactly the powers of two in range, and a message that names the value and a better
    //! one. Method: the edges, written out.

    use super::checked;

    #[test]
    fn only_powers_of_two_from_two_to_the_maximum() {
        assert_eq!(checked(2, 8), Ok(2));
        assert_eq!(checked(8, 8), Ok(8));
        for (wrong, near) in [(0, 2), (1, 2), (3, 4), (7, 8), (16, 8), (usize::MAX, 8)] {
            let error = checked(wrong, 8).unwrap_err().to_string();
            let said =
                format!("a capacity of {wrong} is not a power of two from 2 to 8: take {near}");
            assert_eq!(error, said);
        }
    }
}
