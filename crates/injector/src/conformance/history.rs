//! Checks whether a recorded history could have been a first-in-first-out queue's.
//!
//! This is Wing and Gong's search:
//! 1. Pick an operation that could have come first: no unplaced operation returned before it was
//!    called.
//! 2. See whether a plain queue would have answered as it did.
//! 3. Go on with the rest, and come back if that leads nowhere.
//!
//! Situations that were seen once are not looked into again. (That is Lowe's memory, which makes
//! the search quick for the few operations that a history has here.) The answer is exact.
//!
//! # References
//! - J. Wing, C. Gong, *Testing and verifying concurrent objects*, 1993.
//! - G. Lowe, *Testing for linearizability*, 2017.

use std::collections::{HashSet, VecDeque};

/// An operation of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The thread pushed this item. The items of a history differ.
    Push(u64),
    /// The thread popped, and got this.
    Pop(Option<u64>),
}

/// An operation and when it was called and returned, by one clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// When it was called.
    pub called: u64,
    /// The operation.
    pub operation: Operation,
    /// When it returned.
    pub returned: u64,
}

/// Whether there is an order of the operations that respects time, and in which a plain queue would
/// have answered as recorded. To respect time, what returned before another operation was called
/// comes before it.
///
/// # Panics
/// If there are more than 64 operations: the search is for short histories.
#[must_use]
pub fn is_linearizable(history: &[Recorded]) -> bool {
    assert!(
        history.len() <= 64,
        "{} operations: at most 64 can be searched",
        history.len()
    );
    let all = if history.len() == 64 {
        u64::MAX
    } else {
        (1 << history.len()) - 1
    };
    search(history, all, &VecDeque::new(), &mut HashSet::new())
}

/// Places the remaining operations. `unplaced` has a bit for each of them, and `queue` is the state
/// after the operations placed so far.
fn search(
    history: &[Recorded],
    unplaced: u64,
    queue: &VecDeque<u64>,
    seen: &mut HashSet<(u64, VecDeque<u64>)>,
) -> bool {
    if unplaced == 0 {
        return true;
    }
    if !seen.insert((unplaced, queue.clone())) {
        return false;
    }
    let open = || {
        history
            .iter()
            .enumerate()
            .filter(|(at, _)| unplaced & 1 << at != 0)
    };
    let first_return = open()
        .map(|(_, recorded)| recorded.returned)
        .min()
        .unwrap_or(u64::MAX);
    open()
        .filter(|(_, recorded)| recorded.called <= first_return)
        .any(|(at, recorded)| {
            let mut queue = queue.clone();
            let fits = match recorded.operation {
                Operation::Push(item) => {
                    queue.push_back(item);
                    true
                }
                Operation::Pop(answer) => queue.pop_front() == answer,
            };
            fits && search(history, unplaced & !(1 << at), &queue, seen)
        })
}

#[cfg(test)]
mod tests {
    use super::Operation::{Pop, Push};
    use super::*;

    fn history(operations: &[(u64, Operation, u64)]) -> Vec<Recorded> {
        let recorded = |&(called, operation, returned)| Recorded {
            called,
            operation,
            returned,
        };
        operations.iter().map(recorded).collect()
    }

    #[test]
    fn histories_of_a_queue_are_accepted() {
        assert!(is_linearizable(&[]));
        let one_by_one = [
            (0, Push(1), 1),
            (2, Push(2), 3),
            (4, Pop(Some(1)), 5),
            (6, Pop(Some(2)), 7),
        ];
        assert!(is_linearizable(&history(&one_by_one)));
        // Two pushes at once may be taken in either order.
        let at_once = [
            (0, Push(1), 5),
            (0, Push(2), 5),
            (6, Pop(Some(2)), 7),
            (8, Pop(Some(1)), 9),
        ];
        assert!(is_linearizable(&history(&at_once)));
        let before_the_push = [(0, Pop(None), 9), (1, Push(1), 2)];
        assert!(is_linearizable(&history(&before_the_push)));
    }

    #[test]
    fn histories_of_no_queue_are_rejected() {
        let out_of_order = [(0, Push(1), 1), (2, Push(2), 3), (4, Pop(Some(2)), 5)];
        assert!(!is_linearizable(&history(&out_of_order)));
        let lost = [(0, Push(1), 1), (2, Pop(None), 3)];
        assert!(!is_linearizable(&history(&lost)));
        let doubled = [(0, Push(1), 1), (2, Pop(Some(1)), 3), (4, Pop(Some(1)), 5)];
        assert!(!is_linearizable(&history(&doubled)));
        let from_the_future = [(0, Pop(Some(1)), 1), (2, Push(1), 3)];
        assert!(!is_linearizable(&history(&from_the_future)));
        let hidden = [(0, Push(1), 9), (1, Push(2), 2), (3, Pop(None), 4)];
        assert!(
            !is_linearizable(&history(&hidden)),
            "2 was there, whatever became of 1"
        );
    }
}
