//! Which values of a configuration make sense: a table of fields.

use core::fmt;
use core::ops::RangeInclusive;

use stealyard_sync::time::Duration;

use crate::config::error::BuildError;
use crate::config::{Config, GlobalInterval, PARALLELISM_MAX};

/// No count of turns may be greater, so that a task that waits for its turn waits for a moment, and
/// not for hours: 65,536 short tasks take a millisecond.
const TURNS_MAX: u32 = 1 << 16;
/// Passes after which every victim has been asked often enough; a pass looks at no other source of
/// tasks.
const PASSES_MAX: u32 = 64;
/// The longest a thief may stand beside a run-next slot, where it looks at nothing else.
const GRACE_MAX: Duration = Duration::from_millis(1);
/// The longest spin. A thread that waits longer had better sleep.
const SPIN_MAX: Duration = Duration::from_millis(100);
const STACK_MIN: usize = 16 * 1024;
/// The platform rounds up to whole pages, which must not overflow. It says itself
/// whether so much can be mapped.
const STACK_MAX: usize = isize::MAX as usize;
const NANOSECOND: Duration = Duration::from_nanos(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// One row: a field, its value, whether that fits, and which values would.
pub(super) struct Row {
    field: &'static str,
    value: String,
    fits: bool,
    wanted: String,
}

impl Config {
    /// Checks the configuration without building anything.
    ///
    /// # Errors
    /// [`BuildError::Config`] names the first field that makes no sense, its value and what would
    /// be right.
    pub fn validate(&self) -> Result<(), BuildError> {
        match self.rows().into_iter().flatten().find(|row| !row.fits) {
            None => Ok(()),
            Some(row) => Err(BuildError::Config {
                field: row.field,
                value: row.value,
                wanted: row.wanted,
            }),
        }
    }

    /// Returns a row for each field that has a range, or `None` for one that is left open.
    fn rows(&self) -> [Option<Row>; 15] {
        let spin = self.spin;
        [
            self.parallelism
                .map(|count| number("parallelism", count, 1..=PARALLELISM_MAX)),
            Some(name(&self.name)),
            self.stack_size
                .map(|bytes| number("stack_size", bytes, STACK_MIN..=STACK_MAX)),
            self.local_queue.row(),
            Some(interval(self.global_interval)),
            Some(number(
                "slot_streak_max",
                self.slot_streak_max,
                0..=TURNS_MAX,
            )),
            Some(number("budget", self.budget, 1..=TURNS_MAX)),
            Some(number("steal_passes", self.steal_passes, 1..=PASSES_MAX)),
            Some(time(
                "slot_grace",
                self.slot_grace,
                Duration::ZERO..=GRACE_MAX,
            )),
            Some(time(
                "watch_min",
                self.watch_min,
                NANOSECOND..=Duration::MAX,
            )),
            Some(time(
                "watch_max",
                self.watch_max,
                NANOSECOND..=Duration::MAX,
            )),
            spin.map(|spin| time("spin.min", spin.min, Duration::ZERO..=SPIN_MAX)),
            spin.map(|spin| time("spin.max", spin.max, Duration::ZERO..=SPIN_MAX)),
            self.schedtrace
                .map(|every| time("schedtrace", every, MILLISECOND..=Duration::MAX)),
            Some(number(
                "blocking_threads_max",
                self.blocking_threads_max,
                1..=usize::MAX,
            )),
        ]
    }
}

impl Row {
    pub(super) fn new(
        field: &'static str,
        value: impl fmt::Display,
        fits: bool,
        wanted: String,
    ) -> Self {
        Self {
            field,
            value: value.to_string(),
            fits,
            wanted,
        }
    }
}

/// Returns the row of a number with a range.
fn number<T>(field: &'static str, value: T, range: RangeInclusive<T>) -> Row
where
    T: PartialOrd + fmt::Display,
{
    let wanted = format!("from {} to {}", range.start(), range.end());
    Row::new(field, &value, range.contains(&value), wanted)
}

/// Returns the row of a time with a range, which is open above if it ends at `Duration::MAX`.
fn time(field: &'static str, value: Duration, range: RangeInclusive<Duration>) -> Row {
    let (from, to) = (range.start(), range.end());
    let wanted = match *to {
        Duration::MAX => format!("at least {from:?}"),
        to => format!("from {from:?} to {to:?}"),
    };
    Row::new(field, format!("{value:?}"), range.contains(&value), wanted)
}

fn name(name: &str) -> Row {
    let fits = !name.contains('\0');
    let wanted = "a name without zero bytes".to_owned();
    Row::new("name", format!("{name:?}"), fits, wanted)
}

fn interval(interval: GlobalInterval) -> Row {
    let (value, fits, wanted) = match interval {
        GlobalInterval::Tasks(tasks) => (
            format!("Tasks({tasks})"),
            (1..=TURNS_MAX).contains(&tasks),
            format!("from Tasks(1) to Tasks({TURNS_MAX})"),
        ),
        GlobalInterval::Time(time) => (
            format!("Time({time:?})"),
            !time.is_zero(),
            "longer than Time(0ns)".to_owned(),
        ),
    };
    Row::new("global_interval", value, fits, wanted)
}
