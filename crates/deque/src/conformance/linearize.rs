//! Looks for an order that explains a recorded history.
//!
//! A history is linearizable if every call can be given a moment between its start and its end such
//! that the calls, done one after the other at those moments, return what they returned. Wing and
//! Gong search for such an order by trying:
//!
//! 1. Among the calls that no unplaced call ended before, take one whose outcome the specification
//!    allows now.
//! 2. Go on from there.
//! 3. If that leads nowhere, take another.
//!
//! Lowe's addition makes the search finish: two orders that placed the same calls and led to the
//! same state have the same future, so each pair (calls placed, state) is tried once.
//!
//! The search is exact: it finds an order if there is one. Its cost grows quickly with the number
//! of calls that overlap, not with the length of the history.
//!
//! # References
//! - J. Wing and C. Gong, *Testing and verifying concurrent objects*, 1993.
//! - G. Lowe, *Testing for linearizability*, 2017.

use std::collections::HashSet;

use super::history::{History, Record, Specification};

/// The most calls that a history may have: one bit each.
pub const MAX_CALLS: usize = 128;

/// Returns an order of the calls of `history` (as indexes into it) that `specification` allows, or
/// `None` if there is no such order.
///
/// # Panics
/// If the history has more than [`MAX_CALLS`] calls.
#[must_use]
pub fn explain(specification: &Specification, history: &History) -> Option<Vec<usize>> {
    let records = history.records();
    assert!(
        records.len() <= MAX_CALLS,
        "{} calls are more than {MAX_CALLS}",
        records.len()
    );
    let mut search = Search {
        specification,
        records,
        dead_ends: HashSet::new(),
        order: Vec::with_capacity(records.len()),
    };
    search.place_rest(0, &[]).then_some(search.order)
}

struct Search<'a> {
    specification: &'a Specification,
    records: &'a [Record],
    /// Pairs of calls placed and the state they led to, from which no order was found.
    dead_ends: HashSet<(u128, Vec<u64>)>,
    order: Vec<usize>,
}

impl Search<'_> {
    /// Places the calls that are not in `placed`, from `state` on. The recursion is at most as deep
    /// as there are calls.
    fn place_rest(&mut self, placed: u128, state: &[u64]) -> bool {
        if placed.count_ones() as usize == self.records.len() {
            return true;
        }
        if self.dead_ends.contains(&(placed, state.to_vec())) {
            return false;
        }
        let open = |index: &usize| placed & (1 << index) == 0;
        let first_end = (0..self.records.len())
            .filter(open)
            .map(|index| self.records[index].end)
            .min();
        let candidates: Vec<usize> = (0..self.records.len())
            .filter(open)
            .filter(|&index| Some(self.records[index].start) < first_end)
            .collect();
        for index in candidates {
            let Some(next) = self.specification.apply(state, &self.records[index].call) else {
                continue;
            };
            self.order.push(index);
            if self.place_rest(placed | 1 << index, &next) {
                return true;
            }
            self.order.pop();
        }
        self.dead_ends.insert((placed, state.to_vec()));
        false
    }
}

#[cfg(all(test, not(stealyard_loom)))]
mod tests {
    //! Goal: the checker accepts what has an order and rejects what has none. Method: histories by
    //! hand, each with the reason; and a long one, for the cost.

    use super::*;
    use crate::conformance::history::Call::{
        self, Overflowing, Pop, Push, PushFull, Steal, StealNone,
    };
    use crate::worker::{Hidden, Order, Promises};
    use crate::{Ring, Worker as _};

    fn promises(order: Order, hidden: Hidden) -> Promises {
        Promises {
            order,
            hidden,
            ..Ring::<()>::PROMISES
        }
    }

    fn verdict(order: Order, hidden: Hidden, calls: &[(u64, u64, Call)]) -> bool {
        let specification = Specification::new(promises(order, hidden), Some(2));
        let history = History::from_calls(calls.iter().cloned());
        explain(&specification, &history).is_some()
    }

    fn strict(calls: &[(u64, u64, Call)]) -> bool {
        verdict(Order::Fifo, Hidden::Nothing, calls)
    }

    #[test]
    fn histories_with_an_order_are_accepted() {
        assert!(strict(&[]));
        assert!(strict(&[(0, 1, Push(1)), (2, 3, Pop(Some(1)))]));
        // The steal overlaps the push that it takes from, and ends first.
        assert!(strict(&[(0, 5, Push(1)), (1, 2, Steal(1))]));
        // Empty, because it can be placed before the push.
        assert!(strict(&[
            (0, 3, Push(1)),
            (1, 2, StealNone),
            (4, 5, Steal(1))
        ]));
        // Two overlapping steals in either order.
        assert!(strict(&[
            (0, 1, Push(1)),
            (2, 3, Push(2)),
            (4, 9, Steal(2)),
            (5, 8, Steal(1))
        ]));
        assert!(strict(&[
            (0, 1, Push(1)),
            (2, 3, Push(2)),
            (4, 5, PushFull)
        ]));
        assert!(strict(&[
            (0, 1, Push(1)),
            (2, 3, Push(2)),
            (4, 5, Overflowing(vec![1, 3], 3)),
            (6, 7, Pop(Some(2))),
        ]));
        let lifo = [
            (0, 1, Push(1)),
            (2, 3, Push(2)),
            (4, 5, Pop(Some(2))),
            (6, 7, Steal(1)),
        ];
        assert!(verdict(Order::Lifo, Hidden::Nothing, &lifo));
    }

    #[test]
    fn histories_without_an_order_are_rejected() {
        // One item, taken twice.
        assert!(!strict(&[
            (0, 1, Push(1)),
            (2, 5, Steal(1)),
            (3, 4, Pop(Some(1)))
        ]));
        // An item that was never pushed.
        assert!(!strict(&[(0, 1, Steal(7))]));
        // Taken before it was pushed.
        assert!(!strict(&[(0, 1, Steal(1)), (2, 3, Push(1))]));
        // Empty, while an item was there all the time.
        assert!(!strict(&[
            (0, 1, Push(1)),
            (2, 3, StealNone),
            (4, 5, Pop(Some(1)))
        ]));
        assert!(!strict(&[(0, 1, Push(1)), (2, 3, Pop(None))]));
        // The owner's order.
        assert!(!strict(&[
            (0, 1, Push(1)),
            (2, 3, Push(2)),
            (4, 5, Pop(Some(2)))
        ]));
        let fifo = [(0, 1, Push(1)), (2, 3, Push(2)), (4, 5, Pop(Some(1)))];
        assert!(!verdict(Order::Lifo, Hidden::Nothing, &fifo));
        // The thieves' order: the calls do not overlap, so 2 went first, though 1 was there.
        assert!(!strict(&[
            (0, 1, Push(1)),
            (2, 3, Push(2)),
            (4, 5, Steal(2)),
            (6, 7, Steal(1)),
        ]));
        // Full, or overflowing, though there was room.
        assert!(!strict(&[(0, 1, Push(1)), (2, 3, PushFull)]));
        assert!(!strict(&[
            (0, 1, Push(1)),
            (2, 3, Overflowing(vec![1, 2], 2))
        ]));
        // Overflow with the newest, or without the item itself.
        let two = [(0, 1, Push(1)), (2, 3, Push(2))];
        assert!(!strict(
            &[two.as_slice(), &[(4, 5, Overflowing(vec![2, 3], 3))]].concat()
        ));
        assert!(!strict(
            &[two.as_slice(), &[(4, 5, Overflowing(vec![1], 3))]].concat()
        ));
    }

    #[test]
    fn thieves_may_miss_no_more_items_than_promised() {
        let skipped = [
            (0, 1, Push(1)),
            (2, 3, Push(2)),
            (4, 5, Steal(2)),
            (6, 7, Pop(Some(1))),
        ];
        assert!(verdict(Order::Fifo, Hidden::Oldest(1), &skipped));
        assert!(!verdict(Order::Fifo, Hidden::Oldest(0), &skipped));
        assert!(!verdict(Order::Fifo, Hidden::Newest, &skipped));
        let unseen = [(0, 1, Push(1)), (2, 3, StealNone), (4, 5, Pop(Some(1)))];
        assert!(verdict(Order::Fifo, Hidden::Oldest(1), &unseen));
        assert!(verdict(Order::Fifo, Hidden::Newest, &unseen));
        assert!(!verdict(Order::Fifo, Hidden::Nothing, &unseen));
        // The owner itself sees everything.
        let own = [(0, 1, Push(1)), (2, 3, Pop(None))];
        assert!(!verdict(Order::Fifo, Hidden::Newest, &own));
    }

    #[test]
    fn a_long_history_with_little_overlap_is_cheap() {
        let calls = (0..MAX_CALLS as u64).map(|call| {
            let item = call / 2;
            let what = if call % 2 == 0 {
                Push(item)
            } else {
                Steal(item)
            };
            (call * 2, call * 2 + 3, what)
        });
        let history = History::from_calls(calls);
        let specification = Specification::new(promises(Order::Fifo, Hidden::Nothing), None);
        assert!(explain(&specification, &history).is_some());
    }
}
