//! Items whose destructors panic, or do work of their own, where a queue drops them: with its last handle.
//!
//! As in std's `Vec`, one destructor that panics does not save the others from being run. Two that panic in one
//! drop abort the process, as they do there.

use std::cell::Cell;
use std::sync::Arc;

use stealyard_deque::{NeverSteal, Slot, Stealer};

use crate::items::{Book, Item, Then, Thing, reacting, throws};
use crate::subjects::{Form, Subject, any_call, on_every_queue};

type Boxed = Box<Item>;

/// Which handle goes last, and where.
#[derive(Clone, Copy, Debug)]
enum Last {
    Owner,
    Thief,
    ThiefOnAnotherThread,
}

const LAST: [Last; 3] = [Last::Owner, Last::Thief, Last::ThiefOnAnotherThread];

/// Drops the handles of a queue, `last` at last; whether that panicked with what a destructor threw.
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

/// Fills a queue with `count` items, of which the one at `which` does something; some are popped and stolen
/// first, so that claims are outstanding and positions are not at their start.
fn filled<W: Subject<Item = Boxed>>(
    form: &Form<W>,
    book: &Arc<Book>,
    count: usize,
    which: usize,
    then: Then,
) -> W {
    let queue = form.make();
    let stealer = queue.stealer();
    for turn in 0..7 {
        drop(queue.push(Boxed::make(book)));
        drop(queue.push(Boxed::make(book)));
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
        if let Err(back) = queue.push(Item::new(book, then)) {
            // No room for it: a panic is the queue's to see, not ours.
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
                let book = Book::new(1_000);
                let queue = filled(&form, &book, count, which, Then::Panics);
                // It may not have fitted.
                drop_handles(queue, last);
                book.close(&program);
            }
        }
    }
}

#[test]
fn one_destructor_that_panics_does_not_keep_the_others_from_being_run() {
    on_every_queue!(Boxed, one_panics());
}

/// The last handle goes while an item's destructor uses other queues, and handles that are older.
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
            let book = Book::new(4_000);
            let (one, two, inner_book) = (form.make(), form.make(), Arc::clone(&book));
            CALLS.set(0);
            let react = move |_| {
                for _ in 0..8 {
                    let call = CALLS.get();
                    CALLS.set(call + 1);
                    any_call(&one, &two, &inner_book, call);
                }
            };
            reacting(react, || {
                for which in 0..9 {
                    let queue = filled(&form, &book, 9, which, Then::Reacts);
                    drop_handles(queue, last);
                }
            });
            assert!(CALLS.get() > 0, "{program}: no destructor was run");
            book.close(&program);
        }
    }
}

#[test]
fn destructors_may_use_queues_while_their_own_goes() {
    on_every_queue!(Boxed, destructors_work());
}

#[test]
fn a_slot_drops_what_is_in_it_once_also_if_that_panics() {
    let book = Book::new(8);
    let slot = Slot::new();
    assert!(slot.put(Item::new(&book, Then::Panics)).is_none());
    assert!(throws(|| drop(slot)));
    // What is displaced is the caller's to drop.
    let slot = Slot::new();
    assert!(slot.put(Item::new(&book, Then::Panics)).is_none());
    let displaced = slot.put(Boxed::make(&book));
    assert!(throws(|| drop(displaced)));
    assert!(slot.steal_by(&NeverSteal, 0, 1).is_empty());
    assert!(!slot.is_empty());
    drop(slot);
    book.close("a slot");
}

#[test]
fn a_slot_may_be_used_by_the_destructor_of_what_was_in_it() {
    let book = Book::new(8);
    let slot = std::rc::Rc::new(Slot::new());
    let (inside, inner_book) = (std::rc::Rc::clone(&slot), Arc::clone(&book));
    let react = move |_| {
        if inner_book.has_room(2) {
            drop(inside.put(Item::new(&inner_book, Then::Reacts)));
            drop(inside.take());
        }
    };
    reacting(react, || {
        drop(slot.put(Item::new(&book, Then::Reacts)));
        drop(slot.put(Item::new(&book, Then::Reacts)));
        drop(slot.take());
    });
    drop(slot);
    book.close("a slot whose items use it");
}
