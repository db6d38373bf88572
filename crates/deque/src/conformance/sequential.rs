//! Random calls from one thread, compared with a model.
//!
//! There are two queues: the victim, and the thief's own, which receives the batches. The model is
//! the list of numbers that each should hold, oldest first. With one thread the answers are exact:
//! `Retry` is never right, lengths are exact, and a forced steal from a queue that is not empty
//! succeeds.

use std::collections::VecDeque;

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestError, TestRunner};
use stealyard_sync::Arc;

use super::Violation;
use super::history::{Call, Specification};
use super::token::{Ledger, Token};
use crate::steal::Steal;
use crate::worker::{Capacity, Hidden, Order, Promises, Stealer, Worker};

/// One call of a random program.
#[derive(Clone, Copy, Debug)]
enum Step {
    Push,
    PushOrOverflow,
    Pop,
    /// Pushes an item to the thief's queue, so that it is there before the thief steals.
    PushToThief,
    Steal,
    Batch(usize),
    BatchAndPop(usize),
    Force(usize),
}

/// Runs `programs` random programs on queues of small capacities.
///
/// # Errors
/// Returns the smallest program found that breaks a promise.
pub fn sequential<W>(make: &impl Fn(usize) -> W, programs: u32) -> Result<(), Violation>
where
    W: Worker<Item = Token>,
{
    let config = Config {
        cases: programs,
        failure_persistence: None,
        ..Config::default()
    };
    let input = (1..=4_u32, proptest::collection::vec(step(), 0..120));
    let found = core::cell::Cell::new(None);
    let outcome = TestRunner::new(config).run(&input, |(log, program)| {
        run(make, 1 << log, &program).map_err(|violation| {
            let reason = violation.what.clone();
            found.set(Some(violation.promise));
            proptest::test_runner::TestCaseError::fail(reason)
        })
    });
    match outcome {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, (log, program))) => Err(Violation::new(
            found.get().unwrap_or("P1"), // a panic inside the queue has no promise of its own
            format!("{reason}; capacity {}, calls {program:?}", 1 << log),
        )),
        Err(TestError::Abort(reason)) => Err(Violation::new("P1", reason.to_string())),
    }
}

fn step() -> impl Strategy<Value = Step> {
    let limit = || {
        prop_oneof![
            Just(usize::MAX),
            any::<u8>().prop_map(|limit| usize::from(limit % 6))
        ]
    };
    prop_oneof![
        8 => Just(Step::Push),
        1 => Just(Step::PushOrOverflow),
        4 => Just(Step::Pop),
        1 => Just(Step::PushToThief),
        1 => Just(Step::Steal),
        1 => limit().prop_map(Step::Batch),
        1 => limit().prop_map(Step::BatchAndPop),
        1 => limit().prop_map(Step::Force),
    ]
}

fn run<W: Worker<Item = Token>>(
    make: &impl Fn(usize) -> W,
    capacity: usize,
    program: &[Step],
) -> Result<(), Violation> {
    let ledger = Ledger::new(program.len() as u64);
    let mut pair = QueuePair {
        stealer: None,
        queue: make(capacity),
        thief: make(capacity),
        items: VecDeque::new(),
        thief_items: VecDeque::new(),
        made: 0,
        has_withheld_slots: false,
        ledger: Arc::clone(&ledger),
    };
    pair.stealer = Some(pair.queue.stealer());
    for &step in program {
        pair.take(step)?;
        pair.compare_lengths()?;
    }
    let made = pair.made;
    drop(pair);
    ledger.settle(made)
}

struct QueuePair<W: Worker<Item = Token>> {
    stealer: Option<W::Stealer>,
    queue: W,
    thief: W,
    /// The expected content of `queue`, oldest first.
    items: VecDeque<u64>,
    /// The expected content of `thief`.
    thief_items: VecDeque<u64>,
    made: u64,
    /// Whether a forced steal left some of what the owner had set aside, so that the slots of what
    /// it took may still be in use.
    has_withheld_slots: bool,
    ledger: Arc<Ledger>,
}

impl<W: Worker<Item = Token>> QueuePair<W> {
    const PROMISES: Promises = W::PROMISES;

    fn take(&mut self, step: Step) -> Result<(), Violation> {
        match step {
            Step::Push => self.push(),
            Step::PushOrOverflow => self.push_or_overflow(),
            Step::Pop => self.pop(),
            Step::PushToThief => {
                let token = self.token();
                let number = token.number();
                if self.thief.push(token).is_ok() {
                    self.thief_items.push_back(number);
                }
                Ok(())
            }
            Step::Steal => {
                let outcome = self.stealer().steal().map(|item| (Some(item), 0));
                self.stolen(outcome, 1, 1)
            }
            Step::Batch(limit) => {
                let outcome = self.stealer().steal_batch(&self.thief, limit);
                self.stolen(outcome.map(|count| (None, count)), limit, 0)
            }
            Step::BatchAndPop(limit) => {
                let outcome = self.stealer().steal_batch_and_pop(&self.thief, limit);
                self.stolen(outcome.map(|item| (Some(item), 0)), limit, 1)
            }
            Step::Force(limit) => {
                let outcome = self.stealer().force_steal(&self.thief, limit);
                if outcome.is_empty() && limit > 0 && !self.items.is_empty() {
                    return Err(Violation::new(
                        "P8",
                        format!("force_steal found nothing among {:?}", self.items),
                    ));
                }
                self.stolen(outcome.map(|item| (Some(item), 0)), limit, usize::MAX)
            }
        }
    }

    fn token(&mut self) -> Token {
        let token = Token::new(self.made, &self.ledger);
        self.made += 1;
        token
    }

    fn stealer(&self) -> &W::Stealer {
        self.stealer.as_ref().expect("set when the pair was made")
    }

    fn specification(&self) -> Specification {
        Specification::new(Self::PROMISES, self.queue.capacity())
    }

    fn push(&mut self) -> Result<(), Violation> {
        let token = self.token();
        let number = token.number();
        match self.queue.push(token) {
            Ok(()) => self.items.push_back(number),
            Err(back) => {
                let (len, capacity) = (self.items.len(), self.queue.capacity());
                let slack = if self.has_withheld_slots {
                    Self::PROMISES.hidden.most()
                } else {
                    0
                };
                if back.number() != number || capacity.is_none_or(|most| len + slack < most) {
                    return Err(Violation::new(
                        "P6",
                        format!(
                            "pushing {number} to a queue of {len} items with capacity {capacity:?} \
                             gave {back:?} back"
                        ),
                    ));
                }
            }
        }
        if Self::PROMISES.capacity == Capacity::Bounded && self.queue.capacity().is_none() {
            return Err(Violation::new("P6", "a bounded queue has no capacity"));
        }
        Ok(())
    }

    fn push_or_overflow(&mut self) -> Result<(), Violation> {
        let token = self.token();
        let number = token.number();
        let mut overflowed = Vec::new();
        self.queue
            .push_or_overflow(token, |item| overflowed.push(item.number()));
        let before: Vec<u64> = self.items.iter().copied().collect();
        let slack = if self.has_withheld_slots {
            Self::PROMISES.hidden.most()
        } else {
            0
        };
        let call = Call::Overflowing(overflowed, number);
        match self.specification().with_slack(slack).apply(&before, &call) {
            Some(after) => {
                self.items = after.into();
                Ok(())
            }
            None => Err(Violation::new(
                "P6",
                format!("{call:?} with {before:?} in the queue"),
            )),
        }
    }

    fn pop(&mut self) -> Result<(), Violation> {
        let popped = self.queue.pop().map(|item| item.number());
        let expected = match Self::PROMISES.order {
            Order::Fifo => self.items.pop_front(),
            Order::Lifo => self.items.pop_back(),
        };
        self.has_withheld_slots &= !self.items.is_empty();
        if popped == expected {
            return Ok(());
        }
        let order = Self::PROMISES.order;
        Err(Violation::new(
            "P2",
            format!("the owner popped {popped:?} instead of {expected:?} ({order:?})"),
        ))
    }

    /// Checks what a steal brought: the item itself, or how many items went to the thief's queue.
    /// `waived` is `usize::MAX` for a forced steal, whose batch has no limit. Otherwise it is 1 if
    /// an item was returned, and 0 if not.
    fn stolen(
        &mut self,
        outcome: Steal<(Option<Token>, usize)>,
        limit: usize,
        waived: usize,
    ) -> Result<(), Violation> {
        let before: Vec<u64> = self.items.iter().copied().collect();
        let (first, said) = match outcome {
            Steal::Retry => return Err(Violation::new("P4", "alone, and yet asked to retry")),
            Steal::Empty => return self.nothing_stolen(&before, limit, waived),
            Steal::Success(stolen) => stolen,
        };
        let mut got: Vec<u64> = first.iter().map(Token::number).collect();
        let moved = self.drain_thief()?;
        if first.is_none() && (said != moved.len() || said == 0) {
            return Err(Violation::new(
                "P5",
                format!("said {said}, moved {moved:?}"),
            ));
        }
        got.extend(moved);
        let start = before.iter().position(|item| Some(item) == got.first());
        let run = start.and_then(|start| before.get(start..start + got.len()));
        let (Some(start), Some(run)) = (start, run) else {
            return Err(Violation::new(
                "P3",
                format!("{got:?} was stolen from {before:?}"),
            ));
        };
        if run != got || start > Self::PROMISES.hidden.most() {
            return Err(Violation::new(
                "P3",
                format!("{got:?} was stolen from {before:?}, not the oldest in order"),
            ));
        }
        let most = if waived == usize::MAX {
            usize::MAX
        } else {
            Self::PROMISES.max_steal.of(before.len() - start)
        };
        if got.len() > most.min(limit) {
            let greatest = Self::PROMISES.max_steal;
            return Err(Violation::new(
                "P5",
                format!("{got:?} of {before:?} is more than {greatest:?} or the limit {limit}"),
            ));
        }
        self.items.drain(start..start + got.len());
        self.has_withheld_slots |= waived == usize::MAX;
        self.has_withheld_slots &= !self.items.is_empty();
        Ok(())
    }

    fn nothing_stolen(&self, before: &[u64], limit: usize, waived: usize) -> Result<(), Violation> {
        let no_room = waived == 0
            && self
                .thief
                .capacity()
                .is_some_and(|most| self.thief_items.len() >= most);
        if limit == 0 || no_room || self.specification().may_look_empty(before) {
            return Ok(());
        }
        Err(Violation::new(
            "P4",
            format!("nothing to steal among {before:?}"),
        ))
    }

    /// Empties the thief's queue. The older items in it were there before; the newer ones came with
    /// a batch and are returned, oldest first.
    fn drain_thief(&mut self) -> Result<Vec<u64>, Violation> {
        let mut all: Vec<u64> = core::iter::from_fn(|| self.thief.pop())
            .map(|item| item.number())
            .collect();
        if Self::PROMISES.order == Order::Lifo {
            all.reverse();
        }
        let thief_items: Vec<u64> = self.thief_items.drain(..).collect();
        match all.strip_prefix(thief_items.as_slice()) {
            Some(moved) => Ok(moved.to_vec()),
            None => Err(Violation::new(
                "P3",
                format!("the thief had {thief_items:?}, and after a steal {all:?}"),
            )),
        }
    }

    fn compare_lengths(&self) -> Result<(), Violation> {
        let (len, seen) = (self.queue.len(), self.stealer().len());
        let least = match Self::PROMISES.hidden {
            Hidden::Nothing => len,
            Hidden::Oldest(most) => len.saturating_sub(most),
            Hidden::Newest => 0,
        };
        let expected = self.items.len();
        let empty = (self.queue.is_empty(), self.stealer().is_empty());
        if len == expected && (least..=len).contains(&seen) && empty == (len == 0, seen == 0) {
            return Ok(());
        }
        Err(Violation::new(
            "P4",
            format!("{expected} items, owner's len {len}, thieves' len {seen}, empty {empty:?}"),
        ))
    }
}
