//! Many calls from many threads, whose counts must add up. There are two scenes.
//!
//! In the first scene, one owner pushes and pops while thieves steal. The owner must get its items
//! in order (if it is first in, first out). Each thief must get newer items from call to call. No
//! batch may be too large.
//!
//! In the second scene, every thread has a queue and steals from the others, as in a scheduler, so
//! that batches travel. The scene counts how often an item moves on average. Where stolen batches
//! are stolen straight back, that number grows without bound.

use core::any::Any;
use core::fmt;

use stealyard_sync::atomic::{AtomicBool, AtomicU64, Ordering};
use stealyard_sync::seed::{self, Rng};
use stealyard_sync::{Arc, thread};

use super::Violation;
use super::token::{Ledger, Token};
use crate::steal::Steal;
use crate::worker::{Order, Stealer, Worker};

/// The counts of the stress part.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// The number of items that went through the queues, over all scenes.
    pub items: u64,
    /// The number of these that a thief took.
    pub stolen: u64,
    /// How often an item moved from queue to queue, on average, where threads steal from each
    /// other.
    pub moves_per_item: f64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} items, {} stolen, {:.3} moves an item",
            self.items, self.stolen, self.moves_per_item
        )
    }
}

const THIEVES: u64 = 3;

/// Puts `items` items through queues of `capacity`, twice.
///
/// # Errors
/// Returns the first count that does not add up.
pub fn stress<W>(
    make: &impl Fn(usize) -> W,
    capacity: usize,
    items: u64,
) -> Result<Tally, Violation>
where
    W: Worker<Item = Token> + 'static,
{
    let stolen = one_owner(make, capacity, items)?;
    let (exchanged, moves) = exchange(make, capacity, items)?;
    Ok(Tally {
        items: items + exchanged,
        stolen,
        moves_per_item: moves as f64 / exchanged.max(1) as f64,
    })
}

/// Runs one owner and several thieves. Returns the number of items that were stolen.
fn one_owner<W>(make: &impl Fn(usize) -> W, capacity: usize, items: u64) -> Result<u64, Violation>
where
    W: Worker<Item = Token> + 'static,
{
    let queue = make(capacity);
    let ledger = Ledger::new(items);
    let done = Arc::new(AtomicBool::new(false));
    let thieves: Vec<_> = (0..THIEVES)
        .map(|_| {
            let (stealer, own) = (queue.stealer(), make(capacity));
            let done = Arc::clone(&done);
            let rng = Rng::new(seed::fresh());
            thread::spawn(move || run_thief(&stealer, &own, &done, rng))
        })
        .collect();
    let owner = run_owner(&queue, &ledger, items);
    // Ordering: Release; with the thieves' load: they see the last items before they give up.
    // Unmodelled: the suite is no part of any queue.
    done.store(true, Ordering::Release);
    let mut stolen = 0;
    for thief in thieves {
        stolen += joined(thief.join())??;
    }
    drop(queue);
    owner?;
    ledger.settle(items)?;
    Ok(stolen)
}

/// Runs the owner: pushes everything, pops now and then, and pops the rest.
fn run_owner<W: Worker<Item = Token>>(
    queue: &W,
    ledger: &Arc<Ledger>,
    items: u64,
) -> Result<(), Violation> {
    let mut rng = Rng::new(seed::fresh());
    let mut last = None;
    let mut pop = || -> Result<bool, Violation> {
        let Some(item) = queue.pop() else {
            return Ok(false);
        };
        let number = Some(item.number());
        if W::PROMISES.order == Order::Fifo && number <= last {
            let what = format!("the owner popped {number:?} after {last:?}");
            return Err(Violation::new("P2", what));
        }
        last = number;
        Ok(true)
    };
    for number in 0..items {
        let mut token = Token::new(number, ledger);
        if rng.below(16) == 0 {
            queue.push_or_overflow(token, drop);
            continue;
        }
        while let Err(back) = queue.push(token) {
            token = back;
            pop()?;
        }
        match rng.below(3) {
            0 => {
                pop()?;
            }
            // Where there are more threads than cores, thieves would hardly ever run without this.
            1 if number % 256 == 0 => thread::yield_now(),
            _ => {}
        }
    }
    while pop()? {}
    Ok(())
}

/// Runs a thief: every kind of steal, until the owner is done and nothing is left.
fn run_thief<S: Stealer<Item = Token>>(
    stealer: &S,
    own: &S::Worker,
    done: &AtomicBool,
    mut rng: Rng,
) -> Result<u64, Violation> {
    let (mut stolen, mut newest) = (0, None);
    loop {
        // Ordering: Acquire; with the owner's store: looked at before the last attempt. Unmodelled:
        // the suite is no part of any queue.
        let last_attempt = done.load(Ordering::Acquire);
        let choice = rng.below(64);
        let outcome = match choice {
            _ if last_attempt => stealer.force_steal(own, usize::MAX).map(Some),
            0 => stealer.force_steal(own, 4).map(Some),
            1..=21 => stealer.steal().map(Some),
            22..=42 => stealer.steal_batch(own, usize::MAX).map(|_| None),
            _ => stealer.steal_batch_and_pop(own, 3).map(Some),
        };
        match outcome {
            Steal::Success(first) => {
                let forced = last_attempt || choice == 0;
                stolen += check_stolen(first, own, (!forced).then_some(&mut newest))?;
            }
            Steal::Empty if last_attempt => return Ok(stolen),
            Steal::Empty => thread::yield_now(),
            Steal::Retry => {}
        }
    }
}

/// Takes what one steal brought, checks its order and size, and returns how many items it was.
fn check_stolen<W: Worker<Item = Token>>(
    first: Option<Token>,
    own: &W,
    newest: Option<&mut Option<u64>>,
) -> Result<u64, Violation> {
    let first: Vec<u64> = first.iter().map(Token::number).collect();
    let mut batch: Vec<u64> = core::iter::from_fn(|| own.pop())
        .map(|item| item.number())
        .collect();
    if W::PROMISES.order == Order::Lifo {
        batch.reverse();
    }
    let got = [first, batch].concat();
    let before = newest.as_ref().and_then(|newest| **newest);
    if !got.is_sorted() || (before.is_some() && got.first().copied() <= before) {
        let what = format!("a thief got {got:?} after {before:?}");
        return Err(Violation::new("P3", what));
    }
    let most = own
        .capacity()
        .map_or(usize::MAX, |most| W::PROMISES.max_steal.of(most));
    if newest.is_some() && got.len() > most {
        let what = format!("a batch of {} is more than {most}", got.len());
        return Err(Violation::new("P5", what));
    }
    if let Some(newest) = newest {
        *newest = got.last().copied();
    }
    Ok(got.len() as u64)
}

/// Lets every thread own a queue and steal from the others. Only the first thread makes items, so
/// the items have to travel. Returns the number of items consumed, and the number of moves between
/// queues.
fn exchange<W>(
    make: &impl Fn(usize) -> W,
    capacity: usize,
    items: u64,
) -> Result<(u64, u64), Violation>
where
    W: Worker<Item = Token> + 'static,
{
    let ledger = Ledger::new(items);
    let queues: Vec<W> = (0..THIEVES).map(|_| make(capacity)).collect();
    let stealers: Vec<W::Stealer> = queues.iter().map(Worker::stealer).collect();
    let consumed = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0_u64..)
        .zip(queues)
        .map(|(id, queue)| {
            let ledger = Arc::clone(&ledger);
            let trader = Trader {
                others: stealers.clone(),
                queue,
                total: items,
                consumed: Arc::clone(&consumed),
                moves: 0,
            };
            let makes = if id == 0 { items } else { 0 };
            thread::spawn(move || trader.trade(makes, &ledger))
        })
        .collect();
    drop(stealers);
    let mut moves = 0;
    for trader in threads {
        moves += joined(trader.join())?;
    }
    ledger.settle(items)?;
    Ok((items, moves))
}

struct Trader<W: Worker> {
    queue: W,
    others: Vec<W::Stealer>,
    total: u64,
    consumed: Arc<AtomicU64>,
    moves: u64,
}

impl<W: Worker<Item = Token>> Trader<W> {
    fn trade(mut self, makes: u64, ledger: &Arc<Ledger>) -> u64 {
        let mut rng = Rng::new(seed::fresh());
        let mut next = 0;
        // Ordering: Relaxed; the count alone matters.
        while self.consumed.load(Ordering::Relaxed) < self.total {
            let burst = u64::from(rng.below(32)).min(makes - next);
            for number in next..next + burst {
                let mut overflowed = 0;
                let token = Token::new(number, ledger);
                self.queue.push_or_overflow(token, |_| overflowed += 1);
                self.count(overflowed);
            }
            next += burst;
            for _ in 0..rng.below(8) {
                let popped = u64::from(self.queue.pop().is_some());
                self.count(popped);
            }
            if burst > 0 && rng.below(64) == 0 {
                thread::yield_now();
            }
            if self.queue.is_empty() {
                self.steal(&mut rng);
            }
        }
        self.moves
    }

    fn steal(&mut self, rng: &mut Rng) {
        let victim = rng.below(self.others.len() as u32) as usize;
        let before = self.queue.len() as u64;
        let outcome = if rng.below(8) == 0 {
            self.others[victim].force_steal(&self.queue, usize::MAX)
        } else {
            self.others[victim].steal_batch_and_pop(&self.queue, usize::MAX)
        };
        match outcome {
            Steal::Success(item) => {
                self.moves += 1 + (self.queue.len() as u64).saturating_sub(before);
                drop(item);
                self.count(1);
            }
            Steal::Empty => thread::yield_now(),
            Steal::Retry => {}
        }
    }

    fn count(&self, items: u64) {
        // Ordering: Relaxed; only a count.
        self.consumed.fetch_add(items, Ordering::Relaxed);
    }
}

/// Returns a thread's result, or the violation that it panicked. An item panics if its content is
/// not what its maker wrote.
fn joined<T>(result: Result<T, Box<dyn Any + Send>>) -> Result<T, Violation> {
    result.map_err(|_| Violation::new("P7", "a thread panicked; see its message"))
}
