//! Items whose destructors panic, or do work of their own, when a queue drops them with its last
//! handle.
//!
//! As in std's `Vec`, one destructor that panics does not keep the others from running. Two that
//! panic in one drop abort the process, as they do there.

use std::cell::Cell;
use std::sync::Arc;

use stealyard_deque::{NeverSteal, Slot, Stealer};

use crate::items::{AuditItem, Item, Ledger, Then, throws, with_reaction};
use crate::subjects::{Form, Subject, any_call, on_every_queue};

type Boxed = Box<Item>;

/// The handle that is dropped last, and the thread that drops it.
#[derive(Clone, Copy, Debug)]
enum Last {
    Owner,
    Thief,
    ThiefOnAnotherThread,
}

const LAST: [Last; 3] = [Last::Owner, Last::Thief, Last::ThiefOnAnotherThread];

/// Drops the handles of a queue, `last` at last. Returns whether that panicked with what a
/// destructor threw.
fn drop_handles<W: Subject>(queue: W, last: Last) -> bool {
    let stealer = queue.stealer();
    match last {
        Last::Owner => {
            drop(stealer);
            throws(|| drop(queue))
        }
        Last::Thief => {
            drop(queue);
            throws(|| drop(stealer))
        }
        Last::ThiefOnAnotherThread => {
            drop(queue);
            let other = std::thread::spawn(move || throws(|| drop(stealer)));
            other.join().expect("its panic was caught there")
        }
    }
}

/// Fills a queue with `count` items, of which the one at `which` does something. Some items are
/// popped and stolen first, so that claims are outstanding and positions are not at their start.
fn filled<W: Subject<Item = Boxed>>(
    form: &Form<W>,
    ledger: &Arc<Ledger>,
    count: usize,
    which: usize,
    then: Then,
) -> W {
    let queue = form.make();
    let stealer = queue.stealer();
    for turn in 0..7 {
        drop(queue.push(Boxed::make(ledger)));
        drop(queue.push(Boxed::make(ledger)));
        drop(queue.pop());
        if turn % 3 > 0 {
            drop(stealer.steal().success());
        }
    }
    while queue.len() > 1 {
        drop(queue.pop());
    }
    for number in 0..count {
        let then = if number == which { then } else { Then::Nothing };
        if let Err(back) = queue.push(Item::new(ledger, then)) {
            // There is no room for the item, so its panic reaches this caller and not the queue.
            assert!(throws(|| drop(back)) == (then == Then::Panics));
            break;
        }
    }
    queue
}

fn one_panics<W: Subject<Item = Boxed>>() {
    for form in W::forms() {
        for last in LAST {
            for (count, which) in [(1, 0), (2, 0), (2, 1), (9, 0), (9, 4), (9, 8), (200, 3)] {
                let program = format!(
                    "{}, item {which} of {count} panics, {last:?} last",
                    form.name
                );
                let ledger = Ledger::new(1_000);
                let queue = filled(&form, &ledger, count, which, Then::Panics);
                // The item may not have fitted.
                drop_handles(queue, last);
                ledger.close(&program);
            }
        }
    }
}

#[test]
fn a_panicking_destructor_does_not_stop_the_others() {
    on_every_queue!(Boxed, one_panics());
}

/// Drops the last handle while an item's destructor uses other queues, and handles that are older.
fn destructors_work<W: Subject<Item = Boxed>>() {
    thread_local! {
        static CALLS: Cell<u32> = const { Cell::new(0) };
    }
    for form in W::forms() {
        for last in [Last::Owner, Last::Thief] {
            let program = format!(
                "{}, whose items' destructors use others, {last:?} last",
                form.name
            );
            let ledger = Ledger::new(4_000);
            let (one, two, inner_ledger) = (form.make(), form.make(), Arc::clone(&ledger));
            CALLS.set(0);
            let react = move |_| {
                for _ in 0..8 {
                    let call = CALLS.get();
                    CALLS.set(call + 1);
                    any_call(&one, &two, &inner_ledger, call);
                }
            };
            with_reaction(react, || {
                for which in 0..9 {
                    let queue = filled(&form, &ledger, 9, which, Then::Reacts);
                    drop_handles(queue, last);
                }
            });
            assert!(CALLS.get() > 0, "{program}: no destructor was run");
            ledger.close(&program);
        }
    }
}

#[test]
fn destructors_may_use_queues_while_their_own_is_dropped() {
    on_every_queue!(Boxed, destructors_work());
}

#[test]
fn a_slot_drops_its_item_once_even_if_that_panics() {
    let ledger = Ledger::new(8);
    let slot = Slot::new();
    assert!(slot.put(Item::new(&ledger, Then::Panics)).is_none());
    assert!(throws(|| drop(slot)));
    // The displaced item is the caller's to drop.
    let slot = Slot::new();
    assert!(slot.put(Item::new(&ledger, Then::Panics)).is_none());
    let displaced = slot.put(Boxed::make(&ledger));
    assert!(throws(|| drop(displaced)));
    assert!(slot.steal_by(&NeverSteal, 0, 1).is_empty());
    assert!(!slot.is_empty());
    drop(slot);
    ledger.close("a slot");
}

#[test]
fn a_destructor_may_use_the_slot_that_held_its_item() {
    let ledger = Ledger::new(8);
    let slot = std::rc::Rc::new(Slot::new());
    let (inside, inner_ledger) = (std::rc::Rc::clone(&slot), Arc::clone(&ledger));
    let react = move |_| {
        if inner_ledger.has_room(2) {
            drop(inside.put(Item::new(&inner_ledger, Then::Reacts)));
            drop(inside.take());
        }
    };
    with_reaction(react, || {
        drop(slot.put(Item::new(&ledger, Then::Reacts)));
        drop(slot.put(Item::new(&ledger, Then::Reacts)));
        drop(slot.take());
    });
    drop(slot);
    ledger.close("a slot whose items use it");
}
