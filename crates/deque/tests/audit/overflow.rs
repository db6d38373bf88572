//! Limits and small capacities: the owner pushes with overflow while thieves empty the queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use stealyard_deque::{Ring, Split, Steal, Stealer};
use stealyard_sync::seed::Rng;

use crate::items::{AuditItem, Item, Ledger, StopOnDrop, Watchdog, scaled, seed};
use crate::subjects::{FirstIn, Form, LastIn, Subject};

/// How thieves steal.
#[derive(Clone, Copy, Debug)]
enum Steals {
    /// One item at a time.
    Singly,
    /// Every call that there is, in turn.
    AnyHow,
}

/// Runs the owner: nearly all of its calls are pushes with overflow.
fn run_owner<W: Subject>(queue: &W, ledger: &Arc<Ledger>, pushes: u32, rng: &mut Rng) {
    for _ in 0..pushes {
        queue.push_or_overflow(W::Item::make(ledger), |item| item.settle(ledger));
        match rng.below(64) {
            0 => drop(
                queue
                    .push(W::Item::make(ledger))
                    .map_err(|back| back.settle(ledger)),
            ),
            1 => drop(queue.pop().map(|item| item.settle(ledger))),
            _ => {}
        }
    }
}

fn run_thief<W: Subject>(
    victim: &W::Stealer,
    own: &W,
    ledger: &Ledger,
    steals: Steals,
    rng: &mut Rng,
) {
    let limit = [1, 2, 3, usize::MAX][rng.below(4) as usize];
    let call = match steals {
        Steals::Singly => 0,
        Steals::AnyHow => rng.below(4),
    };
    let stolen = match call {
        0 => victim.steal().success(),
        1 => {
            let _: Steal<usize> = victim.steal_batch(own, limit);
            None
        }
        2 => victim.steal_batch_and_pop(own, limit).success(),
        _ => victim.force_steal(own, limit).success(),
    };
    let rest = std::iter::from_fn(|| own.pop());
    stolen
        .into_iter()
        .chain(rest)
        .for_each(|item| item.settle(ledger));
}

fn beside_thieves<W: Subject>(form: &Form<W>, thieves: u64, steals: Steals, pushes: u32) {
    let program = format!("{}, {thieves} thieves that steal {steals:?}", form.name);
    let _watchdog = Watchdog::new(&program);
    // One push in 64 comes on top, and is counted generously.
    let ledger = Ledger::new(pushes + pushes / 8 + 64);
    let (queue, stop) = (form.make(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for thief in 0..thieves {
            let (victim, own, ledger, stop) = (queue.stealer(), form.make(), &ledger, &stop);
            let mut rng = Rng::new(seed() + thief + 1);
            scope.spawn(move || {
                while !stop.load(Relaxed) {
                    run_thief(&victim, &own, ledger, steals, &mut rng);
                }
            });
        }
        let _stop = StopOnDrop(&stop);
        run_owner(&queue, &ledger, pushes, &mut Rng::new(seed()));
        while let Some(item) = queue.pop() {
            item.settle(&ledger);
        }
    });
    while let Some(item) = queue.pop() {
        item.settle(&ledger);
    }
    drop(queue);
    ledger.close(&program);
}

/// Runs every form, with one thief and with three, with single steals and with all.
fn on_every_form<W: Subject>(pushes: u64) {
    for form in W::forms() {
        for (thieves, steals) in [
            (1, Steals::Singly),
            (3, Steals::Singly),
            (1, Steals::AnyHow),
            (3, Steals::AnyHow),
        ] {
            beside_thieves(&form, thieves, steals, pushes as u32);
        }
    }
}

/// Runs the first forms, which have the limits at which a mistake shows soonest.
fn at_small_limits<W: Subject>(pushes: u64) {
    for form in W::forms().iter().take(3) {
        beside_thieves(form, 1, Steals::Singly, pushes as u32);
        beside_thieves(form, 3, Steals::Singly, pushes as u32);
    }
}

#[test]
fn a_limited_queue_hands_out_each_item_once_last_in_first_out() {
    at_small_limits::<LastIn<u32>>(scaled(100_000));
    on_every_form::<LastIn<u32>>(scaled(2_000));
    on_every_form::<LastIn<Box<Item>>>(scaled(2_000));
}

#[test]
fn a_limited_queue_hands_out_each_item_once_first_in_first_out() {
    at_small_limits::<FirstIn<u32>>(scaled(100_000));
    on_every_form::<FirstIn<u32>>(scaled(2_000));
    on_every_form::<FirstIn<Box<Item>>>(scaled(2_000));
}

#[test]
fn a_small_ring_hands_out_each_item_once() {
    on_every_form::<Ring<u32>>(scaled(4_000));
    on_every_form::<Ring<Box<Item>>>(scaled(4_000));
}

#[test]
fn a_small_split_hands_out_each_item_once() {
    on_every_form::<Split<u32>>(scaled(4_000));
    on_every_form::<Split<Box<Item>>>(scaled(4_000));
}

#[test]
#[ignore = "soak: millions of pushes with overflow at every limit"]
fn soak_limited_queues_hand_out_each_item_once() {
    at_small_limits::<LastIn<u32>>(scaled(5_000_000));
    at_small_limits::<FirstIn<u32>>(scaled(5_000_000));
    at_small_limits::<LastIn<Box<Item>>>(scaled(2_000_000));
    at_small_limits::<FirstIn<Box<Item>>>(scaled(2_000_000));
    on_every_form::<LastIn<u32>>(scaled(100_000));
    on_every_form::<FirstIn<u32>>(scaled(100_000));
    on_every_form::<LastIn<Box<Item>>>(scaled(100_000));
    on_every_form::<FirstIn<Box<Item>>>(scaled(100_000));
}

#[test]
#[ignore = "soak: hundreds of thousands of pushes with overflow at every capacity"]
fn soak_small_queues_hand_out_each_item_once() {
    on_every_form::<Ring<u32>>(scaled(200_000));
    on_every_form::<Ring<Box<Item>>>(scaled(200_000));
    on_every_form::<Split<u32>>(scaled(200_000));
    on_every_form::<Split<Box<Item>>>(scaled(200_000));
}
