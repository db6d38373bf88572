//! What a thief may expect of a [`Split`] that keeps its items to itself: the owner's next call
//! answers a request, and a force makes everything visible. A request lapses when something is
//! shared. A request that cannot be answered stays.
//!
//! The programs have up to a few dozen calls, in every order that a generator thinks of, on one
//! thread, so that the answers are exact.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use stealyard_deque::{Split, SplitStealer, Steal};

use stealyard_sync::seed::Rng;

use crate::items::{Watchdog, again, scaled, seed};

/// The number of random programs of each test, which is small because a force may cost a system
/// call.
const EVERYDAY: u64 = 400;

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Push,
    PushOrOverflow,
    Pop,
    Steal,
    Batch(usize),
    BatchAndPop(usize),
    Force,
    ForceSteal(usize),
    /// A batch of this many items from another queue arrives in this one.
    Arrives(usize),
    /// The stealer is dropped, and a new one is made.
    NewStealer,
}

fn call() -> impl Strategy<Value = Call> {
    let limit = || {
        prop_oneof![
            Just(usize::MAX),
            any::<u8>().prop_map(|limit| usize::from(limit % 5))
        ]
    };
    prop_oneof![
        6 => Just(Call::Push),
        2 => Just(Call::PushOrOverflow),
        3 => Just(Call::Pop),
        4 => Just(Call::Steal),
        1 => limit().prop_map(Call::Batch),
        1 => limit().prop_map(Call::BatchAndPop),
        2 => Just(Call::Force),
        1 => limit().prop_map(Call::ForceSteal),
        1 => limit().prop_map(Call::Arrives),
        1 => Just(Call::NewStealer),
    ]
}

/// A queue, its thief, and the state of the thief's request.
struct Pair {
    queue: Split<u32>,
    stealer: SplitStealer<u32>,
    /// The thief's own queue, from which batches arrive too.
    other: Split<u32>,
    /// Whether a steal has found nothing shared, and the request has not lapsed.
    asked: bool,
    /// Whether the last push was refused.
    refused: bool,
    next: u32,
}

impl Pair {
    fn new(capacity: usize) -> Self {
        let make = || Split::with_capacity(capacity).expect("a power of two");
        let queue = make();
        Self {
            stealer: queue.stealer(),
            queue,
            other: make(),
            asked: false,
            refused: false,
            next: 0,
        }
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// Makes the call. Returns whether it was the owner's: a push or a pop.
    fn make(&mut self, call: Call) -> bool {
        let number = self.number();
        match call {
            Call::Push => self.refused = self.queue.push(number).is_err(),
            Call::PushOrOverflow => self.queue.push_or_overflow(number, drop),
            Call::Pop => drop(self.queue.pop()),
            Call::Steal => {
                let found = self.stealer.steal();
                self.asked |= found.is_empty();
            }
            Call::Batch(limit) => {
                let found = self.stealer.steal_batch(&self.other, limit);
                self.asked |= found.is_empty() && limit > 0;
            }
            Call::BatchAndPop(limit) => {
                let found = self.stealer.steal_batch_and_pop(&self.other, limit);
                self.asked |= found.is_empty() && limit > 0;
            }
            Call::Force => drop(self.stealer.force().success()),
            Call::ForceSteal(limit) => drop(self.stealer.force_steal(&self.other, limit).success()),
            Call::Arrives(limit) => self.arrives(limit),
            Call::NewStealer => self.stealer = self.queue.stealer(),
        }
        let owners = matches!(call, Call::Push | Call::PushOrOverflow | Call::Pop);
        // The request was answered, or the items were forced out. A request that could not be
        // answered stays.
        self.asked &= self.visible() == 0;
        owners
    }

    fn private(&self) -> usize {
        self.queue.len() - self.visible()
    }

    fn arrives(&mut self, limit: usize) {
        while self.other.push(self.next).is_ok() {}
        let from = self.other.stealer();
        let _: Steal<usize> = from.force();
        let _: Steal<usize> = from.steal_batch(&self.queue, limit);
        while self.other.pop().is_some() {}
    }

    fn visible(&self) -> usize {
        self.stealer.len()
    }
}

/// Runs random programs. `check` looks at the queue after each call, and at whether that was the
/// owner's.
fn search(
    test: &str,
    programs: u64,
    wanted: impl Fn(Call) -> bool,
    check: impl Fn(&Pair, Call, bool) -> Result<(), String>,
) {
    let config = Config {
        cases: u32::try_from(programs).unwrap_or(u32::MAX),
        failure_persistence: None,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed().to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let input = (1..=4_u32, proptest::collection::vec(call(), 0..60));
    let outcome = TestRunner::new_with_rng(config, rng).run(&input, |(log, program)| {
        let mut pair = Pair::new(1 << log);
        for &call in program.iter().filter(|call| wanted(**call)) {
            let owners = pair.make(call);
            check(&pair, call, owners).map_err(TestCaseError::fail)?;
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!(
            "capacity 2 to the power of the first, then the calls: {error}\n{}",
            again(test)
        );
    }
}

/// Checks that the request is answered in the same call, unless fewer than two items are private
/// then.
fn answered(pair: &Pair, call: Call, owners: bool) -> Result<(), String> {
    let private = pair.private();
    if owners && pair.asked && private >= 2 {
        return Err(format!(
            "a thief had asked, and after {call:?} all of {private} items are still private"
        ));
    }
    Ok(())
}

/// The answers are pushes that find room, and pops.
#[test]
fn a_request_is_answered_at_the_owners_next_push_or_pop() {
    search(
        "a_request_is_answered_at_the_owners_next_push_or_pop",
        scaled(EVERYDAY),
        |call| call != Call::PushOrOverflow,
        |pair, call, owners| {
            let refused = call == Call::Push && pair.refused;
            answered(pair, call, owners && !refused)
        },
    );
}

/// The answers include pushes that find the queue full. They are refused, and are pushes all the
/// same.
#[test]
fn a_request_is_answered_by_a_push_that_is_refused() {
    search(
        "a_request_is_answered_by_a_push_that_is_refused",
        scaled(EVERYDAY),
        |call| call != Call::PushOrOverflow,
        answered,
    );
}

/// The answers include pushes that find the queue full and send its older half away.
#[test]
fn a_request_is_answered_by_a_push_that_overflows() {
    search(
        "a_request_is_answered_by_a_push_that_overflows",
        scaled(EVERYDAY),
        |call| call != Call::Push,
        answered,
    );
}

/// After a force, whatever it returns, thieves see all items.
#[test]
fn force_makes_everything_visible_in_every_state() {
    search(
        "force_makes_everything_visible_in_every_state",
        scaled(EVERYDAY),
        |_| true,
        |pair, call, _| {
            if call != Call::Force {
                return Ok(());
            }
            let (visible, all) = (pair.visible(), pair.queue.len());
            if visible == all {
                Ok(())
            } else {
                Err(format!(
                    "after a force, alone, {visible} of {all} items are visible"
                ))
            }
        },
    );
}

/// A force returns how many items are visible. It never asks a thief that is alone for another
/// attempt.
#[test]
fn force_returns_how_many_are_visible() {
    for items in 0..=8_u32 {
        for shared in [false, true] {
            let queue = Split::with_capacity(8).expect("a power of two");
            let stealer = queue.stealer();
            (0..items).for_each(|number| queue.push(number).expect("room"));
            if shared && items > 0 {
                // The thief asks, is answered, and takes one item of the answer.
                let _: Steal<u32> = stealer.steal();
                let one = queue.pop().expect("there are items");
                queue.push(one).expect("room");
            }
            let said = stealer.force();
            let expected = match items as usize {
                0 => Steal::Empty,
                items => Steal::Success(items),
            };
            assert_eq!(said, expected, "{items} items, some shared: {shared}");
            assert_eq!(stealer.len(), queue.len());
        }
    }
}

/// The programs of the audit, as they were found: after a force, 96 pushes shared nothing.
#[test]
fn a_request_after_a_force_is_answered() {
    let queue = Split::<u32>::new();
    let stealer = queue.stealer();
    (0..2).for_each(|number| queue.push(number).expect("room"));
    assert_eq!(stealer.steal(), Steal::Empty);
    queue.push(2).expect("room");
    assert_eq!(stealer.steal(), Steal::Success(0));
    assert_eq!(stealer.steal(), Steal::Empty);
    assert!(stealer.force().is_success());
    queue.push(3).expect("room");
    while stealer.steal().is_success() {}
    let mut unanswered = 0;
    for number in 4..100 {
        queue.push(number).expect("room");
        // A single private item is left alone.
        if stealer.steal().is_empty() && queue.len() >= 2 {
            queue.push(1_000 + number).expect("room");
            unanswered += usize::from(stealer.steal().is_empty());
        }
    }
    assert_eq!(
        unanswered, 0,
        "of 96 pushes so many left a request unanswered"
    );
}

/// Runs one round: pushes race with a thief's steals and forces, of which the last is a steal that
/// found nothing. Two pushes later that thief must find something: they leave two items private, or
/// one of them answers.
fn races(rounds: u64) {
    let program = "requests that race with pushes";
    let _watchdog = Watchdog::new(program);
    let queue = Split::<u32>::with_capacity(64).expect("a power of two");
    let (stealer, meet) = (queue.stealer(), Barrier::new(2));
    let unanswered = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let (meet, unanswered) = (&meet, &unanswered);
        scope.spawn(move || {
            let mut rng = Rng::new(seed() + 1);
            for _ in 0..rounds {
                meet.wait();
                // Half of the time the thief steals until nothing is shared, so that a force has
                // something to do.
                let most = [rng.below(4), u32::MAX][rng.below(2) as usize];
                let _stolen = (0..most)
                    .take_while(|_| stealer.steal().is_success())
                    .count();
                if rng.below(4) > 0 {
                    let _: Steal<usize> = stealer.force();
                    (0..rng.below(2_000)).for_each(|_| std::hint::spin_loop());
                }
                while !stealer.steal().is_empty() {}
                meet.wait();
                // The two pushes.
                meet.wait();
                unanswered.fetch_add(u64::from(stealer.steal().is_empty()), Relaxed);
                meet.wait();
            }
        });
        let mut rng = Rng::new(seed());
        for _ in 0..rounds {
            (0..rng.below(3)).for_each(|number| queue.push(number).expect("room"));
            meet.wait();
            for number in 0..rng.below(8) {
                queue.push(number).expect("room");
                // A force is a system call. The pause lets it come between two pushes.
                (0..rng.below(1_000)).for_each(|_| std::hint::spin_loop());
            }
            meet.wait();
            (0..2).for_each(|number| queue.push(number).expect("room"));
            meet.wait();
            meet.wait();
            // From here on to the next meeting the thief is quiet. Pops change what is shared, and
            // empty the queue now and then. More often nothing is popped, and the queue stays as it
            // is.
            let pops = if queue.len() > 40 {
                64
            } else {
                rng.below(8).saturating_sub(4)
            };
            for _ in 0..pops {
                let _: Option<u32> = queue.pop();
            }
        }
    });
    let unanswered = unanswered.into_inner();
    assert_eq!(
        unanswered, 0,
        "{program}: of {rounds} so many were not answered"
    );
}

#[test]
fn a_request_that_races_with_a_push_is_answered_by_the_next() {
    races(scaled(8_000));
}

#[test]
#[ignore = "soak: hundreds of thousands of requests that race with pushes"]
fn soak_a_request_that_races_with_a_push_is_answered_by_the_next() {
    races(scaled(500_000));
}

#[test]
#[ignore = "soak: many more random programs of requests and forces"]
fn soak_requests_are_answered_and_forces_show_everything() {
    let programs = scaled(40_000);
    let test = "soak_requests_are_answered_and_forces_show_everything";
    search(
        test,
        programs,
        |_| true,
        |pair, call, owners| {
            answered(pair, call, owners)?;
            let hidden = pair.private();
            if call == Call::Force && hidden > 0 {
                return Err(format!("{hidden} hidden after a force"));
            }
            Ok(())
        },
    );
}
