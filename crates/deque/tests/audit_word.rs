//! Goal: a word of a user that uses its queue, while it is made or turned back, breaks nothing (a
//! part of the audit: `audit/main.rs`). Method: an item whose `into_word` and `from_word` make
//! every call that there is on the very queue that called them, over every queue, alone and beside
//! a thief. Each item ends once in the ledger. This is a file of its own because implementing
//! [`Word`] takes `unsafe`; nothing else in the audit does.
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

use items::{AuditItem, Item, Ledger, StopOnDrop, Watchdog, react, scaled, with_reaction};
use subjects::{Subject, any_call, on_every_queue};

/// An item that runs its thread's reaction whenever it becomes a word, and whenever it is turned
/// back.
struct ReentrantWord(Box<Item>);

thread_local! {
    /// Whether a word is running a reaction already. The items that the reaction moves stay quiet.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

fn call_back(number: u32) {
    if !BUSY.replace(true) {
        react(number);
        BUSY.set(false);
    }
}

// SAFETY:
// 1. The box is the whole value.
// 2. As for `Box`.
// 3. As for `Box`. What else the functions do is safe code.
unsafe impl Word for ReentrantWord {
    fn into_word(self) -> NonNull<()> {
        call_back(self.0.number());
        self.0.into_word()
    }

    unsafe fn from_word(word: NonNull<()>) -> Self {
        // SAFETY: 1. the word came from the box in `into_word`; 2. it is turned back once.
        let item = unsafe { Box::from_word(word) };
        call_back(AuditItem::number(&item));
        Self(item)
    }
}

impl AuditItem for ReentrantWord {
    const KIND: &'static str = "sly";

    fn make(ledger: &Arc<Ledger>) -> Self {
        Self(Box::make(ledger))
    }

    fn number(&self) -> u32 {
        AuditItem::number(&self.0)
    }

    fn settle(self, _: &Ledger) {}
}

/// Makes every call, in an order in which queues fill and empty, with `inside` more of them at each
/// word.
fn calls_inside<W: Subject<Item = ReentrantWord>>(turns: u64, thieves: usize) {
    for form in W::forms() {
        for inside in [1, 2, 5] {
            let program = format!("{}, {inside} calls inside, {thieves} thieves", form.name);
            let _watchdog = Watchdog::new(&program);
            let ledger = Ledger::new(turns as u32 * 40 + 10_000);
            let (queue, other) = (Rc::new(form.make()), Rc::new(form.make()));
            let stealers: Vec<_> = (0..thieves)
                .map(|_| (queue.stealer(), form.make()))
                .collect();
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let _stop = StopOnDrop(&stop);
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
                drive(&queue, &other, &ledger, turns, inside);
            });
            drop((queue, other));
            ledger.close(&program);
        }
    }
}

fn drive<W: Subject<Item = ReentrantWord>>(
    queue: &Rc<W>,
    other: &Rc<W>,
    ledger: &Arc<Ledger>,
    turns: u64,
    inside: u32,
) {
    let calls = Rc::new(Cell::new(0_u32));
    let next = |calls: &Cell<u32>, of: u32| {
        let call = calls.get();
        calls.set(call.wrapping_mul(5).wrapping_add(of));
        call >> 3
    };
    let (inner_queue, inner_other, inner_ledger) =
        (Rc::clone(queue), Rc::clone(other), Arc::clone(ledger));
    let calls_inside = Rc::clone(&calls);
    let react = move |_| {
        for _ in 0..inside {
            let call = next(&calls_inside, 3);
            if inner_ledger.has_room(1) {
                any_call(&*inner_queue, &*inner_other, &inner_ledger, call);
            }
        }
    };
    with_reaction(react, || {
        for turn in 0..turns {
            // For a while there are twice as many pushes as other calls, then pops.
            let call = match turn % 64 {
                0..=39 => [0, 1, next(&calls, 1)][(turn % 3) as usize],
                _ => [2, 3, next(&calls, 1)][(turn % 3) as usize],
            };
            if ledger.has_room(1) {
                any_call(&**queue, &**other, ledger, call);
            }
        }
    });
}

#[test]
fn reentrant_words_break_nothing() {
    on_every_queue!(ReentrantWord, calls_inside(scaled(400), 0));
}

#[test]
fn reentrant_words_beside_a_thief_break_nothing() {
    on_every_queue!(ReentrantWord, calls_inside(scaled(400), 1));
}

/// Lets every word inside a batch that overflows fill the queue again, whose slots the batch has
/// just left.
fn overflow_refills<W: Subject<Item = ReentrantWord>>() {
    for form in W::forms() {
        let program = format!("{}, refilled while its overflow is turned back", form.name);
        let ledger = Ledger::new(20_000);
        let queue = Rc::new(form.make());
        let (inside, inner_ledger) = (Rc::clone(&queue), Arc::clone(&ledger));
        let refill = move |_| {
            while inner_ledger.has_room(600) && inside.capacity().is_some() {
                if inside.push(ReentrantWord::make(&inner_ledger)).is_err() {
                    break;
                }
            }
        };
        with_reaction(refill, || {
            for _ in 0..20 {
                queue.push_or_overflow(ReentrantWord::make(&ledger), drop);
            }
        });
        drop(queue);
        ledger.close(&program);
    }
}

#[test]
fn a_queue_refilled_during_its_overflow_stays_whole() {
    on_every_queue!(ReentrantWord, overflow_refills());
}

#[test]
#[ignore = "soak: many more calls inside of words"]
fn soak_reentrant_words_break_nothing() {
    on_every_queue!(ReentrantWord, calls_inside(scaled(40_000), 0));
    on_every_queue!(ReentrantWord, calls_inside(scaled(40_000), 2));
}
