//! The run-next slot: put, taken, and stolen under policies that are foreign code, and that use the
//! slot or panic.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use stealyard_deque::{LastPass, NeverSteal, Slot, SlotPolicy};
use stealyard_sync::seed::Rng;

use crate::items::{
    AuditItem, Item, Ledger, StopOnDrop, Then, Watchdog, scaled, seed, throw, throws, with_reaction,
};

type Boxed = Box<Item>;

/// A policy that allows a steal at once, after it has used the slot itself, or panics.
struct MeddlingPolicy<'slot> {
    slot: &'slot Slot<Boxed>,
    ledger: &'slot Arc<Ledger>,
    rng: RefCell<Rng>,
}

impl SlotPolicy for MeddlingPolicy<'_> {
    fn grace(&self, _pass: u32, _passes: u32) -> Option<Duration> {
        let choice = self.rng.borrow_mut().below(8);
        match choice {
            0 => drop(self.slot.put(Boxed::make(self.ledger))),
            1 => drop(self.slot.take()),
            2 => drop(self.slot.steal()),
            3 => drop(
                self.slot
                    .steal_by(
                        &LastPass {
                            grace: Duration::ZERO,
                        },
                        0,
                        1,
                    )
                    .success(),
            ),
            4 => throw(),
            5 => return None,
            _ => {}
        }
        Some(Duration::from_nanos(u64::from(choice)))
    }
}

#[test]
fn a_policy_may_use_the_slot_and_panic() {
    let ledger = Ledger::new(20_000);
    let slot = Slot::new();
    let meddles = MeddlingPolicy {
        slot: &slot,
        ledger: &ledger,
        rng: RefCell::new(Rng::new(seed())),
    };
    for turn in 0..5_000 {
        drop(slot.put(Boxed::make(&ledger)));
        throws(|| drop(slot.steal_by(&meddles, turn % 3, 3).success()));
        assert!(slot.steal_by(&NeverSteal, 2, 3).is_empty());
    }
    drop(slot);
    ledger.close("a slot whose policy uses it");
}

/// One thread, compared with the one item that the slot should hold. Destructors use the slot.
#[test]
fn a_slot_holds_the_item_put_last() {
    let ledger = Ledger::new(50_000);
    let slot = Rc::new(Slot::<Boxed>::new());
    let (inside, inner_ledger) = (Rc::clone(&slot), Arc::clone(&ledger));
    // The item that the slot holds, known exactly, also while a destructor runs.
    let held = Rc::new(Cell::new(None));
    let held_inside = Rc::clone(&held);
    let rng = RefCell::new(Rng::new(seed()));
    let call = move |slot: &Slot<Boxed>, held: &Cell<Option<u32>>, ledger: &Arc<Ledger>| {
        let choice = rng.borrow_mut().below(5);
        let expected = held.get();
        assert_eq!(slot.is_empty(), expected.is_none());
        let out = match choice {
            0..=2 if ledger.has_room(1) => {
                let then = if choice == 0 {
                    Then::Reacts
                } else {
                    Then::Nothing
                };
                let item = Item::new(ledger, then);
                held.set(Some(item.number()));
                slot.put(item)
            }
            3 => {
                held.set(None);
                slot.take()
            }
            _ => {
                held.set(None);
                slot.steal_by(
                    &LastPass {
                        grace: Duration::ZERO,
                    },
                    0,
                    1,
                )
                .success()
            }
        };
        assert_eq!(out.as_ref().map(AuditItem::number), expected);
        drop(out);
    };
    let call = Rc::new(call);
    let call_inside = Rc::clone(&call);
    let react = move |_| call_inside(&inside, &held_inside, &inner_ledger);
    with_reaction(react, || {
        (0..20_000).for_each(|_| call(&slot, &held, &ledger))
    });
    drop(slot);
    ledger.close("a slot alone");
}

fn beside_thieves(thieves: u64, puts: u64) {
    let program = format!("a slot with {thieves} thieves");
    let _watchdog = Watchdog::new(&program);
    let ledger = Ledger::new(puts as u32 + 10);
    let (slot, stop) = (Slot::<Boxed>::new(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        for thief in 0..thieves {
            let (slot, stop) = (&slot, &stop);
            let mut rng = Rng::new(seed() + thief + 1);
            scope.spawn(move || {
                while !stop.load(Relaxed) {
                    let patient = LastPass {
                        grace: Duration::from_nanos(u64::from(rng.below(2_000))),
                    };
                    match rng.below(3) {
                        0 => drop(slot.steal()),
                        1 => drop(slot.steal_by(&patient, 0, 1).success()),
                        _ => assert!(slot.steal_by(&patient, 0, 2).is_empty()),
                    }
                }
            });
        }
        for number in 0..puts {
            drop(slot.put(Boxed::make(&ledger)));
            if number % 3 == 0 {
                drop(slot.take());
            }
        }
    });
    drop(slot);
    ledger.close(&program);
}

#[test]
fn a_slot_beside_thieves_hands_out_each_item_once() {
    beside_thieves(1, scaled(30_000));
    beside_thieves(3, scaled(30_000));
}

#[test]
#[ignore = "soak: millions of items through a slot beside thieves"]
fn soak_a_slot_beside_thieves_hands_out_each_item_once() {
    beside_thieves(1, scaled(3_000_000));
    beside_thieves(3, scaled(3_000_000));
}
