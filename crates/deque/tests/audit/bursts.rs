//! Bursts that fill a queue and are stolen in a few large batches, over and over, while other
//! thieves lose their core in the middle of a copy. Suppose that such a thief then finds the queue
//! in a state that looks like the one it read, although every item has been replaced. It would take
//! a batch that is gone.
//!
//! No safe code can hold a thief between its look and its claim. But with more threads than cores
//! the system does, and copies of 16,384 items are long enough that it often happens there. Between
//! two bursts the queue rests in the same state for a while, so that a thief may wake up in that
//! state. With a narrow counter, that is so in every second burst.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use stealyard_deque::{Ring, Split, Steal, Stealer};

use crate::items::{AuditItem, Ledger, StopOnDrop, Watchdog, scaled};
use crate::subjects::{FirstIn, LastIn, Subject};

/// The most items that a `Split` holds, and half of the range of its narrowest counter.
const BURST: u32 = 1 << 15;

/// How long the queue rests full, in spins.
const REST: u32 = 2_000;

/// Returns how many thieves copy beside the one that empties the queue. Together with that one they
/// are one more than there are cores.
fn copying_thieves() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 8))
}

fn settle_all<W: Subject>(own: &W, ledger: &Ledger) {
    while let Some(item) = own.pop() {
        item.settle(ledger);
    }
}

/// Runs `bursts` bursts through a queue that `make` makes, with thieves whose queues are of the
/// same size.
fn bursts<W: Subject<Item = u32>>(program: &str, make: fn() -> W, bursts: u64) {
    let _watchdog = Watchdog::new(program);
    let ledger = Ledger::new(bursts as u32 * BURST);
    let (queue, stop) = (make(), AtomicBool::new(false));
    let stealer = queue.stealer();
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        for _ in 0..copying_thieves() {
            let (victim, own) = (stealer.clone(), make());
            let (stop, ledger) = (&stop, &ledger);
            scope.spawn(move || {
                while !stop.load(Relaxed) {
                    let _: Steal<usize> = victim.steal_batch(&own, usize::MAX);
                    settle_all(&own, ledger);
                }
            });
        }
        let own = make();
        for _ in 0..bursts {
            one_burst(&queue, &stealer, &own, &ledger);
        }
    });
    drop(queue);
    ledger.close(program);
}

/// Fills the queue as its owner, shares everything, rests, and steals it all back in batches.
fn one_burst<W: Subject<Item = u32>>(
    queue: &W,
    stealer: &W::Stealer,
    own: &W,
    ledger: &Arc<Ledger>,
) {
    for _ in 0..BURST {
        let item = AuditItem::make(ledger);
        queue.push(item).expect("there is room for a burst");
    }
    let _: Option<Steal<usize>> = W::force(stealer);
    (0..REST).for_each(|_| std::hint::spin_loop());
    while !queue.is_empty() {
        if let Steal::Success(item) = stealer.force_steal(own, usize::MAX) {
            item.settle(ledger);
        }
        settle_all(own, ledger);
    }
}

fn split() -> Split<u32> {
    Split::with_capacity(BURST as usize).expect("the greatest capacity")
}

fn ring() -> Ring<u32> {
    Ring::with_capacity(BURST as usize).expect("a power of two")
}

#[test]
fn bursts_beside_thieves_that_lose_their_core_are_handed_out_once() {
    bursts("bursts through Split", split, scaled(40));
    bursts("bursts through Ring", ring, scaled(8));
    bursts("bursts through ChaseLev, LIFO", LastIn::default, scaled(2));
    bursts("bursts through ChaseLev, FIFO", FirstIn::default, scaled(2));
}

#[test]
#[ignore = "soak: thousands of bursts beside thieves that lose their core"]
fn soak_bursts_beside_thieves_that_lose_their_core_are_handed_out_once() {
    for _ in 0..scaled(10) {
        bursts("bursts through Split", split, 2_000);
        bursts("bursts through Ring", ring, 200);
        bursts("bursts through ChaseLev, LIFO", LastIn::default, 50);
        bursts("bursts through ChaseLev, FIFO", FirstIn::default, 50);
    }
}
