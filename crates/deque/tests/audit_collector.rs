//! Goal: closures that safe code hands to crossbeam's default collector cannot break a queue,
//! wherever they run (a part of the audit: `audit/main.rs`).
//!
//! Method: any number of closures that are due, on the thread that uses the queue. Each makes every
//! call that there is on that very queue. If the queue pins or flushes that collector anywhere,
//! they run there: while its buffer is replaced, in the middle of a steal, or when another queue is
//! dropped. These tests have a process of their own, because every thread of a process may run the
//! closures.
#![forbid(unsafe_code)]
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "audit/items.rs"]
#[expect(dead_code, reason = "most of it is for other programs")]
mod items;
#[path = "audit/subjects.rs"]
#[expect(dead_code, reason = "most of it is for other programs")]
mod subjects;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use stealyard_deque::{ChaseLev, Discipline, Fifo, Lifo, Steal, Stealer};

use items::{AuditItem, Item, Ledger, Watchdog, react, scaled, throw, throws, with_reaction};
use subjects::{Subject, any_call};

/// Lets one program run at a time. Another program's thread would run the closures where they find
/// nothing to do.
static ALONE: Mutex<()> = Mutex::new(());

thread_local! {
    /// Whether closures do anything. They do not while they are piled up.
    static ARMED: Cell<bool> = const { Cell::new(false) };
    /// How many closures have run.
    static RUN: Cell<u64> = const { Cell::new(0) };
}

/// Runs when the collector gets to it: this is the function that is deferred.
fn closure() {
    if ARMED.replace(false) {
        RUN.set(RUN.get() + 1);
        react(0);
        ARMED.set(true);
    }
}

/// The number of closures in one bag of the collector.
const BAG: usize = 64;

/// Makes `bags` bags of closures due: each time that this thread collects, some of them run.
fn pile_up(bags: usize) {
    let armed = ARMED.replace(false);
    let guard = crossbeam_epoch::pin();
    for _ in 0..bags * BAG {
        guard.defer(closure);
    }
    drop(guard);
    // These are two steps of the epoch, which a few of the bags are lost to.
    for _ in 0..4 {
        crossbeam_epoch::pin().flush();
    }
    ARMED.set(armed);
}

/// Collects by hand until closures have run, so that a program of this file has had some.
fn until_some_ran(program: &str) {
    let _watchdog = Watchdog::new(program);
    pile_up(32);
    let before = RUN.get();
    ARMED.set(true);
    while RUN.get() == before {
        crossbeam_epoch::pin().flush();
    }
    ARMED.set(false);
}

/// Runs `program` while each closure that is due makes `calls` calls on `queue` and `other`.
fn beside_closures<W: Subject>(
    name: &str,
    (queue, other): (&Rc<W>, &Rc<W>),
    ledger: &Arc<Ledger>,
    calls: u32,
    program: impl FnOnce(),
) {
    let (queue, other, inner_ledger) = (Rc::clone(queue), Rc::clone(other), Arc::clone(ledger));
    let number = Cell::new(0_u32);
    let react = move |_| {
        for _ in 0..calls {
            number.set(number.get() + 1);
            // Pushes are twice as frequent as the other calls.
            let call = [0, 2, 1, 0, number.get() / 7][number.get() as usize % 5];
            if inner_ledger.has_room(1) {
                any_call(&*queue, &*other, &inner_ledger, call);
            }
        }
    };
    with_reaction(react, || {
        until_some_ran(name);
        ARMED.set(true);
        program();
        ARMED.set(false);
    });
}

/// Settles the remaining items, and closes the ledger.
fn end<W: Subject>(name: &str, queue: Rc<W>, other: Rc<W>, ledger: &Ledger) {
    for queue in [queue, other] {
        while let Some(item) = queue.pop() {
            item.settle(ledger);
        }
        drop(Rc::into_inner(queue).expect("the reaction is gone"));
    }
    ledger.close(name);
}

/// Grows and shrinks the buffer at every turn, up to sizes whose garbage is flushed at once.
fn grows_and_shrinks<D: Discipline, T: AuditItem>(most: u32, calls: u32)
where
    ChaseLev<T, D>: Subject<Item = T>,
{
    let name = format!("ChaseLev {:?}, {} items, up to {most}", D::ORDER, T::KIND);
    let ledger = Ledger::new(400_000);
    let make = || Rc::new(ChaseLev::<T, D>::starting_at(2, u64::MAX - 100));
    let (queue, other) = (make(), make());
    beside_closures(&name, (&queue, &other), &ledger, calls, || {
        for turn in 0..(60_000 / most).clamp(4, 400) {
            if turn % 8 == 0 {
                pile_up(64);
            }
            while queue.len() < most as usize && ledger.has_room(1_000) {
                queue
                    .push(T::make(&ledger))
                    .map_err(drop)
                    .expect("no limit");
            }
            while let Some(item) = queue.pop() {
                item.settle(&ledger);
            }
        }
    });
    end(&name, queue, other, &ledger);
}

fn alone(program: impl FnOnce()) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    program();
}

#[test]
fn closures_of_the_collector_may_use_a_queue_that_grows_and_shrinks() {
    alone(|| {
        for (most, calls) in [(3, 1), (9, 3), (100, 2), (1_000, 5), (20_000, 3)] {
            grows_and_shrinks::<Lifo, u32>(most, calls);
            grows_and_shrinks::<Fifo, u32>(most, calls);
            grows_and_shrinks::<Lifo, Box<Item>>(most, calls);
            grows_and_shrinks::<Fifo, Box<Item>>(most, calls);
        }
    });
}

/// Lets batches grow the thief's own queue, whose closures push to it and take from it in the
/// middle.
fn batches_arrive<D: Discipline, T: AuditItem>(most: u32)
where
    ChaseLev<T, D>: Subject<Item = T>,
{
    let name = format!(
        "ChaseLev {:?}, {} items, batches, up to {most}",
        D::ORDER,
        T::KIND
    );
    let ledger = Ledger::new(400_000);
    let make = || Rc::new(ChaseLev::<T, D>::starting_at(2, 7));
    let (queue, other, victim) = (make(), make(), make());
    beside_closures(&name, (&queue, &other), &ledger, 3, || {
        for turn in 0..(20_000 / most).clamp(2, 100) {
            if turn % 4 == 0 {
                pile_up(64);
            }
            let stealer = victim.stealer();
            while queue.len() < most as usize && ledger.has_room(1_000) {
                while victim.len() < 64 {
                    victim
                        .push(T::make(&ledger))
                        .map_err(drop)
                        .expect("no limit");
                }
                let _: Steal<usize> = stealer.steal_batch(&queue, usize::MAX);
                let one = stealer.steal_batch_and_pop(&queue, usize::MAX);
                if let Steal::Success(item) = one {
                    item.settle(&ledger);
                }
            }
            while let Some(item) = queue.pop() {
                item.settle(&ledger);
            }
        }
    });
    while let Some(item) = victim.pop() {
        item.settle(&ledger);
    }
    end(&name, queue, other, &ledger);
}

#[test]
fn closures_of_the_collector_may_use_a_queue_that_batches_arrive_in() {
    alone(|| {
        for most in [5, 100, 20_000] {
            batches_arrive::<Lifo, u32>(most);
            batches_arrive::<Fifo, u32>(most);
            batches_arrive::<Lifo, Box<Item>>(most);
            batches_arrive::<Fifo, Box<Item>>(most);
        }
    });
}

/// Makes every call of every queue, and drops queues with items in them.
fn any_queue<W: Subject>(turns: u64) {
    for form in W::forms() {
        let ledger = Ledger::new(200_000);
        let (queue, other) = (Rc::new(form.make()), Rc::new(form.make()));
        beside_closures(&form.name, (&queue, &other), &ledger, 2, || {
            for turn in 0..turns {
                if turn % 256 == 0 {
                    pile_up(8);
                }
                any_call(&*queue, &*other, &ledger, (turn / 3) as u32);
                if turn % 16 == 0 {
                    let going = form.make();
                    let _: Steal<usize> = queue.stealer().steal_batch(&going, 8);
                    while let Some(item) = going.pop() {
                        item.settle(&ledger);
                    }
                }
            }
        });
        end(&form.name, queue, other, &ledger);
    }
}

#[test]
fn closures_of_the_collector_may_use_any_queue() {
    alone(|| {
        subjects::on_every_queue!(u32, any_queue(2_000));
        subjects::on_every_queue!(Box<Item>, any_queue(2_000));
    });
}

/// A closure that panics takes with it the call that ran it, and the item of that call, and nothing
/// else.
#[test]
fn closures_of_the_collector_may_panic() {
    thread_local! {
        /// This flag is the test's own, because the remaining closures of this test are run by the
        /// other programs' threads.
        static THROWS: Cell<bool> = const { Cell::new(false) };
    }
    fn thrower() {
        if THROWS.replace(false) {
            throw();
        }
    }
    alone(|| {
        let ledger = Ledger::new(200_000);
        let queue = ChaseLev::<Box<Item>, Fifo>::starting_at(2, 0);
        for turn in 0..200 {
            let guard = crossbeam_epoch::pin();
            (0..2 * BAG).for_each(|_| guard.defer(thrower));
            drop(guard);
            for number in 0..turn * 7 % 300 {
                THROWS.set(number % 5 == 0);
                throws(|| drop(queue.push(AuditItem::make(&ledger))));
                THROWS.set(number % 7 == 0);
                throws(|| drop(queue.stealer().steal().success()));
            }
            THROWS.set(true);
            while !queue.is_empty() {
                throws(|| drop(queue.pop()));
            }
            THROWS.set(false);
        }
        drop(queue);
        ledger.close("closures that panic");
    });
}

#[test]
#[ignore = "soak: more and longer programs beside closures of the collector"]
fn soak_closures_of_the_collector_may_use_any_queue() {
    alone(|| {
        for _ in 0..scaled(5) {
            for most in [2, 17, 130, 5_000, 40_000] {
                grows_and_shrinks::<Lifo, u32>(most, 2);
                grows_and_shrinks::<Fifo, Box<Item>>(most, 4);
                batches_arrive::<Lifo, Box<Item>>(most);
                batches_arrive::<Fifo, u32>(most);
            }
        }
        subjects::on_every_queue!(Box<Item>, any_queue(40_000));
    });
}
