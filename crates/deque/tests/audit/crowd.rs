//! Random programs of an owner and up to three thieves at once, over every call that a queue has:
//! sinks that use the queue again or panic, thieves that steal from each other, handles that come
//! and go.
//!
//! Every item ends once in the ledger. Each thief sees what it takes without force in the order in
//! which it was pushed, and so does the owner of a first-in-first-out queue (P1, P2 and P3 of
//! `Worker`).
//!
//! A seed makes the same programs again, not the same interleaving.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use stealyard_deque::{ChaseLev, Fifo, Lifo, Order, Ring, Split, Steal, Stealer};
use stealyard_sync::seed::Rng;

use crate::items::{AuditItem, Item, Ledger, Watchdog, again, scaled, seed, throw, throws};
use crate::subjects::{Form, Subject};

type Boxed = Box<Item>;

/// The threads' common state in one round.
struct Round<W: Subject<Item = Boxed>> {
    name: String,
    form: Form<W>,
    ledger: Arc<Ledger>,
    /// The thieves' handles: first of the queue with an owner, then of the thieves' own queues.
    victims: Mutex<Vec<W::Stealer>>,
    /// Whether the owner has ended. After that it pushes nothing more.
    over: AtomicBool,
}

/// Checks that the numbers which a thread took are ascending, where an order is promised.
struct Rising(Option<u32>);

impl Rising {
    fn next(&mut self, number: u32, program: &str) {
        assert!(
            self.0.is_none_or(|before| before < number),
            "{program}: P3: {number} was taken after {:?}, which is newer",
            self.0
        );
        self.0 = Some(number);
    }
}

/// Runs the owner: `calls` random calls, and those of its sinks.
fn run_owner<W: Subject<Item = Boxed>>(round: &Round<W>, queue: W, calls: u32, mut rng: Rng) {
    let (mut queue, mut popped) = (queue, Rising(None));
    let spare = round.form.make();
    for _ in 0..calls {
        match rng.below(32) {
            0..=11 => drop(queue.push(Boxed::make(&round.ledger))),
            12..=19 => overflow(round, &queue, &spare, &mut rng, 0),
            20..=28 => {
                let Some(item) = queue.pop() else { continue };
                if W::PROMISES.order == Order::Fifo {
                    popped.next(item.number(), &round.name);
                }
            }
            29 => drop(queue.stealer()),
            30 => {
                assert!(queue.len() >= usize::from(!queue.is_empty()));
                assert!(!format!("{queue:?}").is_empty());
            }
            _ => {
                // The same queue, with the limits of its form or narrower ones.
                if queue.capacity().is_some() {
                    queue = queue.changed(1 + rng.below(8) as usize);
                }
            }
        }
    }
    while let Some(item) = spare.pop() {
        drop(item);
    }
    // Half of the time, thieves find the remaining items without an owner.
    if rng.below(2) == 0 {
        while queue.pop().is_some() {}
    }
}

/// Pushes with overflow. The sink makes a few calls of its own, up to three deep, and may panic.
fn overflow<W: Subject<Item = Boxed>>(
    round: &Round<W>,
    queue: &W,
    spare: &W,
    rng: &mut Rng,
    depth: u32,
) {
    let panics_at = if rng.below(8) == 0 {
        rng.below(3)
    } else {
        u32::MAX
    };
    let calls = Cell::new(0);
    throws(|| {
        queue.push_or_overflow(Boxed::make(&round.ledger), |item| {
            if calls.replace(calls.get() + 1) == panics_at {
                throw();
            }
            match rng.below(8) {
                0 => drop(queue.push(Boxed::make(&round.ledger))),
                1 => drop(queue.stealer().steal().success()),
                2 => drop(spare.push(item)),
                3 => drop(queue.stealer().steal_batch(spare, 3)),
                4 if depth < 3 => overflow(round, queue, spare, rng, depth + 1),
                5 => drop(spare.stealer().force_steal(&round.form.make(), 2).success()),
                _ => drop(item),
            }
            while spare.len() > 1 && rng.below(2) == 0 {
                drop(spare.pop());
            }
        });
    });
}

/// Runs a thief until the owner has ended and a few turns have found nothing.
fn run_thief<W: Subject<Item = Boxed>>(round: &Round<W>, own: &W, mut rng: Rng) {
    let mut stealers: Vec<W::Stealer> = Vec::new();
    let mut from_first = Rising(None);
    let mut idle = 0;
    while idle < 4 {
        if stealers.is_empty() || rng.below(256) == 0 {
            stealers = round
                .victims
                .lock()
                .expect("no thread panics with it")
                .clone();
        }
        let over = round.over.load(Relaxed);
        // The first victim is the queue with an owner; it gets two turns for one of each other
        // queue.
        let which = rng.below(stealers.len() as u32 + 1).saturating_sub(1) as usize;
        let found = steal_once(
            round,
            &stealers[which],
            own,
            &mut rng,
            (which == 0).then_some(&mut from_first),
        );
        idle = if found || !over { 0 } else { idle + 1 };
    }
}

/// Makes one steal. Returns whether it found something.
fn steal_once<W: Subject<Item = Boxed>>(
    round: &Round<W>,
    victim: &W::Stealer,
    own: &W,
    rng: &mut Rng,
    rising: Option<&mut Rising>,
) -> bool {
    let limit = [1, 2, 5, usize::MAX][rng.below(4) as usize];
    let call = rng.below(6);
    let stolen = match call {
        0 | 1 => victim.steal(),
        2 | 3 => victim.steal_batch_and_pop(own, limit),
        4 => {
            let moved = victim.steal_batch(own, limit);
            drop(own.pop());
            return moved.is_success();
        }
        _ => {
            if rng.below(4) == 0 {
                let _: Option<Steal<usize>> = W::force(victim);
            }
            victim.force_steal(own, limit)
        }
    };
    let Steal::Success(first) = stolen else {
        return false;
    };
    // The order of one call after the other is promised to a thief that does not use force.
    if let (Some(rising), true) = (rising, call < 4) {
        rising.next(first.number(), &round.name);
    }
    drop(first);
    // Some items stay for the other thieves.
    for _ in 0..rng.below(4) {
        drop(own.pop());
    }
    true
}

/// Runs one queue, which `thieves` thieves rob.
fn round<W: Subject<Item = Boxed>>(test: &str, form: Form<W>, thieves: u64, calls: u32, seed: u64) {
    let name = format!(
        "{}, {thieves} thieves, round {seed} ({})",
        form.name,
        again(test)
    );
    let _watchdog = Watchdog::new(&name);
    let queue = form.make();
    let owns: Vec<W> = (0..thieves).map(|_| form.make()).collect();
    let victims = [&queue]
        .into_iter()
        .chain(&owns)
        .map(|queue| queue.stealer());
    let round = Round {
        victims: Mutex::new(victims.collect()),
        // A call pushes one item, and its sinks some more.
        ledger: Ledger::new(calls * 20 + 10_000),
        name,
        form,
        over: AtomicBool::new(false),
    };
    let outcomes = std::thread::scope(|scope| {
        let handles: Vec<_> = owns
            .into_iter()
            .zip(1..)
            .map(|(own, thief)| {
                let (round, rng) = (&round, Rng::new(seed ^ thief << 32));
                scope.spawn(move || run_thief(round, &own, rng))
            })
            .collect();
        let owned = catch_unwind(AssertUnwindSafe(|| {
            run_owner(&round, queue, calls, Rng::new(seed))
        }));
        round.over.store(true, Relaxed);
        let mut outcomes = vec![owned];
        outcomes.extend(handles.into_iter().map(|handle| handle.join()));
        outcomes
    });
    for outcome in outcomes {
        if let Err(payload) = outcome {
            resume_unwind(payload);
        }
    }
    let Round {
        victims,
        ledger,
        name,
        ..
    } = round;
    drop(victims);
    ledger.close(&name);
}

/// Runs rounds of every form, with one to three thieves.
fn rounds<W: Subject<Item = Boxed>>(test: &str, rounds: u64) {
    for number in 0..rounds {
        for form in W::forms() {
            let seed = seed().wrapping_mul(1_000_003).wrapping_add(number);
            round(test, form, 1 + number % 3, 1_500, seed);
        }
    }
}

#[test]
fn a_crowd_finds_no_fault_with_chase_lev_lifo() {
    rounds::<ChaseLev<Boxed, Lifo>>("a_crowd", scaled(20));
}

#[test]
fn a_crowd_finds_no_fault_with_chase_lev_fifo() {
    rounds::<ChaseLev<Boxed, Fifo>>("a_crowd", scaled(20));
}

#[test]
fn a_crowd_finds_no_fault_with_ring() {
    rounds::<Ring<Boxed>>("a_crowd", scaled(20));
}

#[test]
fn a_crowd_finds_no_fault_with_split() {
    rounds::<Split<Boxed>>("a_crowd", scaled(40));
}

#[test]
#[ignore = "soak: a crowd at each queue for minutes"]
fn soak_a_crowd_finds_no_fault() {
    rounds::<ChaseLev<Boxed, Lifo>>("soak_a_crowd", scaled(400));
    rounds::<ChaseLev<Boxed, Fifo>>("soak_a_crowd", scaled(400));
    rounds::<Ring<Boxed>>("soak_a_crowd", scaled(400));
    rounds::<Split<Boxed>>("soak_a_crowd", scaled(800));
}
