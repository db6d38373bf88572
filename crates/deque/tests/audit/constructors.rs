//! The constructors that the documentation hides, with wrong arguments. Each argument is either
//! rejected by a panic that names what is wrong, in release builds too, or makes a queue that
//! works. There is nothing random here.

use std::panic::{AssertUnwindSafe, catch_unwind};

use stealyard_deque::{ChaseLev, Fifo, Lifo, Ring, Split, Worker};

use crate::items::{Item, Ledger, panic_message};
use crate::subjects::Subject;

/// Makes a queue with `make`, then fills, overflows, steals and empties it, unless `make` panics.
///
/// # Panics
/// If an item is lost or doubled, or if the panic of `make` does not contain one of `reasons`.
fn rejected_or_works<W>(what: &str, reasons: &[&str], make: impl FnOnce() -> W)
where
    W: Subject<Item = Box<Item>>,
{
    let queue = match catch_unwind(AssertUnwindSafe(make)) {
        Ok(queue) => queue,
        Err(payload) => {
            let text = panic_message(&*payload);
            let clear = reasons.iter().all(|reason| text.contains(reason));
            assert!(
                clear,
                "{what} panics with {text:?}, which should name {reasons:?}"
            );
            return;
        }
    };
    exercise(what, queue);
}

/// Makes more calls than there are slots, so that every position is used again, and more than once.
fn exercise<W: Subject<Item = Box<Item>>>(what: &str, queue: W) {
    use stealyard_deque::Stealer;
    let ledger = Ledger::new(4_000);
    let (stealer, other) = (queue.stealer(), W::forms()[0].make());
    for turn in 0..600 {
        if let Err(back) = queue.push(Item::new(&ledger, crate::items::Then::Nothing)) {
            drop(back);
        }
        queue.push_or_overflow(Item::new(&ledger, crate::items::Then::Nothing), drop);
        match turn % 5 {
            0 => drop(queue.pop()),
            1 => drop(stealer.steal().success()),
            2 => drop(stealer.steal_batch(&other, 3).success()),
            3 => drop(stealer.force_steal(&other, 7).success()),
            _ => {}
        }
        while other.pop().is_some() {}
    }
    drop((queue, stealer, other));
    ledger.close(what);
}

/// Capacities that no queue can have, and those that only some can.
const CAPACITIES: [usize; 9] = [0, 1, 2, 3, 5, 6, 7, 12, 100];

/// Positions at the edges of their width, and of the narrower fields in which they are packed.
const POSITIONS: [u64; 12] = [
    0,
    1,
    2,
    (1 << 15) - 1,
    (1 << 16) - 1,
    1 << 16,
    (1 << 55) - 3,
    1 << 63,
    u64::MAX - 300,
    u64::MAX - 2,
    u64::MAX - 1,
    u64::MAX,
];

#[test]
fn capacities_that_are_no_powers_of_two_are_rejected() {
    for capacity in CAPACITIES {
        let number = capacity.to_string();
        let reasons = ["power of two", &number];
        rejected_or_works(
            &format!("Ring::starting_at({capacity}, 0)"),
            &reasons,
            || Ring::starting_at(capacity, 0),
        );
        rejected_or_works(
            &format!("Split::starting_at({capacity}, 0, 1)"),
            &reasons,
            || Split::starting_at(capacity, 0, 1),
        );
        rejected_or_works(
            &format!("ChaseLev::starting_at({capacity}, 0), LIFO"),
            &reasons,
            || ChaseLev::<_, Lifo>::starting_at(capacity, 0),
        );
        rejected_or_works(
            &format!("ChaseLev::starting_at({capacity}, 0), FIFO"),
            &reasons,
            || ChaseLev::<_, Fifo>::starting_at(capacity, 0),
        );
    }
}

#[test]
fn capacities_beyond_the_greatest_are_rejected() {
    for capacity in [1 << 16, 1 << 17, usize::MAX / 2 + 1, usize::MAX] {
        let number = capacity.to_string();
        rejected_or_works(
            &format!("Split::starting_at({capacity}, 0, 1)"),
            &["power of two", &number],
            || Split::starting_at(capacity, 0, 1),
        );
    }
    // Sizes between the greatest one and these would be memory that a wrong constructor really
    // takes.
    for capacity in [usize::MAX / 2 + 1, usize::MAX] {
        let number = capacity.to_string();
        rejected_or_works(
            &format!("Ring::starting_at({capacity}, 0)"),
            &["power of two", &number],
            || Ring::starting_at(capacity, 0),
        );
    }
}

#[test]
fn the_usual_constructors_reject_the_same_capacities() {
    for capacity in CAPACITIES.into_iter().chain([1 << 16, usize::MAX]) {
        let right = capacity.is_power_of_two() && (2..=1 << 15).contains(&capacity);
        assert_eq!(
            Split::<u32>::with_capacity(capacity).is_ok(),
            right,
            "{capacity}"
        );
    }
    for capacity in CAPACITIES
        .into_iter()
        .chain([(1 << 30) + 1, 1 << 31, usize::MAX])
    {
        let right = capacity.is_power_of_two() && (2..=1 << 30).contains(&capacity);
        assert_eq!(
            Ring::<u32>::with_capacity(capacity).is_ok(),
            right,
            "{capacity}"
        );
    }
}

/// Each queue that is made is used for `turns` calls, so that positions wrap on the way.
#[test]
fn positions_at_every_edge_are_rejected_or_work() {
    for position in POSITIONS {
        for capacity in [2, 16] {
            rejected_or_works(
                &format!("Split::starting_at({capacity}, 0, {position})"),
                &["position"],
                || Split::starting_at(capacity, 0, position),
            );
            rejected_or_works(
                &format!("Split::starting_at({capacity}, u32::MAX, {position})"),
                &["position"],
                || Split::starting_at(capacity, u32::MAX, position),
            );
            rejected_or_works(
                &format!("Ring::starting_at({capacity}, {position})"),
                &["position"],
                || Ring::starting_at(capacity, position),
            );
            rejected_or_works(
                &format!("ChaseLev::starting_at({capacity}, {position}), LIFO"),
                &["position"],
                || ChaseLev::<_, Lifo>::starting_at(capacity, position),
            );
            rejected_or_works(
                &format!("ChaseLev::starting_at({capacity}, {position}), FIFO"),
                &["position"],
                || ChaseLev::<_, Fifo>::starting_at(capacity, position),
            );
        }
    }
}

/// Arguments that a user can give: any number.
#[test]
fn limits_and_claims_of_any_size_work() {
    for size in [0, 1, 2, 3, usize::MAX - 1, usize::MAX] {
        exercise(
            "ChaseLev with a limit, LIFO",
            ChaseLev::lifo().with_limit(size),
        );
        exercise(
            "ChaseLev with a limit, FIFO",
            ChaseLev::fifo().with_limit(size),
        );
        exercise("Ring with claims", Ring::new().claiming(size));
        let small = Ring::with_capacity(2).expect("a power of two");
        exercise("small Ring with claims", small.claiming(size));
    }
}

/// A limit that is lifted, and one that is set below the number of items.
#[test]
fn a_limit_can_be_changed_at_any_time() {
    let ledger = Ledger::new(64);
    let item = || Item::new(&ledger, crate::items::Then::Nothing);
    let mut queue = ChaseLev::<Box<Item>, Fifo>::default();
    for limit in [8, 2, usize::MAX, 1, 4] {
        queue = queue.with_limit(limit);
        for _ in 0..6 {
            drop(queue.push(item()));
            queue.push_or_overflow(item(), drop);
        }
        assert!(
            queue.len() <= limit.max(12),
            "{} with a limit of {limit}",
            queue.len()
        );
        drop(queue.pop());
    }
    assert_eq!(Worker::capacity(&queue), Some(4));
    drop(queue);
    ledger.close("a limit that changes");
}
