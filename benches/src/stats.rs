//! Medians, spreads and verdicts.
//!
//! Times on a shared machine have long tails, so everything here is an order statistic. A verdict
//! rests on the ratio of two programs run back to back, pair by pair: a disturbance of one usually
//! disturbs both. The interval of a median is the usual distribution-free one: of `n` sorted
//! values, those at ranks `n/2 ± 0.98·√n` enclose the true median in about 95 of 100 repetitions.

/// The median of some values, their quartiles, and the confidence interval of the median.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    /// Half of the values are below.
    pub(crate) median: f64,
    /// A quarter of the values are below.
    pub(crate) lower_quartile: f64,
    /// A quarter of the values are above.
    pub(crate) upper_quartile: f64,
    /// The lower end of the median's 95 % interval.
    pub(crate) median_from: f64,
    /// The upper end of the median's 95 % interval.
    pub(crate) median_to: f64,
    /// The number of values.
    pub(crate) count: usize,
}

impl Summary {
    /// Summarises `values`.
    ///
    /// # Panics
    /// Panics if there is no value, or if one is not a number.
    pub(crate) fn of(values: &[f64]) -> Self {
        assert!(!values.is_empty(), "nothing was measured");
        let mut sorted = values.to_vec();
        sorted.sort_by(|a, b| a.partial_cmp(b).expect("a measurement is a number"));
        let count = sorted.len();
        let half = count as f64 / 2.0;
        let reach = 0.98 * (count as f64).sqrt();
        let rank = |at: f64| sorted[(at.max(0.0) as usize).min(count - 1)];
        Self {
            median: quantile(&sorted, 0.5),
            lower_quartile: quantile(&sorted, 0.25),
            upper_quartile: quantile(&sorted, 0.75),
            median_from: rank((half - reach).floor()),
            median_to: rank((half + reach).ceil() - 1.0),
            count,
        }
    }
}

/// Returns the value below which the share `part` of `sorted` lies, interpolated.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let at = part * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

/// Whether ours or the peer is faster, as far as the measurement can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Ours is faster: the whole interval of the ratio lies below one, by more than the margin.
    Win,
    /// The peer is faster: the whole interval lies above one, by more than the margin.
    Loss,
    /// The measurement cannot tell.
    Even,
}

/// A smaller difference than this share is not called a win or a loss, however often it repeats.
/// Two builds of the same code differ by as much through the placement of a loop.
const MARGIN: f64 = 0.03;

impl Verdict {
    /// Returns the verdict on `ratio`, ours divided by the peer's (below one: ours is faster).
    pub(crate) fn on(ratio: &Summary) -> Self {
        if ratio.median_to < 1.0 - MARGIN {
            Self::Win
        } else if ratio.median_from > 1.0 + MARGIN {
            Self::Loss
        } else {
            Self::Even
        }
    }

    /// Returns the word in tables and JSON.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Win => "win",
            Self::Loss => "LOSS",
            Self::Even => "even",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_statistics_are_right() {
        let values: Vec<f64> = (1..=9).map(f64::from).collect();
        let summary = Summary::of(&values);
        assert_eq!(summary.median, 5.0);
        assert_eq!(summary.lower_quartile, 3.0);
        assert_eq!(summary.upper_quartile, 7.0);
        // Ranks 9/2 ∓ 2.94: the second and the eighth value.
        assert_eq!((summary.median_from, summary.median_to), (2.0, 8.0));
    }

    #[test]
    fn one_wild_value_changes_nothing() {
        let mut values: Vec<f64> = (1..=21).map(f64::from).collect();
        values[20] = 1e9;
        assert_eq!(Summary::of(&values).median, 11.0);
    }

    #[test]
    fn noise_is_not_called_a_win() {
        let noisy: Vec<f64> = (0..21).map(|n| 0.8 + 0.02 * f64::from(n)).collect();
        assert_eq!(Verdict::on(&Summary::of(&noisy)), Verdict::Even);
        let clear: Vec<f64> = (0..21).map(|n| 0.4 + 0.01 * f64::from(n)).collect();
        assert_eq!(Verdict::on(&Summary::of(&clear)), Verdict::Win);
        let slower: Vec<f64> = clear.iter().map(|ratio| 1.0 / ratio).collect();
        assert_eq!(Verdict::on(&Summary::of(&slower)), Verdict::Loss);
        let tiny = [0.985; 21];
        assert_eq!(
            Verdict::on(&Summary::of(&tiny)),
            Verdict::Even,
            "within the margin"
        );
    }

    #[test]
    fn a_single_value_is_its_own_summary() {
        let summary = Summary::of(&[2.5]);
        assert_eq!(
            (summary.median, summary.median_from, summary.median_to),
            (2.5, 2.5, 2.5)
        );
    }
}
