//! Records small histories of an owner and two thieves, and has each explained.
//!
//! Every call notes a tick of one clock when it starts and when it ends.

use stealyard_sync::atomic::{AtomicU64, Ordering};
use stealyard_sync::seed::{self, Rng};
use stealyard_sync::{Arc, hint, thread};

use super::Violation;
use super::history::{Call, History, Record, Specification};
use super::linearize::explain;
use super::token::{Ledger, Token};
use crate::steal::Steal;
use crate::worker::{Stealer, Worker};

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
