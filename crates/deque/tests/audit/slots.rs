//! The run-next slot: put, taken, and stolen under policies that are foreign code, and come back to the slot or
//! panic.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use stealyard_deque::{LastPass, NeverSteal, Slot, SlotPolicy};
use stealyard_sync::seed::Rng;

use crate::items::{
    Book, Item, Stop, Then, Thing, Watchdog, reacting, scaled, seed, throw, throws,
};

type Boxed = Box<Item>;

/// Grants at once, after it has called the slot itself, or panics.
struct Meddles<'slot> {
    slot: &'slot Slot<Boxed>,
    book: &'slot Arc<Book>,
    rng: RefCell<Rng>,
}

impl SlotPolicy for Meddles<'_> {
    fn grace(&self, _pass: u32, _passes: u32) -> Option<Duration> {
        let choice = self.rng.borrow_mut().below(8);
        match choice {
            0 => drop(self.slot.put(Boxed::make(self.book))),
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
    let book = Book::new(20_000);
    let slot = Slot::new();
    let meddles = Meddles {
        slot: &slot,
        book: &book,
        rng: RefCell::new(Rng::new(seed())),
    };
    for turn in 0..5_000 {
        drop(slot.put(Boxed::make(&book)));
        throws(|| drop(slot.steal_by(&meddles, turn % 3, 3).success()));
        assert!(slot.steal_by(&NeverSteal, 2, 3).is_empty());
    }
    drop(slot);
    book.close("a slot whose policy uses it");
}

/// One thread, against the one item that there should be; destructors come back to the slot.
#[test]
fn a_slot_holds_the_item_that_was_put_last() {
    let book = Book::new(50_000);
    let slot = Rc::new(Slot::<Boxed>::new());
    let (inside, inside_book) = (Rc::clone(&slot), Arc::clone(&book));
    // What the slot holds: known exactly, also while a destructor runs.
    let held = Rc::new(Cell::new(None));
    let held_inside = Rc::clone(&held);
    let rng = RefCell::new(Rng::new(seed()));
    let call = move |slot: &Slot<Boxed>, held: &Cell<Option<u32>>, book: &Arc<Book>| {
        let choice = rng.borrow_mut().below(5);
        let expected = held.get();
        assert_eq!(slot.is_empty(), expected.is_none());
        let out = match choice {
            0..=2 if book.has_room(1) => {
                let then = if choice == 0 {
                    Then::Reacts
                } else {
                    Then::Nothing
                };
                let item = Item::new(book, then);
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
        assert_eq!(out.as_ref().map(Thing::number), expected);
        drop(out);
    };
    let call = Rc::new(call);
    let call_inside = Rc::clone(&call);
    let react = move |_| call_inside(&inside, &held_inside, &inside_book);
    reacting(react, || {
        (0..20_000).for_each(|_| call(&slot, &held, &book))
    });
    drop(slot);
    book.close("a slot alone");
}

fn beside_thieves(thieves: u64, puts: u64) {
    let program = format!("a slot with {thieves} thieves");
    let _watchdog = Watchdog::new(&program);
    let book = Book::new(puts as u32 + 10);
    let (slot, stop) = (Slot::<Boxed>::new(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
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
            drop(slot.put(Boxed::make(&book)));
            if number % 3 == 0 {
                drop(slot.take());
            }
        }
    });
    drop(slot);
    book.close(&program);
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
