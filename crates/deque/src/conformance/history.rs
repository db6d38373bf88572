//! A history: what concurrent calls did, and what a queue's promises allow.
//!
//! A batch is recorded as
//! single steals that took the same time, because the promises do not say that a batch is atomic.
//! Attempts that ended in `Retry` changed nothing and are left out.

use core::fmt;

use crate::worker::{Hidden, Order, Promises};

/// A call and its result. Items are numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// The owner pushed this item.
    Push(u64),
    /// The owner's push was refused.
    PushFull,
    /// The owner pushed the second value with overflow, and the first items went to the overflow,
    /// in that order. They are empty if there was room; otherwise the pushed item comes last.
    Overflowing(Vec<u64>, u64),
    /// The owner popped this, or found nothing.
    Pop(Option<u64>),
    /// A thief got this item.
    Steal(u64),
    /// A thief found nothing.
    StealNone,
    /// A thief that used force got this item.
    Force(u64),
}

/// A call and when it took place, in ticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The tick taken just before the call started.
    pub start: u64,
    /// The tick taken just after the call returned.
    pub end: u64,
    /// The call.
    pub call: Call,
}

/// The calls of several threads on one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(pub(super) Vec<Record>);

impl History {
    /// Creates a history of calls, each given as (start, end, call).
    pub fn from_calls(calls: impl IntoIterator<Item = (u64, u64, Call)>) -> Self {
        Self(
            calls
                .into_iter()
                .map(|(start, end, call)| Record { start, end, call })
                .collect(),
        )
    }

    /// Returns the calls, in no particular order.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.0
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut records = self.0.clone();
        records.sort_by_key(|record| record.start);
        for Record { start, end, call } in records {
            writeln!(f, "  {start:>3} to {end:>3}: {call:?}")?;
        }
        Ok(())
    }
}

/// The answers that a queue with certain promises may give. Its state is its items, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct Specification {
    promises: Promises,
    capacity: Option<usize>,
    slack: usize,
}

impl Specification {
    /// Creates the specification of a queue that makes these promises and holds `capacity` items,
    /// if that is limited.
    #[must_use]
    pub fn new(promises: Promises, capacity: Option<usize>) -> Self {
        Self {
            promises,
            capacity,
            slack: 0,
        }
    }

    /// Returns the same specification for a queue that may be full with up to `slack` items fewer.
    pub(super) fn with_slack(self, slack: usize) -> Self {
        Self { slack, ..self }
    }

    /// Returns the state after `call` in `state`, or `None` if the call's answer is not allowed
    /// there.
    #[must_use]
    pub fn apply(&self, state: &[u64], call: &Call) -> Option<Vec<u64>> {
        let without = |index: usize| {
            let mut rest = state.to_vec();
            rest.remove(index);
            rest
        };
        match call {
            Call::Push(item) => Some([state, &[*item]].concat()),
            Call::PushFull => self.is_full(state).then(|| state.to_vec()),
            Call::Overflowing(overflowed, item) => self.after_overflow(state, overflowed, *item),
            Call::Pop(None) => state.is_empty().then(Vec::new),
            Call::Pop(Some(item)) => {
                let next = match self.promises.order {
                    Order::Fifo => 0,
                    Order::Lifo => state.len().checked_sub(1)?,
                };
                (state.get(next) == Some(item)).then(|| without(next))
            }
            Call::Steal(item) => {
                let index = state.iter().position(|other| other == item)?;
                (index <= self.promises.hidden.most()).then(|| without(index))
            }
            Call::StealNone => self.may_look_empty(state).then(|| state.to_vec()),
            Call::Force(item) => {
                let index = state.iter().position(|other| other == item)?;
                Some(without(index))
            }
        }
    }

    fn is_full(&self, state: &[u64]) -> bool {
        self.capacity
            .is_some_and(|capacity| state.len() + self.slack >= capacity)
    }

    pub(super) fn may_look_empty(&self, state: &[u64]) -> bool {
        match self.promises.hidden {
            Hidden::Nothing => state.is_empty(),
            Hidden::Oldest(most) => state.len() <= most,
            Hidden::Newest => true,
        }
    }

    /// Returns the state after a push with overflow. Either a batch of the oldest visible items
    /// leaves a full queue, and `item` with it; or nothing leaves and `item` stays.
    fn after_overflow(&self, state: &[u64], overflowed: &[u64], item: u64) -> Option<Vec<u64>> {
        let Some((last, batch)) = overflowed.split_last() else {
            return Some([state, &[item]].concat());
        };
        let first = match batch.first() {
            None => 0,
            Some(oldest) => state.iter().position(|other| other == oldest)?,
        };
        let run = state.get(first..first + batch.len())?;
        let right = *last == item
            && run == batch
            && first <= self.promises.hidden.most()
            && self.is_full(state);
        right.then(|| {
            let mut rest = state.to_vec();
            rest.drain(first..first + batch.len());
            rest
        })
    }
}
