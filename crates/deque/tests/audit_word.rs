//! Goal: a word of a user that comes back to its queue, while it is made or turned back, breaks nothing (a part
//! of the audit: `audit/main.rs`). Method: an item whose `into_word` and `from_word` call everything that there is
//! on the very queue that called them, over every queue, alone and beside a thief; each item is found in the
//! book once. Here and not there because implementing [`Word`] takes `unsafe`; nothing else does.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "audit/items.rs"]
#[expect(dead_code, reason = "most of it is for the programs in safe code")]
mod items;
#[path = "audit/subjects.rs"]
#[expect(dead_code, reason = "most of it is for the programs in safe code")]
mod subjects;

use std::cell::Cell;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use stealyard_deque::{Steal, Stealer, Word};

use items::{Book, Item, Stop, Thing, Watchdog, react, reacting, scaled};
use subjects::{Subject, any_call, on_every_queue};

/// Calls what is set for its thread whenever it becomes a word, and whenever it is one no more.
struct Sly(Box<Item>);

thread_local! {
    /// Whether a call is being made for a word already: what that call moves stays quiet.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

fn call_back(number: u32) {
    if !BUSY.replace(true) {
        react(number);
        BUSY.set(false);
    }
}

// SAFETY: 1. the box is the whole value; 2. as a box's; 3. as a box's. What else they do is safe code.
unsafe impl Word for Sly {
    fn into_word(self) -> NonNull<()> {
        call_back(self.0.number());
        self.0.into_word()
    }

    unsafe fn from_word(word: NonNull<()>) -> Self {
        // SAFETY: 1. the word came from the box in `into_word`; 2. it is turned back once.
        let item = unsafe { Box::from_word(word) };
        call_back(Thing::number(&item));
        Self(item)
    }
}

impl Thing for Sly {
    const KIND: &'static str = "sly";

    fn make(book: &Arc<Book>) -> Self {
        Self(Box::make(book))
    }

    fn number(&self) -> u32 {
        Thing::number(&self.0)
    }

    fn settle(self, _: &Book) {}
}

/// Every call, in an order in which queues fill and empty, with `inside` more of them at each word.
fn calls_inside<W: Subject<Item = Sly>>(turns: u64, thieves: usize) {
    for form in W::forms() {
        for inside in [1, 2, 5] {
            let program = format!("{}, {inside} calls inside, {thieves} thieves", form.name);
            let _watchdog = Watchdog::new(&program);
            let book = Book::new(turns as u32 * 40 + 10_000);
            let (queue, other) = (Rc::new(form.make()), Rc::new(form.make()));
            let stealers: Vec<_> = (0..thieves)
                .map(|_| (queue.stealer(), form.make()))
                .collect();
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let _stop = Stop(&stop);
                for (stealer, own) in stealers {
                    let stop = &stop;
                    scope.spawn(move || {
                        while !stop.load(Relaxed) {
                            drop(stealer.steal().success());
                            let _: Steal<usize> = stealer.steal_batch(&own, 4);
                            while own.pop().is_some() {}
                        }
                    });
                }
                drive(&queue, &other, &book, turns, inside);
            });
            drop((queue, other));
            book.close(&program);
        }
    }
}

fn drive<W: Subject<Item = Sly>>(
    queue: &Rc<W>,
    other: &Rc<W>,
    book: &Arc<Book>,
    turns: u64,
    inside: u32,
) {
    let calls = Rc::new(Cell::new(0_u32));
    let next = |calls: &Cell<u32>, of: u32| {
        let call = calls.get();
        calls.set(call.wrapping_mul(5).wrapping_add(of));
        call >> 3
    };
    let (queue_inside, other_inside, book_inside) =
        (Rc::clone(queue), Rc::clone(other), Arc::clone(book));
    let calls_inside = Rc::clone(&calls);
    let react = move |_| {
        for _ in 0..inside {
            let call = next(&calls_inside, 3);
            if book_inside.has_room(1) {
                any_call(&*queue_inside, &*other_inside, &book_inside, call);
            }
        }
    };
    reacting(react, || {
        for turn in 0..turns {
            // Twice as many pushes as anything else for a while, then pops.
            let call = match turn % 64 {
                0..=39 => [0, 1, next(&calls, 1)][(turn % 3) as usize],
                _ => [2, 3, next(&calls, 1)][(turn % 3) as usize],
            };
            if book.has_room(1) {
                any_call(&**queue, &**other, book, call);
            }
        }
    });
}

#[test]
fn words_that_come_back_to_their_queue_break_nothing() {
    on_every_queue!(Sly, calls_inside(scaled(400), 0));
}

#[test]
fn words_that_come_back_to_their_queue_beside_a_thief_break_nothing() {
    on_every_queue!(Sly, calls_inside(scaled(400), 1));
}

/// Every word inside a batch that overflows fills the queue again, whose slots the batch has just left.
fn overflow_refills<W: Subject<Item = Sly>>() {
    for form in W::forms() {
        let program = format!("{}, refilled while its overflow is turned back", form.name);
        let book = Book::new(20_000);
        let queue = Rc::new(form.make());
        let (inside, inside_book) = (Rc::clone(&queue), Arc::clone(&book));
        let refill = move |_| {
            while inside_book.has_room(600) && inside.capacity().is_some() {
                if inside.push(Sly::make(&inside_book)).is_err() {
                    break;
                }
            }
        };
        reacting(refill, || {
            for _ in 0..20 {
                queue.push_or_overflow(Sly::make(&book), drop);
            }
        });
        drop(queue);
        book.close(&program);
    }
}

#[test]
fn a_queue_refilled_while_its_overflow_is_turned_back_is_whole() {
    on_every_queue!(Sly, overflow_refills());
}

#[test]
#[ignore = "soak: many more calls inside of words"]
fn soak_words_that_come_back_to_their_queue_break_nothing() {
    on_every_queue!(Sly, calls_inside(scaled(40_000), 0));
    on_every_queue!(Sly, calls_inside(scaled(40_000), 2));
}
