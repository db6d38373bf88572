//! Overflow sinks that panic, or use the queue that overflows. By then the batch has left the
//! queue, which is as whole as between two calls.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use crate::items::{AuditItem, Item, Ledger, Then, Watchdog, throw, throws, with_reaction};
use crate::subjects::{Form, Subject, any_call, on_every_queue};

type Boxed = Box<Item>;

/// Pushes until an item is refused, and returns that item: then the queue is full. Returns `None`
/// if it never is.
fn fill<W: Subject<Item = Boxed>>(queue: &W, ledger: &Arc<Ledger>) -> Option<Boxed> {
    let capacity = queue.capacity()?;
    (0..=capacity).find_map(|_| queue.push(Boxed::make(ledger)).err())
}

/// Returns the forms that can overflow.
fn limited<W: Subject<Item = Boxed>>() -> Vec<Form<W>> {
    let mut forms = W::forms();
    forms.retain(|form| form.make().capacity().is_some());
    forms
}

/// Checks that a queue that was just used takes, returns and loses nothing.
fn still_works<W: Subject<Item = Boxed>>(program: &str, queue: W, ledger: &Arc<Ledger>) {
    let capacity = queue.capacity().unwrap_or(10);
    while queue.pop().is_some() {}
    assert_eq!(queue.len(), 0, "{program}");
    for _ in 0..3 {
        for count in 1..=capacity {
            let refused = queue.push(Boxed::make(ledger)).is_err();
            assert!(!refused, "{program}: {count} of {capacity} are refused");
        }
        let one = queue.pop();
        assert_eq!(one.is_some(), capacity > 0, "{program}");
        while queue.pop().is_some() {}
    }
    drop(queue);
    ledger.close(program);
}

/// Lets the sink panic with the `at`th item. That item and the rest of the batch are dropped; what
/// stays in the queue stays.
fn panics_at<W: Subject<Item = Boxed>>(form: &Form<W>, at: usize) {
    let program = format!("{}, whose sink panics at item {at}", form.name);
    let ledger = Ledger::new(4_000);
    let queue = form.make();
    drop(fill(&queue, &ledger));
    let before = queue.len();
    let (calls, last) = (Cell::new(0), Boxed::make(&ledger));
    let number = last.number();
    let thrown = throws(|| {
        queue.push_or_overflow(last, |_| {
            if calls.get() == at {
                throw();
            }
            calls.set(calls.get() + 1);
        });
    });
    assert_eq!(
        ledger.times_gone(number),
        1,
        "{program}: the new item left with the batch"
    );
    assert!(thrown || calls.get() <= at, "{program}: nothing was thrown");
    assert!(
        queue.len() < before || before <= 1,
        "{program}: {} of {before}",
        queue.len()
    );
    still_works(&program, queue, &ledger);
}

fn panics<W: Subject<Item = Boxed>>() {
    for form in limited::<W>() {
        let half = form.make().capacity().unwrap_or(0) / 2;
        for at in [0, 1, 2, half.saturating_sub(1), half, half + 1] {
            panics_at(&form, at);
        }
    }
}

#[test]
fn a_panicking_sink_loses_the_rest_of_its_batch_only() {
    on_every_queue!(Boxed, panics());
}

/// Lets the items that are dropped because a sink panicked use the queue with every call there is.
fn dropped_rest_reacts<W: Subject<Item = Boxed>>() {
    thread_local! {
        static CALLS: Cell<u32> = const { Cell::new(0) };
    }
    for form in limited::<W>() {
        let program = format!("{}, whose dropped overflow uses it", form.name);
        let ledger = Ledger::new(20_000);
        let queue = Rc::new(form.make());
        let (inside, inner_ledger) = (Rc::clone(&queue), Arc::clone(&ledger));
        let other = form.make();
        CALLS.set(0);
        let react = move |_| {
            let call = CALLS.get();
            CALLS.set(call + 1);
            any_call(&*inside, &other, &inner_ledger, call);
        };
        with_reaction(react, || {
            for at in 0..4 {
                while queue.push(Item::new(&ledger, Then::Reacts)).is_ok() {}
                let calls = Cell::new(0);
                throws(|| {
                    queue.push_or_overflow(Item::new(&ledger, Then::Reacts), |item| {
                        if calls.get() == at {
                            throw();
                        }
                        calls.set(calls.get() + 1);
                        drop(item);
                    });
                });
            }
        });
        assert!(CALLS.get() > 0, "{program}: no destructor was run");
        let queue = Rc::into_inner(queue).expect("the reaction is gone");
        still_works(&program, queue, &ledger);
    }
}

#[test]
fn items_dropped_after_a_sink_panicked_may_use_the_queue() {
    on_every_queue!(Boxed, dropped_rest_reacts());
}

/// Overflows from inside the overflow, `depth` deep, with a few other calls on the way.
fn nest<W: Subject<Item = Boxed>>(
    queue: &W,
    other: &W,
    ledger: &Arc<Ledger>,
    depth: u32,
    stealers: &Cell<Option<W::Stealer>>,
) {
    let first = Cell::new(true);
    queue.push_or_overflow(Boxed::make(ledger), |item| {
        if !first.replace(false) || depth == 0 {
            // The item goes back where it came from, if there is room by now.
            drop(queue.push(item));
            return;
        }
        drop(stealers.take());
        any_call(queue, other, ledger, depth + 3);
        stealers.set(Some(queue.stealer()));
        while let Err(back) = queue.push(Boxed::make(ledger)) {
            drop(back);
            nest(queue, other, ledger, depth - 1, stealers);
            if depth.is_multiple_of(2) {
                break;
            }
            drop(queue.pop());
        }
        any_call(queue, other, ledger, depth);
        drop(item);
    });
}

fn nested_sinks<W: Subject<Item = Boxed>>() {
    for form in limited::<W>() {
        let program = format!("{}, whose sink overflows again", form.name);
        let _watchdog = Watchdog::new(&program);
        let ledger = Ledger::new(200_000);
        let (queue, other) = (form.make(), form.make());
        let stealers = Cell::new(Some(queue.stealer()));
        for depth in [0, 1, 2, 3, 5, 8] {
            for _ in 0..8 {
                drop(fill(&queue, &ledger));
                nest(&queue, &other, &ledger, depth, &stealers);
            }
        }
        drop((other, stealers));
        still_works(&program, queue, &ledger);
    }
}

#[test]
fn a_sink_may_use_the_queue_as_its_owner_may() {
    on_every_queue!(Boxed, nested_sinks());
}

/// Checks that a batch of the oldest items and the new item overflow, whatever the sink does
/// meanwhile.
fn batch_is_whole<W: Subject<Item = Boxed>>() {
    for form in limited::<W>() {
        let ledger = Ledger::new(10_000);
        let queue = form.make();
        let mut before = Vec::new();
        while let Ok(number) = push_one(&queue, &ledger) {
            before.push(number);
        }
        let (mut seen, last) = (Vec::new(), Boxed::make(&ledger));
        let number = last.number();
        queue.push_or_overflow(last, |item| {
            seen.push(item.number());
            while push_one(&queue, &ledger).is_ok() {}
        });
        let name = &form.name;
        assert_eq!(seen.pop(), Some(number), "{name}: the new item comes last");
        assert!(
            !seen.is_empty() && seen.len() <= before.len().div_ceil(2),
            "{name}: {seen:?} of {before:?}"
        );
        assert_eq!(seen, before[..seen.len()], "{name}");
        drop(queue);
        ledger.close(name);
    }
}

fn push_one<W: Subject<Item = Boxed>>(queue: &W, ledger: &Arc<Ledger>) -> Result<u32, ()> {
    let item = Boxed::make(ledger);
    let number = item.number();
    queue.push(item).map(|()| number).map_err(drop)
}

#[test]
fn a_sink_cannot_change_the_batch_that_left() {
    on_every_queue!(Boxed, batch_is_whole());
}
