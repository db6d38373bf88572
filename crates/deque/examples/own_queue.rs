//! A queue of your own, written against the traits, and checked by the conformance suite.
//!
//! It is a deque behind a mutex: simple, blocking, and a fair yardstick for the others.
//! Run with `cargo run --release -p stealyard-deque --features conformance --example own_queue`.
#![expect(clippy::print_stdout, reason = "an example reports what it did")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use stealyard_deque::conformance::{Effort, Token, check};
use stealyard_deque::{
    Callers, Capacity, Hidden, MaxSteal, Order, Progress, Promises, Steal, Stealer, Worker,
};

/// Both ends of the queue. With a mutex there is no difference.
struct Locked<T> {
    items: Arc<Mutex<VecDeque<T>>>,
    capacity: usize,
}

impl<T> Clone for Locked<T> {
    fn clone(&self) -> Self {
        Self {
            items: Arc::clone(&self.items),
            capacity: self.capacity,
        }
    }
}

impl<T> Locked<T> {
    fn with_capacity(capacity: usize) -> Self {
        Self {
            items: Arc::default(),
            capacity,
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.items.lock().expect("no user code runs under the lock")
    }

    /// Returns how much more fits. Callers ask in a statement of its own: a guard lives until its
    /// statement ends, and two thieves that each hold their own lock while they wait for the
    /// other's would wait for ever.
    fn room(&self) -> usize {
        self.capacity - self.lock().len()
    }

    /// Takes a batch out, never holding two locks.
    fn take(&self, limit: usize, room: usize) -> VecDeque<T> {
        let mut items = self.lock();
        let count = Self::MAX_STEAL.of(items.len()).min(limit).min(room);
        items.drain(..count).collect()
    }

    const MAX_STEAL: MaxSteal = MaxSteal::HalfUpTo(32);
}

impl<T: Send> Worker for Locked<T> {
    type Item = T;
    type Stealer = Self;

    const PROMISES: Promises = Promises {
        order: Order::Lifo,
        capacity: Capacity::Bounded,
        hidden: Hidden::Nothing,
        max_steal: Self::MAX_STEAL,
        push: Progress::Blocking,
        pop: Progress::Blocking,
        steal: Progress::Blocking,
        owner: Callers::Many,
        thieves: Callers::Many,
    };

    fn push(&self, item: T) -> Result<(), T> {
        let mut items = self.lock();
        if items.len() == self.capacity {
            return Err(item);
        }
        items.push_back(item);
        Ok(())
    }

    fn push_or_overflow(&self, item: T, mut overflow: impl FnMut(T)) {
        let mut items = self.lock();
        if items.len() < self.capacity {
            return items.push_back(item);
        }
        let half: Vec<T> = items.drain(..self.capacity / 2).collect();
        drop(items); // before user code runs
        half.into_iter().chain([item]).for_each(&mut overflow);
    }

    fn pop(&self) -> Option<T> {
        self.lock().pop_back()
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

impl<T: Send> Stealer for Locked<T> {
    type Item = T;
    type Worker = Self;

    fn steal(&self) -> Steal<T> {
        self.lock().pop_front().map_or(Steal::Empty, Steal::Success)
    }

    fn steal_batch(&self, dest: &Self, limit: usize) -> Steal<usize> {
        if Arc::ptr_eq(&self.items, &dest.items) {
            return Steal::Empty;
        }
        let room = dest.room();
        let batch = self.take(limit, room);
        let count = batch.len();
        dest.lock().extend(batch);
        if count == 0 {
            Steal::Empty
        } else {
            Steal::Success(count)
        }
    }

    fn steal_batch_and_pop(&self, dest: &Self, limit: usize) -> Steal<T> {
        if Arc::ptr_eq(&self.items, &dest.items) {
            return Steal::Empty;
        }
        let room = dest.room() + 1;
        let mut batch = self.take(limit, room);
        let first = batch.pop_front();
        dest.lock().extend(batch);
        first.map_or(Steal::Empty, Steal::Success)
    }

    fn len(&self) -> usize {
        self.lock().len()
    }
}

fn main() {
    match check(Locked::<Token>::with_capacity, Effort::everyday()) {
        Ok(tally) => println!("promised: {}\nkept:     {tally}", Locked::<Token>::PROMISES),
        Err(violation) => panic!("{violation}"),
    }
}
