//! The policy that chooses which of several sleeping workers to wake.
//!
//! A policy is a pure function of its arguments: the worker that announces, and the workers that
//! sleep with the order in which they fell asleep. It only proposes a worker, and the idle protocol
//! claims it. If another thread was quicker, the protocol asks once more, and then takes any
//! sleeper. So no policy, however wrong, can lose a wake.

/// A sleeping worker, as a [`WakeOrder`] sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sleeper {
    /// The worker's number.
    pub worker: usize,
    /// Increases each time any worker falls asleep: the largest stamp is the latest.
    pub stamp: u64,
}

/// The workers that sleep, for a [`WakeOrder`] to choose from. The set changes while it is read:
/// workers wake and fall asleep.
#[derive(Debug)]
pub struct SleeperSet<'a> {
    pub(crate) source: &'a crate::sleepers::Sleepers,
}

impl SleeperSet<'_> {
    /// Iterates over the sleepers, each of them once, in an unspecified order.
    pub fn iter(&self) -> impl Iterator<Item = Sleeper> {
        self.source
            .iter()
            .map(|(worker, stamp)| Sleeper { worker, stamp })
    }
}

/// Chooses the worker to wake.
pub trait WakeOrder: Send + Sync {
    /// Returns the worker to wake, if any sleeps. `from` is the worker that announces, or `None` if
    /// the announcement comes from outside.
    ///
    /// An implementation should not panic: after a panic any sleeper is woken, and the panic goes
    /// on to the announcer.
    fn choose(&self, from: Option<usize>, sleepers: &SleeperSet<'_>) -> Option<usize>;
}

/// Chooses the worker that fell asleep last. This is the default.
///
/// That worker's caches are the warmest, its core is the least likely to be halted, and the workers
/// that sleep longest can be retired.
#[derive(Clone, Copy, Debug, Default)]
pub struct MostRecent;

impl WakeOrder for MostRecent {
    fn choose(&self, _from: Option<usize>, sleepers: &SleeperSet<'_>) -> Option<usize> {
        let last = sleepers.iter().max_by_key(|sleeper| sleeper.stamp)?;
        Some(last.worker)
    }
}

/// Chooses the worker that is nearest to the announcing one, by a table of distances. Among equals,
/// and for work from outside, it chooses the worker that fell asleep last.
#[derive(Clone, Debug)]
pub struct Nearest {
    workers: usize,
    distances: Box<[u32]>,
}

/// The table given to [`Nearest::new`] is not square.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSquare {
    /// The row that has the wrong length.
    pub row: usize,
    /// The number of its entries.
    pub length: usize,
    /// The number of entries that it should have: the number of rows.
    pub expected: usize,
}

impl core::fmt::Display for NotSquare {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "row {} of the distances has {} entries: it should have {}, one for each worker",
            self.row, self.length, self.expected
        )
    }
}

impl core::error::Error for NotSquare {}

impl Nearest {
    /// Creates the policy from a table: `distances[a][b]` is the distance from worker `a` to worker
    /// `b`, in any unit. A smaller number is nearer.
    ///
    /// # Errors
    /// [`NotSquare`] names the first row whose length is not the number of rows.
    pub fn new(distances: &[Vec<u32>]) -> Result<Self, NotSquare> {
        let workers = distances.len();
        for (row, entries) in distances.iter().enumerate() {
            if entries.len() != workers {
                return Err(NotSquare {
                    row,
                    length: entries.len(),
                    expected: workers,
                });
            }
        }
        Ok(Self {
            workers,
            distances: distances.concat().into(),
        })
    }

    /// Returns the distance from `from` to `to`. Workers that the table does not know are farthest.
    fn distance(&self, from: Option<usize>, to: usize) -> u32 {
        match from {
            None => 0,
            Some(from) if from < self.workers && to < self.workers => {
                self.distances[from * self.workers + to]
            }
            Some(_) => u32::MAX,
        }
    }
}

impl WakeOrder for Nearest {
    fn choose(&self, from: Option<usize>, sleepers: &SleeperSet<'_>) -> Option<usize> {
        let key = |sleeper: &Sleeper| {
            let far = self.distance(from, sleeper.worker);
            (far, core::cmp::Reverse(sleeper.stamp))
        };
        Some(sleepers.iter().min_by_key(key)?.worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sleepers::Sleepers;

    fn asleep(order: &[usize]) -> Sleepers {
        let sleepers = Sleepers::new(8);
        for &worker in order {
            sleepers.enter(worker);
        }
        sleepers
    }

    #[test]
    fn the_most_recent_sleeper_comes_first() {
        let sleepers = asleep(&[3, 1, 7, 2]);
        let set = SleeperSet { source: &sleepers };
        assert_eq!(MostRecent.choose(Some(1), &set), Some(2));
        assert!(sleepers.claim(2));
        assert_eq!(MostRecent.choose(None, &set), Some(7));
    }

    #[test]
    fn the_nearest_sleeper_comes_first_and_the_most_recent_among_equals() {
        // Two nodes of two: 0, 1 and 2, 3.
        let near = |a: usize, b: usize| if a / 2 == b / 2 { 10 } else { 20 };
        let table: Vec<Vec<u32>> = (0..4)
            .map(|a| (0..4).map(|b| near(a, b)).collect())
            .collect();
        let order = Nearest::new(&table).unwrap();
        let sleepers = asleep(&[1, 3, 2]);
        let set = SleeperSet { source: &sleepers };
        assert_eq!(order.choose(Some(0), &set), Some(1));
        assert_eq!(order.choose(Some(3), &set), Some(2));
        assert_eq!(order.choose(None, &set), Some(2), "from outside: the last");
        assert_eq!(order.choose(Some(9), &set), Some(2), "unknown: the last");
    }

    #[test]
    fn a_table_that_is_not_square_is_refused_with_its_row() {
        let error = Nearest::new(&[vec![0, 1], vec![1]]).unwrap_err();
        assert_eq!((error.row, error.length, error.expected), (1, 1, 2));
        assert!(error.to_string().contains("row 1"));
    }

    #[test]
    fn no_worker_is_chosen_while_none_sleeps() {
        let sleepers = asleep(&[]);
        let set = SleeperSet { source: &sleepers };
        assert_eq!(MostRecent.choose(None, &set), None);
    }
}
