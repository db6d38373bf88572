//! Variables of the environment: `STEALYARD_PROCS` and `STEALYARD_SCHEDTRACE`.

use stealyard_sync::time::Duration;

use crate::config::PARALLELISM_MAX;
use crate::config::error::BuildError;

/// The number of workers, where the configuration leaves it open.
pub(crate) const PROCS: &str = "STEALYARD_PROCS";
/// Milliseconds between two lines about the scheduler's state.
pub(crate) const SCHEDTRACE: &str = "STEALYARD_SCHEDTRACE";

pub(crate) fn parallelism() -> Result<Option<usize>, BuildError> {
    let value = read(PROCS, 1..=PARALLELISM_MAX as u64, "a number of workers")?;
    Ok(value.map(|workers| workers as usize))
}

pub(crate) fn schedtrace() -> Result<Option<Duration>, BuildError> {
    let value = read(SCHEDTRACE, 1..=86_400_000, "a number of milliseconds")?;
    Ok(value.map(Duration::from_millis))
}

fn read(
    variable: &'static str,
    range: core::ops::RangeInclusive<u64>,
    what: &str,
) -> Result<Option<u64>, BuildError> {
    let Some(value) = std::env::var_os(variable) else {
        return Ok(None);
    };
    parse(variable, &value.to_string_lossy(), range, what)
}

/// Reads the value of a variable. An empty one is as good as none.
fn parse(
    variable: &'static str,
    value: &str,
    range: core::ops::RangeInclusive<u64>,
    what: &str,
) -> Result<Option<u64>, BuildError> {
    if value.is_empty() {
        return Ok(None);
    }
    match value.trim().parse() {
        Ok(number) if range.contains(&number) => Ok(Some(number)),
        _ => Err(BuildError::Environment {
            variable,
            value: value.to_owned(),
            wanted: format!("{what} from {} to {}", range.start(), range.end()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_range_are_taken_and_all_else_is_an_error_that_says_so() {
        let parse = |value| parse(PROCS, value, 1..=4096, "a number of workers");
        assert_eq!(parse("").unwrap(), None);
        assert_eq!(parse(" 12 ").unwrap(), Some(12));
        for bad in [
            "0",
            "-1",
            "4097",
            "two",
            "1.5",
            "99999999999999999999999",
            "8 8",
        ] {
            let message = parse(bad).unwrap_err().to_string();
            assert!(
                message.contains(PROCS) && message.contains(bad),
                "{message}"
            );
            assert!(message.contains("from 1 to 4096"), "{message}");
        }
    }
}
