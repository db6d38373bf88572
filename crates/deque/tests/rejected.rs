//! Goal: the conformance suite finds every kind of broken promise. Method: a correct queue behind a
//! mutex, which is then wrong in one way at a time. The suite must accept the first and reject each
//! of the others, and name the promise. Some of the faults show only under concurrency.
#![cfg(all(feature = "conformance", not(stealyard_loom)))]

use std::collections::VecDeque;

use stealyard_deque::conformance::{Effort, Token, Violation, check};
use stealyard_deque::{
    Callers, Capacity, Hidden, MaxSteal, Order, Progress, Promises, Steal, Stealer, Worker,
};
use stealyard_sync::{Arc, Mutex, MutexGuard, thread};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// P1: a popped item is now and then forgotten.
    Loses,
    /// P1: the remaining items are leaked with the queue.
    Leaks,
    /// P2: the owner gets the newest.
    WrongOrder,
    /// P3: thieves get the newest.
    StealsNewest,
    /// P3: a batch arrives in reverse.
    ReversesBatches,
    /// P4: a thief is asked to retry for no reason.
    RetriesAlone,
    /// P4: a thief never sees the last item.
    HidesLast,
    /// P5: a batch takes everything.
    TakesAll,
    /// P5: the caller's limit is ignored.
    IgnoresLimit,
    /// P6: it is full one item early.
    FullEarly,
    /// P6: it overflows while there is room.
    OverflowsEarly,
    /// P6: only the item itself overflows, after an older one has been lost from sight.
    OverflowsNewest,
    /// P4, under concurrency: while the owner pops, thieves see nothing.
    HidesWhilePopping,
    /// P2, under concurrency: a thief holds its item in view of the owner for a while.
    LooksEmptyToTheOwner,
}

struct Faulty {
    items: Arc<Mutex<VecDeque<Token>>>,
    /// The items that a concurrent fault hides.
    aside: Arc<Mutex<VecDeque<Token>>>,
    capacity: usize,
    fault: Fault,
}

impl Clone for Faulty {
    fn clone(&self) -> Self {
        Self {
            items: Arc::clone(&self.items),
            aside: Arc::clone(&self.aside),
            ..*self
        }
    }
}

impl Faulty {
    fn new(capacity: usize, fault: Fault) -> Self {
        Self {
            items: Arc::default(),
            aside: Arc::default(),
            capacity,
            fault,
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Token>> {
        self.items.lock().unwrap()
    }

    fn batch(&self, limit: usize, room: usize) -> VecDeque<Token> {
        let mut items = self.lock();
        let half = match self.fault {
            Fault::TakesAll => items.len(),
            _ => items.len().div_ceil(2),
        };
        let limit = match self.fault {
            Fault::IgnoresLimit => usize::MAX,
            _ => limit,
        };
        let mut batch: VecDeque<Token> = items.drain(..half.min(limit).min(room)).collect();
        if self.fault == Fault::ReversesBatches {
            batch.make_contiguous().reverse();
        }
        batch
    }

    fn room(&self) -> usize {
        self.capacity - self.lock().len()
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        // At the end, the suite keeps one owner's handle and one thief's handle.
        if self.fault == Fault::Leaks && Arc::strong_count(&self.items) == 1 {
            std::mem::forget(std::mem::take(&mut *self.lock()));
        }
    }
}

impl Worker for Faulty {
    type Item = Token;
    type Stealer = Self;

    const PROMISES: Promises = Promises {
        order: Order::Fifo,
        capacity: Capacity::Bounded,
        hidden: Hidden::Nothing,
        max_steal: MaxSteal::Half,
        push: Progress::Blocking,
        pop: Progress::Blocking,
        steal: Progress::Blocking,
        owner: Callers::Many,
        thieves: Callers::Many,
    };

    fn push(&self, item: Token) -> Result<(), Token> {
        let mut items = self.lock();
        let early = usize::from(self.fault == Fault::FullEarly);
        if items.len() + early >= self.capacity {
            return Err(item);
        }
        items.push_back(item);
        Ok(())
    }

    fn push_or_overflow(&self, item: Token, mut overflow: impl FnMut(Token)) {
        let mut items = self.lock();
        let early = usize::from(self.fault == Fault::OverflowsEarly);
        if items.len() + early < self.capacity {
            return items.push_back(item);
        }
        let count = (self.capacity / 2).min(items.len());
        let batch: Vec<Token> = match self.fault {
            Fault::OverflowsNewest => items.drain(count..).collect(),
            _ => items.drain(..count).collect(),
        };
        drop(items);
        batch.into_iter().chain([item]).for_each(&mut overflow);
    }

    fn pop(&self) -> Option<Token> {
        if self.fault == Fault::HidesWhilePopping {
            let mut all = std::mem::take(&mut *self.lock());
            thread::yield_now();
            let first = all.pop_front();
            let mut items = self.lock();
            all.extend(items.drain(..));
            *items = all;
            return first;
        }
        let mut items = self.lock();
        let popped = match self.fault {
            Fault::WrongOrder => items.pop_back(),
            _ => items.pop_front(),
        };
        if self.fault == Fault::Loses && popped.as_ref().is_some_and(|item| item.number() % 7 == 3)
        {
            std::mem::forget(popped);
            return items.pop_front();
        }
        popped
    }

    fn len(&self) -> usize {
        self.lock().len()
    }

    fn capacity(&self) -> Option<usize> {
        Some(self.capacity)
    }

    fn stealer(&self) -> Self {
        self.clone()
    }
}

impl Stealer for Faulty {
    type Item = Token;
    type Worker = Self;

    fn steal(&self) -> Steal<Token> {
        if self.fault == Fault::LooksEmptyToTheOwner {
            let taken: VecDeque<Token> = std::mem::take(&mut *self.lock());
            self.aside.lock().unwrap().extend(taken);
            thread::yield_now();
            let mut aside = self.aside.lock().unwrap();
            let first = aside.pop_front();
            let mut items = self.lock();
            while let Some(last) = aside.pop_back() {
                items.push_front(last);
            }
            return first.map_or(Steal::Empty, Steal::Success);
        }
        let mut items = self.lock();
        if self.fault == Fault::HidesLast && items.len() == 1 {
            return Steal::Empty;
        }
        if self.fault == Fault::RetriesAlone && items.len() == 2 {
            return Steal::Retry;
        }
        let stolen = match self.fault {
            Fault::StealsNewest => items.pop_back(),
            _ => items.pop_front(),
        };
        stolen.map_or(Steal::Empty, Steal::Success)
    }

    fn steal_batch(&self, dest: &Self, limit: usize) -> Steal<usize> {
        let batch = self.batch(limit, dest.room());
        let count = batch.len();
        dest.lock().extend(batch);
        if count == 0 {
            Steal::Empty
        } else {
            Steal::Success(count)
        }
    }

    fn steal_batch_and_pop(&self, dest: &Self, limit: usize) -> Steal<Token> {
        let mut batch = self.batch(limit, dest.room() + 1);
        let first = batch.pop_front();
        dest.lock().extend(batch);
        first.map_or(Steal::Empty, Steal::Success)
    }

    fn len(&self) -> usize {
        self.lock().len()
    }
}

fn verdict(fault: Fault) -> Result<(), Violation> {
    let effort = Effort {
        programs: 200,
        histories: 2_000,
        items: 20_000,
    };
    check(|capacity| Faulty::new(capacity, fault), effort).map(|_| ())
}

#[test]
fn a_correct_queue_is_accepted() {
    verdict(Fault::None).unwrap();
}

#[test]
fn each_fault_is_found_and_named() {
    let expected = [
        (Fault::Loses, "P1"),
        (Fault::Leaks, "P1"),
        (Fault::WrongOrder, "P2"),
        (Fault::StealsNewest, "P3"),
        (Fault::ReversesBatches, "P3"),
        (Fault::RetriesAlone, "P4"),
        (Fault::HidesLast, "P4"),
        (Fault::TakesAll, "P5"),
        (Fault::IgnoresLimit, "P5"),
        (Fault::FullEarly, "P6"),
        (Fault::OverflowsEarly, "P6"),
        (Fault::OverflowsNewest, "P6"),
    ];
    for (fault, promise) in expected {
        let violation = verdict(fault).expect_err(&format!("{fault:?} is a fault"));
        // A lost item may show in any comparison before the counts, and a wrong order of the owner
        // in the batch that it steals as a thief.
        let elsewhere = match fault {
            Fault::Loses => true,
            Fault::WrongOrder => violation.promise == "P3",
            _ => false,
        };
        let found = violation.promise == promise || elsewhere;
        assert!(found, "{fault:?}: {violation}");
    }
}

#[test]
fn faults_that_need_two_threads_are_found_by_the_histories() {
    for fault in [Fault::HidesWhilePopping, Fault::LooksEmptyToTheOwner] {
        let violation = verdict(fault).expect_err(&format!("{fault:?} is a fault"));
        assert!(
            violation.what.contains("no order of these calls"),
            "{fault:?}: {violation}"
        );
    }
}
