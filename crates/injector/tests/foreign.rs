//! Goal: foreign code may run in the middle of a call (destructors of items, iterators, sinks,
//! lanes, closures deferred to crossbeam-epoch), may use the same queue there, and may panic. No
//! item is lost or doubled, no call deadlocks, and a destructor that panics leaks nothing else.
//! Method: items that count how often each was dropped; programs without unsafe code, but for the
//! items of `Stack`.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use stealyard_injector::{Injector, LanesError, Linked, Locked, Segmented, Sharded, Stack};

/// How often each item of a test was dropped.
#[derive(Clone)]
struct Ledger(Arc<Vec<AtomicUsize>>);

impl Ledger {
    fn new(items: usize) -> Self {
        Self(Arc::new((0..items).map(|_| AtomicUsize::new(0)).collect()))
    }

    fn item(&self, number: usize) -> Item {
        Item {
            number,
            ledger: self.clone(),
            panics: false,
        }
    }

    fn items(&self) -> impl Iterator<Item = Item> {
        (0..self.0.len()).map(|number| self.item(number))
    }

    fn dropped(&self) -> usize {
        self.0
            .iter()
            .map(|drops| drops.load(Ordering::Relaxed))
            .sum()
    }

    #[track_caller]
    fn assert_each_dropped_once(&self) {
        let wrong: Vec<(usize, usize)> = self
            .0
            .iter()
            .map(|drops| drops.load(Ordering::Relaxed))
            .enumerate()
            .filter(|&(_, drops)| drops != 1)
            .collect();
        assert!(wrong.is_empty(), "items and their drops: {wrong:?}");
    }
}

struct Item {
    number: usize,
    ledger: Ledger,
    panics: bool,
}

impl Drop for Item {
    fn drop(&mut self) {
        self.ledger.0[self.number].fetch_add(1, Ordering::Relaxed);
        assert!(!self.panics, "the destructor of item {}", self.number);
    }
}

/// A task that carries its own link.
struct Node<T> {
    link: *mut Self,
    _item: T,
}

struct Owned<T>(Box<Node<T>>);

impl<T> Owned<T> {
    fn new(_item: T) -> Self {
        let link = std::ptr::null_mut();
        Self(Box::new(Node { link, _item }))
    }
}

// SAFETY: 1. a node is owned by its box; its link is only used by the stack that holds it.
unsafe impl<T: Send> Send for Owned<T> {}

// SAFETY:
// 1. The pointer is the box's.
// 2. The link is a field that only the stack touches.
// 3. Nothing panics.
unsafe impl<T: Send> Linked for Owned<T> {
    type Node = Node<T>;

    fn into_node(self) -> NonNull<Node<T>> {
        NonNull::from(Box::leak(self.0))
    }

    unsafe fn from_node(node: NonNull<Node<T>>) -> Self {
        // SAFETY: 1. the pointer came from `into_node`, and comes back once.
        Self(unsafe { Box::from_raw(node.as_ptr()) })
    }

    unsafe fn link(node: NonNull<Node<T>>) -> NonNull<*mut Node<T>> {
        // SAFETY: 1. the node is valid.
        let link = unsafe { &raw mut (*node.as_ptr()).link };
        NonNull::new(link).expect("a field of a node")
    }
}

/// Returns the message of a panic.
fn panic_message(payload: &(dyn std::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .expect("a message")
}

fn quietly(body: impl FnOnce()) -> Result<(), Box<dyn std::any::Any + Send>> {
    catch_unwind(AssertUnwindSafe(body))
}

// --- Bad arguments
// ----------------------------------------------------------------------------------

#[test]
fn q20_positions_start_with_a_block_or_not_at_all() {
    for start in (1..=255).chain([257, u64::MAX, u64::MAX - 2]) {
        let made = catch_unwind(|| Segmented::<Box<u8>>::starting_at(start));
        let payload = made.expect_err("it was made");
        let said = panic_message(&*payload);
        assert!(
            said.contains(&start.to_string()) && said.contains("multiple of 256"),
            "{said}"
        );
    }
    let queue = Segmented::starting_at(u64::MAX - 255);
    queue.push_batch(0..600);
    assert_eq!(std::iter::from_fn(|| queue.pop()).count(), 600);
}

#[test]
fn q20_too_many_lanes_are_an_error_however_many() {
    for lanes in [0, 49, 1 << 20, usize::MAX] {
        let made = Sharded::<u8, Locked<u8>>::new(lanes);
        assert_eq!(made.unwrap_err(), LanesError::Count(lanes));
    }
}

/// Items without a size can fill a queue before memory is full.
#[test]
fn q20_a_length_does_not_overflow() {
    let queue = Locked::new();
    queue.push_batch(vec![(); usize::MAX]);
    assert_eq!(queue.len(), usize::MAX);
    for refused in [
        quietly(|| queue.push(())),
        quietly(|| queue.push_batch([(), ()])),
        quietly(|| queue.push_front(vec![(); usize::MAX])),
    ] {
        let payload = refused.expect_err("one more than can be counted");
        let said = panic_message(&*payload);
        assert!(said.contains("usize::MAX"), "{said}");
    }
    assert_eq!(queue.len(), usize::MAX, "as before");
    assert_eq!(queue.pop(), Some(()));
    queue.push(());
    assert_eq!(queue.len(), usize::MAX);
}

// --- Destructors that panic
// -------------------------------------------------------------------------

/// Drops a queue of 600 items, one of which panics in its destructor: at each position in turn, or
/// at some.
fn leaks_nothing(fill: impl Fn(Vec<Item>) -> Box<dyn FnOnce()>) {
    let count = 600;
    for panicking in [
        0, 1, 6, 7, 63, 64, 127, 250, 251, 252, 253, 503, 504, 598, 599,
    ] {
        let ledger = Ledger::new(count);
        let mut items: Vec<Item> = ledger.items().collect();
        items[panicking].panics = true;
        let drops_it = fill(items);
        let payload = quietly(drops_it).expect_err("the first panic goes on");
        let said = panic_message(&*payload);
        assert!(said.ends_with(&format!("item {panicking}")), "{said}");
        ledger.assert_each_dropped_once();
    }
}

#[test]
fn q22_a_queue_drops_the_others_when_a_destructor_panics() {
    leaks_nothing(|items| {
        let queue = Locked::new();
        queue.push_batch(items);
        Box::new(move || drop(queue))
    });
    leaks_nothing(|items| {
        let queue = Locked::new();
        items.into_iter().for_each(|item| queue.push(item));
        Box::new(move || drop(queue))
    });
    leaks_nothing(|items| {
        let queue = Segmented::new();
        queue.push_batch(items);
        Box::new(move || drop(queue))
    });
    leaks_nothing(|items| {
        let queue = Sharded::<_, Segmented<_>>::new(3).unwrap();
        let mut lane = 0;
        items.into_iter().for_each(|item| {
            lane += 1;
            queue.push(lane, item);
        });
        Box::new(move || drop(queue))
    });
    leaks_nothing(|items| {
        let queue = Sharded::<_, Locked<_>>::new(1).unwrap();
        queue.push_batch(0, items);
        Box::new(move || drop(queue))
    });
}

#[test]
fn q22_a_stack_and_a_chain_drop_the_others_when_a_destructor_panics() {
    leaks_nothing(|items| {
        let stack = Stack::new();
        stack.push_batch(items.into_iter().map(Owned::new));
        Box::new(move || drop(stack))
    });
    leaks_nothing(|items| {
        let stack = Stack::new();
        stack.push_batch(items.into_iter().map(Owned::new));
        Box::new(move || drop(stack.take_all()))
    });
}

/// Checks the items that a consumer was given, and those that it was not, when its sink panicked,
/// by a destructor or by itself.
fn batch_in_flight<Q: Injector<Item>>(queue: &Q) {
    for panicking in [0, 1, 31, 32, 33, 63, 64, 100, 199] {
        let ledger = Ledger::new(200);
        let mut items: Vec<Item> = ledger.items().collect();
        items[panicking].panics = true;
        queue.push_batch(items);
        let mut panics = 0;
        while !queue.is_empty() {
            panics += usize::from(quietly(|| _ = queue.pop_batch(200, 1, drop)).is_err());
        }
        assert_eq!(panics, 1);
        ledger.assert_each_dropped_once();
    }
}

#[test]
fn q22_a_batch_in_flight_leaks_nothing() {
    batch_in_flight(&Locked::new());
    batch_in_flight(&Segmented::new());
    batch_in_flight(&Sharded::<_, Locked<_>>::new(2).unwrap());
    batch_in_flight(&Sharded::<_, Segmented<_>>::new(2).unwrap());
}

#[test]
fn q12_a_chain_that_is_forgotten_leaks_its_items_and_nothing_else() {
    let (leaked, kept) = (Ledger::new(20), Ledger::new(20));
    // A leak check must see only the items that were not leaked on purpose.
    static REACHABLE: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let reachable = |item| {
        let owned = Owned::new(item);
        REACHABLE.lock().unwrap().push(&raw const *owned.0 as usize);
        owned
    };
    let stack = Stack::new();
    stack.push_batch(leaked.items().map(reachable));
    let mut chain = stack.take_all();
    drop(chain.next());
    std::mem::forget(chain);
    stack.push_batch(kept.items().map(Owned::new));
    drop(stack);
    assert_eq!(leaked.dropped(), 1);
    kept.assert_each_dropped_once();
}

// --- Calls from within calls
// ------------------------------------------------------------------------

/// An item whose destructor runs a closure, which uses the queue that held the item.
struct Reentrant {
    _item: Item,
    act: Arc<dyn Fn() + Send + Sync>,
}

impl Drop for Reentrant {
    fn drop(&mut self) {
        (self.act)();
    }
}

thread_local! {
    /// How many destructors that use their queue run inside each other.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// A queue of reentrant items, of which a certain number may be made.
struct World<Q> {
    queue: Q,
    ledger: Ledger,
    left: AtomicUsize,
}

impl<Q: Injector<Reentrant> + 'static> World<Q> {
    fn item(self: &Arc<Self>) -> Option<Reentrant> {
        let left = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .ok()?;
        let world = Arc::downgrade(self);
        Some(Reentrant {
            _item: self.ledger.item(left - 1),
            act: Arc::new(move || {
                if let Some(world) = world.upgrade() {
                    world.act();
                }
            }),
        })
    }

    /// Does the work of a destructor: takes items out, or puts some in, whose destructors do so in
    /// turn.
    fn act(self: &Arc<Self>) {
        let depth = DEPTH.get();
        if depth == 4 {
            return;
        }
        DEPTH.set(depth + 1);
        self.act_at_depth();
        DEPTH.set(depth);
    }

    fn act_at_depth(self: &Arc<Self>) {
        let queue = &self.queue;
        let _lengths = (queue.len(), queue.is_empty());
        match self.left.load(Ordering::Relaxed) % 5 {
            0 => self.item().into_iter().for_each(|item| queue.push(item)),
            1 => queue.push_batch(self.item().into_iter().chain(self.item())),
            2 => drop(queue.pop()),
            3 => queue.push_batch((0..9).map_while(|_| self.item())),
            _ => {
                queue.push_batch(self.item());
                queue.pop_batch(3, 1, drop);
            }
        }
    }
}

fn destructors_use_the_queue<Q: Injector<Reentrant> + 'static>(queue: Q) {
    let count = 3_000;
    let world = Arc::new(World {
        queue,
        ledger: Ledger::new(count),
        left: AtomicUsize::new(count),
    });
    let queue = &world.queue;
    while let Some(item) = world.item() {
        queue.push(item);
        queue.push_batch((0..40).map_while(|_| world.item()));
        drop(queue.pop());
        queue.pop_batch(20, 1, drop);
        queue.pop_batch(50, 1, drop);
        // The sink and the iterator fail. What they hold is dropped while the panic unwinds.
        let mut given = 0;
        let _may_panic = quietly(|| {
            queue.pop_batch(10, 1, |_item| {
                given += 1;
                assert!(given < 3, "the third is too many");
            });
        });
        let _panics = quietly(|| {
            queue.push_batch((0..5).map_while(|number| {
                assert!(number < 3, "the third is too many");
                world.item()
            }));
        });
    }
    while queue.pop().is_some() {}
    world.ledger.assert_each_dropped_once();
}

#[test]
fn q21_destructors_that_use_the_same_queue() {
    destructors_use_the_queue(Locked::new());
    destructors_use_the_queue(Segmented::new());
    destructors_use_the_queue(Sharded::<_, Locked<_>>::new(2).unwrap());
    destructors_use_the_queue(Sharded::<_, Segmented<_>>::new(2).unwrap());
}

/// Uses the queue from an iterator, which pops and pushes, and from a sink, which pushes and pops.
/// Checks that what they put in and took out is right.
fn iterators_and_sinks_use_the_queue<Q: Injector<usize>>(queue: &Q) {
    let taken = Cell::new(0);
    let take = |queue: &Q| taken.set(taken.get() + usize::from(queue.pop().is_some()));
    let mut pushed = 0;
    for round in 0..400 {
        queue.push_batch((0..round % 40).inspect(|&number| {
            queue.push(number);
            queue.push_batch([number, number]);
            take(queue);
        }));
        pushed += 4 * (round % 40);
        let mut given = 0;
        queue.pop_batch(round % 70, 1, |number| {
            given += 1;
            queue.push(number);
            take(queue);
            taken.set(taken.get() + queue.pop_batch(2, 1, |_| ()));
        });
        // An item that the sink was given and put back is neither taken nor new.
        assert_eq!(queue.len(), pushed - taken.get(), "round {round}, {given}");
    }
}

#[test]
fn q21_iterators_and_sinks_that_use_the_same_queue() {
    iterators_and_sinks_use_the_queue(&Locked::new());
    iterators_and_sinks_use_the_queue(&Segmented::new());
    iterators_and_sinks_use_the_queue(&Sharded::<_, Locked<_>>::new(3).unwrap());
    iterators_and_sinks_use_the_queue(&Sharded::<_, Segmented<_>>::new(3).unwrap());
}

/// The iterator yields its items, and meanwhile drops the caller's other references to the queue.
#[test]
fn q21_an_iterator_may_drop_the_other_owners_of_the_queue() {
    let ledger = Ledger::new(300);
    let queue = Arc::new(Segmented::new());
    let mut others = vec![Arc::clone(&queue); 10];
    queue.push_batch(ledger.items().inspect(|_| drop(others.pop())));
    assert_eq!(Arc::strong_count(&queue), 1);
    drop(queue);
    ledger.assert_each_dropped_once();
}

#[test]
fn q21_iterators_and_destructors_use_the_same_stack() {
    let (ledger, later) = (Ledger::new(100), Ledger::new(100));
    let stack = Arc::new(Stack::<Owned<Reentrant>>::new());
    let made = (0..100).map(|number| {
        // This takes what the calls before have pushed.
        drop(stack.take_all());
        let (theirs, later) = (Arc::downgrade(&stack), later.clone());
        Owned::new(Reentrant {
            _item: ledger.item(number),
            act: Arc::new(move || {
                let Some(stack) = theirs.upgrade() else {
                    return;
                };
                stack.push(Owned::new(Reentrant {
                    _item: later.item(number),
                    act: Arc::new(|| ()),
                }));
            }),
        })
    });
    let mut made: Vec<_> = made.collect();
    stack.push(made.pop().expect("one of a hundred"));
    stack.push_batch(made.into_iter().inspect(|_| drop(stack.take_all())));
    drop(stack.take_all());
    ledger.assert_each_dropped_once();
    drop(stack);
    later.assert_each_dropped_once();
}

// --- Lanes of the user's own
// -----------------------------------------------------------------------------

thread_local! {
    /// How many calls of a [`Picky`] lane succeed before one panics.
    static GOOD: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// A lane that takes a batch piece by piece and may panic in any of its calls.
#[derive(Default)]
struct Picky(Mutex<VecDeque<usize>>);

impl Picky {
    fn call(&self) -> std::sync::MutexGuard<'_, VecDeque<usize>> {
        let good = GOOD.get();
        GOOD.set(good.saturating_sub(1));
        assert!(good > 0, "this lane is picky");
        self.0.lock().unwrap()
    }
}

impl Injector<usize> for Picky {
    fn push(&self, item: usize) {
        self.call().push_back(item);
        drop(self.call());
    }

    fn push_batch(&self, items: impl IntoIterator<Item = usize>) {
        items.into_iter().for_each(|item| self.push(item));
    }

    fn pop(&self) -> Option<usize> {
        self.call().pop_front()
    }

    fn pop_batch(&self, max: usize, _workers: usize, mut sink: impl FnMut(usize)) -> usize {
        (0..max).map_while(|_| self.pop()).map(&mut sink).count()
    }

    fn len(&self) -> usize {
        self.call().len()
    }
}

/// B1 of `sharded.rs` (no hidden item) with a lane that panics: its bit leads to what it holds
/// afterwards.
#[test]
fn b1_q21_items_in_a_panicking_lane_are_found() {
    for good in 0..40 {
        let lanes = Sharded::<usize, Picky>::new(3).unwrap();
        GOOD.set(good);
        let _may_panic = quietly(|| {
            lanes.push(1, 0);
            assert_eq!(lanes.pop(1), Some(0));
            assert_eq!(lanes.pop(1), None);
            lanes.push_batch(2, 1..5);
            while lanes.pop(0).is_some() {}
        });
        GOOD.set(usize::MAX);
        let there: usize = (0..3).map(|lane| lanes.lane(lane).unwrap().len()).sum();
        assert_eq!(std::iter::from_fn(|| lanes.pop(0)).count(), there, "{good}");
        // Each lane's bit is cleared once the lane has been found empty, and no thread is closing
        // any longer.
        assert_eq!(lanes.pop(0), None);
        GOOD.set(0);
        assert!(
            lanes.is_empty(),
            "after {good} calls a bit or a closer is left, and lanes are looked at"
        );
        GOOD.set(usize::MAX);
    }
}

// --- Closures that others defer ------------------------------------------------------------------

/// Defers closures to crossbeam-epoch's default collector, as any safe code may. `body` runs on the
/// thread that collects, and is told whether that is this one.
fn defer(closures: usize, body: impl Fn() + Send + Sync + 'static) -> Arc<AtomicUsize> {
    let ran_here = Arc::new(AtomicUsize::new(0));
    let (here, body) = (std::thread::current().id(), Arc::new(body));
    // While this guard lives, the epoch moves on once at the most, which is not enough to run
    // anything.
    let _not_yet = crossbeam_epoch::pin();
    for _ in 0..closures {
        let guard = crossbeam_epoch::pin();
        let (ran_here, body) = (Arc::clone(&ran_here), Arc::clone(&body));
        guard.defer(move || {
            if std::thread::current().id() == here {
                ran_here.fetch_add(1, Ordering::Relaxed);
                body();
            }
        });
        guard.flush();
    }
    ran_here
}

/// Makes calls that reach every place at which a queue may free a block or help another caller.
fn many_calls(queue: &Segmented<usize>) -> usize {
    let mut taken = 0;
    for round in 0..600 {
        queue.push(round);
        queue.push_batch(0..400);
        taken += usize::from(queue.pop().is_some());
        taken += queue.pop_batch(400, 1, |_| ());
        let _empty = queue.is_empty();
    }
    taken
}

#[test]
fn q21_no_deferred_closure_of_others_runs_in_a_call() {
    let queue = Arc::new(Segmented::new());
    let theirs = Arc::clone(&queue);
    let ran_here = defer(3_000, move || {
        theirs.push(usize::MAX);
        let _taken = theirs.pop();
        panic!("a closure that another library deferred");
    });
    let before = ran_here.load(Ordering::Relaxed);
    let taken = many_calls(&queue);
    assert_eq!(ran_here.load(Ordering::Relaxed), before, "in our calls");
    assert_eq!(taken + queue.len(), 600 * 401);
}
