//! Records what concurrent calls did, and specifies what a queue's promises allow.
//!
//! Every call notes a tick of one clock when it starts and when it ends. A batch is recorded as
//! single steals that took the same time, because the promises do not say that a batch is atomic.
//! Attempts that ended in `Retry` changed nothing and are left out.

use core::fmt;

use stealyard_sync::atomic::{AtomicU64, Ordering};
use stealyard_sync::seed::{self, Rng};
use stealyard_sync::{Arc, hint, thread};

use super::Violation;
use super::linearize::explain;
use super::token::{Ledger, Token};
use crate::steal::Steal;
use crate::worker::{Hidden, Order, Promises, Stealer, Worker};

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
pub struct History(Vec<Record>);

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

/// Records `rounds` small histories of an owner and two thieves on queues of `capacity`, and looks
/// for an order that explains each of them.
///
/// # Errors
/// Returns the first history that has no explanation, or whose items do not add up.
pub fn linearizable<W>(
    make: &impl Fn(usize) -> W,
    capacity: usize,
    rounds: u32,
) -> Result<(), Violation>
where
    W: Worker<Item = Token> + 'static,
{
    let mut rng = Rng::new(seed::fresh());
    for _ in 0..rounds {
        record_and_explain(make, capacity, rng.next_u64())?;
    }
    Ok(())
}

const OWNER_CALLS: u64 = 14;
const THIEF_CALLS: u64 = 4;
const THIEVES: u64 = 2;

fn record_and_explain<W>(
    make: &impl Fn(usize) -> W,
    capacity: usize,
    seed: u64,
) -> Result<(), Violation>
where
    W: Worker<Item = Token> + 'static,
{
    let queue = make(capacity);
    let specification = Specification::new(W::PROMISES, queue.capacity());
    let ledger = Ledger::new(OWNER_CALLS);
    let clock = Arc::new(Clock::new(THIEVES + 1));
    let thieves: Vec<_> = (0..THIEVES)
        .map(|thief| {
            // There is room for all that a forced steal can bring: what it had to leave would keep
            // slots in use.
            let (stealer, own) = (queue.stealer(), make(capacity.max(16)));
            let clock = Arc::clone(&clock);
            let rng = Rng::new(seed.wrapping_add(thief + 1));
            thread::spawn(move || run_thief(&stealer, &own, &clock, rng))
        })
        .collect();
    let mut records = run_owner(&queue, &ledger, &clock, Rng::new(seed));
    for thief in thieves {
        match thief.join() {
            Ok(theirs) => records.extend(theirs),
            Err(_) => return Err(Violation::new("P7", "a thief panicked; see its message")),
        }
    }
    drop(queue);
    let history = History(records);
    if explain(&specification, &history).is_none() {
        let what = format!("no order of these calls explains their answers:\n{history}");
        return Err(Violation::new("P1 to P4", what));
    }
    ledger.settle(OWNER_CALLS)
}

/// Runs the owner: pushes, overflowing pushes and pops, with more pushes than pops.
fn run_owner<W: Worker<Item = Token>>(
    queue: &W,
    ledger: &Arc<Ledger>,
    clock: &Clock,
    mut rng: Rng,
) -> Vec<Record> {
    clock.meet();
    let mut records = Vec::new();
    for number in 0..OWNER_CALLS {
        let token = Token::new(number, ledger);
        let choice = rng.below(8);
        records.push(clock.record(|| match choice {
            0..=3 => match queue.push(token) {
                Ok(()) => Call::Push(number),
                Err(_) => Call::PushFull,
            },
            4 => {
                let mut overflowed = Vec::new();
                queue.push_or_overflow(token, |item| overflowed.push(item.number()));
                Call::Overflowing(overflowed, number)
            }
            _ => Call::Pop(queue.pop().map(|item| item.number())),
        }));
    }
    records
}

/// Runs a thief: every kind of steal. It pops what it got from its own queue at once.
fn run_thief<S: Stealer<Item = Token>>(
    stealer: &S,
    own: &S::Worker,
    clock: &Clock,
    mut rng: Rng,
) -> Vec<Record> {
    clock.meet();
    let mut records = Vec::new();
    for _ in 0..THIEF_CALLS {
        let choice = rng.below(5);
        let limit = 1 + rng.below(4) as usize;
        let start = clock.tick();
        let stolen = match choice {
            0 | 1 => stealer.steal().map(Some),
            2 => stealer.steal_batch(own, limit).map(|_| None),
            3 => stealer.steal_batch_and_pop(own, limit).map(Some),
            _ => stealer.force_steal(own, usize::MAX).map(Some),
        };
        let end = clock.tick();
        let mut add = |call| records.push(Record { start, end, call });
        match stolen {
            Steal::Success(first) => {
                let got = first.into_iter().chain(core::iter::from_fn(|| own.pop()));
                for item in got {
                    add(if choice < 4 {
                        Call::Steal(item.number())
                    } else {
                        Call::Force(item.number())
                    });
                }
            }
            Steal::Empty => add(Call::StealNone),
            Steal::Retry => {}
        }
    }
    records
}

/// The clock of one history, and the place where its threads start together.
struct Clock {
    ticks: AtomicU64,
    awaited: AtomicU64,
}

impl Clock {
    fn new(threads: u64) -> Self {
        Self {
            ticks: AtomicU64::new(0),
            awaited: AtomicU64::new(threads),
        }
    }

    fn tick(&self) -> u64 {
        // Ordering: AcqRel; a call that starts at a later tick than another one ended at comes
        // after it in happens-before too, so that real time is an order the queue must respect.
        // Unmodelled: the suite is no part of any queue.
        self.ticks.fetch_add(1, Ordering::AcqRel)
    }

    fn record(&self, call: impl FnOnce() -> Call) -> Record {
        let start = self.tick();
        let call = call();
        Record {
            start,
            end: self.tick(),
            call,
        }
    }

    /// Waits until every thread has arrived, so that the calls overlap.
    fn meet(&self) {
        // Ordering: Relaxed on both; only a starting signal.
        self.awaited.fetch_sub(1, Ordering::Relaxed);
        let mut spins = 0_u32;
        // Ordering: Relaxed; as above.
        while self.awaited.load(Ordering::Relaxed) > 0 {
            spins += 1;
            if spins.is_multiple_of(64) {
                thread::yield_now();
            } else {
                hint::spin_loop();
            }
        }
    }
}
