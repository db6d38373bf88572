//! Goal: no item is lost, doubled, leaked or seen half-made on the real machine, and sanitizers
//! find nothing. Method: many operations from more threads than there are cores, whose counts must
//! add up. These tests do not use the conformance suite, so that each checks the other.
//! `STEALYARD_SOAK` multiplies the lengths.
#![cfg(not(stealyard_loom))]

use stealyard_deque::{LastPass, Ring, RingStealer, Slot, Steal};
use stealyard_sync::atomic::{AtomicBool, AtomicU64, Ordering};
use stealyard_sync::{Arc, thread};

fn scaled(count: u64) -> u64 {
    let soak = std::env::var("STEALYARD_SOAK").map_or(1, |text| text.parse().unwrap_or(1));
    count * soak
}

/// An item whose destructor is counted, and whose content shows whether it was handed over
/// properly.
struct Counted {
    number: u64,
    twice: u64,
    drops: Arc<AtomicU64>,
}

impl Counted {
    fn boxed(number: u64, drops: &Arc<AtomicU64>) -> Box<Self> {
        Box::new(Self {
            number,
            twice: number * 2,
            drops: Arc::clone(drops),
        })
    }

    fn number(&self) -> u64 {
        assert_eq!(self.twice, 2 * self.number, "an item was seen half-made");
        self.number
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // Ordering: Relaxed; read after the threads were joined.
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

/// The sum and the number of the items that a thread got.
#[derive(Default)]
struct Share {
    sum: u64,
    count: u64,
}

impl Share {
    fn add(&mut self, item: &Counted) {
        self.sum += item.number();
        self.count += 1;
    }
}

fn run_thief(victim: &RingStealer<Box<Counted>>, capacity: usize, stop: &AtomicBool) -> Share {
    let own = Ring::with_capacity(capacity).unwrap().claiming(8);
    let mut share = Share::default();
    for turn in 0_u64.. {
        // Ordering: Acquire; with the owner's store: looked at before the last attempt.
        let last = stop.load(Ordering::Acquire);
        let outcome = match turn % 16 {
            _ if last => victim.force_steal(&own, usize::MAX),
            0 => victim.force_steal(&own, usize::MAX),
            1..=7 => victim.steal(),
            _ => victim.steal_batch_and_pop(&own, usize::MAX),
        };
        match outcome {
            Steal::Success(item) => {
                share.add(&item);
                core::iter::from_fn(|| own.pop()).for_each(|item| share.add(&item));
            }
            Steal::Empty if last => break,
            Steal::Empty => thread::yield_now(),
            Steal::Retry => {}
        }
    }
    share
}

fn conserve(capacity: usize, claim: usize, thieves: usize, items: u64) {
    let ring = Ring::with_capacity(capacity).unwrap().claiming(claim);
    let drops = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let gang: Vec<_> = (0..thieves)
        .map(|_| {
            let (victim, stop) = (ring.stealer(), Arc::clone(&stop));
            thread::spawn(move || run_thief(&victim, capacity, &stop))
        })
        .collect();
    let mut total = Share::default();
    for number in 0..items {
        ring.push_or_overflow(Counted::boxed(number, &drops), |item| total.add(&item));
        if number % 3 != 0 {
            ring.pop().into_iter().for_each(|item| total.add(&item));
        }
        if number % 512 == 0 {
            thread::yield_now();
        }
    }
    core::iter::from_fn(|| ring.pop()).for_each(|item| total.add(&item));
    // Ordering: Release; with the thieves' load.
    stop.store(true, Ordering::Release);
    for thief in gang {
        let share = thief.join().unwrap();
        total.sum += share.sum;
        total.count += share.count;
    }
    drop(ring);
    assert_eq!(total.count, items);
    assert_eq!(total.sum, items * (items - 1) / 2);
    // Ordering: Relaxed; all threads are joined.
    assert_eq!(
        drops.load(Ordering::Relaxed),
        items,
        "each item is dropped once"
    );
}

#[test]
fn q1_q4_ring_conserves_items_with_more_thieves_than_cores() {
    conserve(2, 8, 3, scaled(50_000));
    conserve(8, 8, 4, scaled(100_000));
    conserve(256, 8, 4, scaled(100_000));
    conserve(16, 1, 4, scaled(100_000));
}

#[test]
fn q16_a_queue_that_is_never_empty_never_looks_empty() {
    let ring = Ring::with_capacity(4).unwrap().claiming(1);
    ring.push(0_u32).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (stealer, stop) = (ring.stealer(), Arc::clone(&stop));
        thread::spawn(move || {
            // Ordering: Relaxed; only a signal.
            while !stop.load(Ordering::Relaxed) {
                assert!(!stealer.is_empty(), "there is an item at every moment");
            }
        })
    };
    for number in 1..scaled(1_000_000) as u32 {
        ring.push(number).unwrap();
        assert_eq!(ring.pop(), Some(number - 1));
    }
    // Ordering: Relaxed; only a signal.
    stop.store(true, Ordering::Relaxed);
    watcher.join().unwrap();
}

#[test]
fn slot_conserves_items() {
    let items = scaled(200_000);
    let slot = Arc::new(Slot::new());
    let drops = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let gang: Vec<_> = (0..3)
        .map(|patient| {
            let (slot, stop) = (Arc::clone(&slot), Arc::clone(&stop));
            thread::spawn(move || {
                let mut share = Share::default();
                // Ordering: Relaxed; only a signal.
                while !stop.load(Ordering::Relaxed) {
                    let stolen: Option<Box<Counted>> = if patient == 0 {
                        slot.steal_by(&LastPass::default(), 3, 4).success()
                    } else {
                        slot.steal()
                    };
                    match stolen {
                        Some(item) => share.add(&item),
                        None => thread::yield_now(),
                    }
                }
                share
            })
        })
        .collect();
    let mut total = Share::default();
    for number in 0..items {
        let displaced = slot.put(Counted::boxed(number, &drops));
        displaced.into_iter().for_each(|item| total.add(&item));
        if number % 2 == 0 {
            slot.take().into_iter().for_each(|item| total.add(&item));
        }
        if number % 64 == 0 {
            thread::yield_now();
        }
    }
    slot.take().into_iter().for_each(|item| total.add(&item));
    // Ordering: Relaxed; only a signal.
    stop.store(true, Ordering::Relaxed);
    for thief in gang {
        let share = thief.join().unwrap();
        total.sum += share.sum;
        total.count += share.count;
    }
    assert_eq!((total.count, total.sum), (items, items * (items - 1) / 2));
    // Ordering: Relaxed; all threads are joined.
    assert_eq!(drops.load(Ordering::Relaxed), items);
}
