//! Goal: no program of safe code makes a queue lose an item, return it twice, return one that never
//! was, or leak.
//!
//! Method: random programs of every public call. Destructors use the queue that held the item.
//! Iterators and sinks do so too, and may panic. Other users of crossbeam-epoch defer closures to
//! it. The programs run on one thread beside an exact model, or on four threads at once. A ledger
//! knows every item: at the end each has been dropped once, or was forgotten on purpose.
//! `cargo xtask verify --audit` runs this under AddressSanitizer.
//!
//! `STEALYARD_SEED` chooses the programs (default 0). `STEALYARD_SOAK` multiplies the soak, whose
//! programs are new each time. A failure prints the seed of its program, which [`again`] runs
//! alone. `Stack` is not here, because its items need unsafe code (`foreign.rs` has them).
#![forbid(unsafe_code)]
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use stealyard_injector::{Injector, Locked, Segmented, Sharded};
use stealyard_sync::seed::{Rng, fresh};

/// The most items that a program makes.
const ITEMS: usize = 4_000;
/// The greatest depth of calls within calls.
const DEPTH_MAX: u32 = 3;

const LIVE: u8 = 1;
const DROPPED: u8 = 2;
const FORGOTTEN: u8 = 3;

/// The state of each item.
struct Ledger {
    states: Vec<AtomicU8>,
    made: AtomicUsize,
    /// The first item that was not live when it should have been, plus one.
    wrong: AtomicUsize,
}

impl Ledger {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            states: (0..ITEMS).map(|_| AtomicU8::new(0)).collect(),
            made: AtomicUsize::new(0),
            wrong: AtomicUsize::new(0),
        })
    }

    /// Returns the number of a new item, unless there are enough.
    fn make(&self) -> Option<usize> {
        let id = self
            .made
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |made| {
                (made < ITEMS).then_some(made + 1)
            })
            .ok()?;
        self.states[id].store(LIVE, Ordering::Relaxed);
        Some(id)
    }

    /// Records the end of a live item. It may come while a panic unwinds, so an error is only
    /// written down.
    fn end(&self, id: usize, how: u8) {
        let before = self
            .states
            .get(id)
            .map(|state| state.swap(how, Ordering::Relaxed));
        if before != Some(LIVE) {
            self.wrong.store(id.wrapping_add(1), Ordering::Relaxed);
        }
    }

    fn is_live(&self, id: usize) -> bool {
        self.states
            .get(id)
            .is_some_and(|state| state.load(Ordering::Relaxed) == LIVE)
    }

    fn assert_settled(&self) {
        let wrong = self.wrong.load(Ordering::Relaxed);
        assert_eq!(
            wrong,
            0,
            "item {} ended twice, or never was",
            wrong.wrapping_sub(1)
        );
        let made = self.made.load(Ordering::Relaxed);
        let live: Vec<usize> = (0..made).filter(|&id| self.is_live(id)).collect();
        assert!(live.is_empty(), "of {made} items these leaked: {live:?}");
    }
}

/// The work of destructors and deferred closures on the world.
trait Act: Send + Sync {
    fn act(&self, seed: u64);
}

/// An item; empty once its end is recorded.
struct Item(Option<Content>);

struct Content {
    id: usize,
    /// A piece of memory of its own, for the sanitizer.
    echo: Box<usize>,
    ledger: Arc<Ledger>,
    world: Weak<dyn Act>,
    /// The seed of its destructor's work; nothing happens if it is zero.
    seed: u64,
}

impl Item {
    fn id(&self) -> usize {
        let content = self.0.as_ref().expect("an item that is live");
        assert_eq!(*content.echo, content.id, "an item that never was");
        content.id
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        let Some(content) = self.0.take() else { return };
        assert_eq!(*content.echo, content.id, "an item that never was");
        content.ledger.end(content.id, DROPPED);
        if content.seed.is_multiple_of(4) {
            return;
        }
        if content.seed % 16 == 1 && !std::thread::panicking() {
            planned_panic();
        }
        if let Some(world) = content.world.upgrade() {
            world.act(content.seed);
        }
    }
}

/// The payload of a panic that is part of the program.
struct Planned;

/// Unwinds without a message.
fn planned_panic() {
    resume_unwind(Box::new(Planned));
}

/// Runs `body`. A planned panic ends here, any other goes on.
fn quietly(body: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(body))
        && !payload.is::<Planned>()
    {
        resume_unwind(payload);
    }
}

/// A queue under audit.
trait Subject: Injector<Item> + Debug + 'static {
    /// Whether one thread sees first in, first out, with one worker's share exactly.
    const EXACT: bool;

    fn new(rng: &mut Rng) -> Self;

    /// Makes the calls that not every queue has. The items are put before all others, if that can
    /// be told.
    fn special(&self, rng: &mut Rng, items: Vec<Item>) -> Placement;
}

/// The place where `special` has put the items.
enum Placement {
    Front,
    Back,
}

impl Subject for Locked<Item> {
    const EXACT: bool = true;

    fn new(_rng: &mut Rng) -> Self {
        Self::default()
    }

    fn special(&self, _rng: &mut Rng, items: Vec<Item>) -> Placement {
        self.push_front(items);
        Placement::Front
    }
}

impl Subject for Segmented<Item> {
    const EXACT: bool = true;

    fn new(rng: &mut Rng) -> Self {
        match rng.below(3) {
            0 => Self::default(),
            // Positions that wrap within the program, or do not.
            blocks => Self::starting_at(0_u64.wrapping_sub(u64::from(blocks) * 1024)),
        }
    }

    fn special(&self, _rng: &mut Rng, items: Vec<Item>) -> Placement {
        for item in items {
            self.push(item);
        }
        Placement::Back
    }
}

impl<Q: Injector<Item> + Default + 'static> Subject for Sharded<Item, Q> {
    const EXACT: bool = false;

    fn new(rng: &mut Rng) -> Self {
        let lanes = rng.below(4) as usize + 1;
        if rng.below(2) == 0 {
            return Self::new(lanes).expect("one to four lanes");
        }
        let row = |_| (0..lanes).map(|_| rng.below(30)).collect();
        let distances: Vec<Vec<u32>> = (0..lanes).map(row).collect();
        Self::with_distances(&distances).expect("a square")
    }

    fn special(&self, rng: &mut Rng, mut items: Vec<Item>) -> Placement {
        let lane = rng.below(9) as usize;
        if let Some(item) = items.pop() {
            self.push(lane, item);
        }
        self.push_batch(lane + 1, items);
        drop(self.pop(lane));
        self.pop_batch(lane, rng.below(5) as usize, 2, drop);
        let one = self.lane(lane % self.lanes()).expect("a lane");
        drop(one.pop());
        Placement::Back
    }
}

std::thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

struct World<Q> {
    queue: Q,
    ledger: Arc<Ledger>,
    /// The content of the queue, where one thread knows that exactly.
    model: Option<Mutex<VecDeque<usize>>>,
    /// Items that were taken out and are kept for a while.
    kept: Mutex<Vec<Item>>,
    me: Weak<Self>,
}

impl<Q: Subject> Act for World<Q> {
    fn act(&self, seed: u64) {
        self.steps(&mut Rng::new(seed), 1);
    }
}

impl<Q: Subject> World<Q> {
    fn new(rng: &mut Rng, exact: bool) -> Arc<Self> {
        let queue = Q::new(rng);
        Arc::new_cyclic(|me| Self {
            queue,
            ledger: Ledger::new(),
            model: exact.then(Mutex::default),
            kept: Mutex::default(),
            me: me.clone(),
        })
    }

    fn model<R>(&self, body: impl FnOnce(&mut VecDeque<usize>) -> R) -> Option<R> {
        let model = self.model.as_ref()?;
        Some(body(&mut model.lock().expect("nothing panics in it")))
    }

    fn item(&self, rng: &mut Rng) -> Option<Item> {
        let id = self.ledger.make()?;
        Some(Item(Some(Content {
            id,
            echo: Box::new(id),
            ledger: Arc::clone(&self.ledger),
            world: self.me.clone(),
            seed: rng.next_u64(),
        })))
    }

    /// Makes `count` random calls. A planned panic ends one of them.
    fn steps(&self, rng: &mut Rng, count: usize) {
        let depth = DEPTH.get();
        if depth == DEPTH_MAX {
            return;
        }
        DEPTH.set(depth + 1);
        for _ in 0..count {
            quietly(|| self.step(rng));
        }
        DEPTH.set(depth);
    }

    fn step(&self, rng: &mut Rng) {
        match rng.below(16) {
            0..4 => self.push(rng),
            4..6 => self.push_batch(rng),
            6..10 => self.pop(rng),
            10..13 => self.pop_batch(rng),
            13 => self.look(),
            14 => self.special(rng),
            _ => self.use_epoch(rng),
        }
    }

    fn push(&self, rng: &mut Rng) {
        if let Some(item) = self.item(rng) {
            self.model(|model| model.push_back(item.id()));
            self.queue.push(item);
        }
    }

    fn push_batch(&self, rng: &mut Rng) {
        let count = match rng.below(12) {
            0 => 600,
            1..4 => 80,
            _ => rng.below(9),
        };
        let panics_at = rng.below(count * 4 + 1);
        let mut ids = Vec::new();
        self.queue.push_batch((0..count).map_while(|number| {
            if rng.below(6) == 0 {
                self.steps(rng, 1);
            }
            if number == panics_at && !std::thread::panicking() {
                planned_panic();
            }
            let item = self.item(rng)?;
            ids.push(item.id());
            Some(item)
        }));
        self.model(|model| model.extend(ids));
    }

    fn pop(&self, rng: &mut Rng) {
        let taken = self.queue.pop();
        let id = taken.as_ref().map(Item::id);
        if let Some(expected) = self.model(VecDeque::pop_front) {
            assert_eq!(id, expected, "not the oldest");
        }
        if let Some(item) = taken {
            self.dispose(rng, item);
        }
    }

    fn pop_batch(&self, rng: &mut Rng) {
        let max = match rng.below(8) {
            0 => usize::MAX,
            1 => 300,
            _ => rng.below(40) as usize,
        };
        let workers = rng.below(4) as usize;
        let panics_at = rng.below(60);
        let mut expected = self.model(|model| {
            let share = max.min(model.len() / workers.max(1) + 1).min(model.len());
            model.drain(..share).collect::<VecDeque<usize>>()
        });
        let mut given = 0;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.queue.pop_batch(max, workers, |item| {
                if let Some(expected) = &mut expected {
                    assert_eq!(expected.pop_front(), Some(item.id()), "not the oldest");
                }
                given += 1;
                if given == panics_at && !std::thread::panicking() {
                    planned_panic();
                }
                if rng.below(4) == 0 {
                    self.steps(rng, 1);
                }
                self.dispose(rng, item);
            })
        }));
        match outcome {
            Ok(count) => {
                assert_eq!(count, given as usize);
                assert!(
                    expected.is_none_or(|left| left.is_empty()),
                    "a smaller share"
                );
            }
            Err(payload) => {
                // The items that were taken and not given are dropped.
                let left = expected.unwrap_or_default();
                assert!(left.iter().all(|&id| !self.ledger.is_live(id)), "leaked");
                resume_unwind(payload);
            }
        }
    }

    fn dispose(&self, rng: &mut Rng, mut item: Item) {
        let id = item.id();
        assert!(self.ledger.is_live(id), "item {id} comes out dead");
        match rng.below(10) {
            0 => {
                // The item's memory goes back; its destructor does nothing.
                drop(item.0.take());
                self.ledger.end(id, FORGOTTEN);
            }
            1 | 2 => {
                let other = {
                    let mut kept = self.kept.lock().expect("nothing panics in it");
                    kept.push(item);
                    let at = rng.below(kept.len() as u32) as usize;
                    (kept.len() > 20).then(|| kept.swap_remove(at))
                };
                drop(other);
            }
            _ => drop(item),
        }
    }

    fn look(&self) {
        let (len, is_empty) = (self.queue.len(), self.queue.is_empty());
        if let Some(expected) = self.model(|model| model.len()) {
            assert_eq!((len, is_empty), (expected, expected == 0));
        }
        assert!(!format!("{:?}", self.queue).is_empty());
    }

    fn special(&self, rng: &mut Rng) {
        let items: Vec<Item> = (0..rng.below(6)).map_while(|_| self.item(rng)).collect();
        let ids: Vec<usize> = items.iter().map(|item| item.id()).collect();
        let place = self.queue.special(rng, items);
        self.model(|model| match place {
            Placement::Front => ids.into_iter().rev().for_each(|id| model.push_front(id)),
            Placement::Back => model.extend(ids),
        });
    }

    /// Does what other users of crossbeam-epoch may do in this process.
    fn use_epoch(&self, rng: &mut Rng) {
        let guard = crossbeam_epoch::pin();
        let (me, seed) = (self.me.clone(), rng.next_u64());
        guard.defer(move || {
            // The closure does not panic: that would leak the others that wait with it
            // (`foreign.rs` has one that does).
            if let Some(world) = me.upgrade() {
                world.act(seed);
            }
        });
        // A guard that is forgotten would hold up all later ones; that is in `memory.rs`.
        if rng.below(3) > 0 {
            guard.flush();
        }
    }

    /// Ends the world. The queue is drained, or dropped with its items. The items that were kept
    /// outlive it, or do not.
    fn finish(self: Arc<Self>, rng: &mut Rng) {
        let ledger = Arc::clone(&self.ledger);
        let mut kept = Vec::new();
        if rng.below(2) == 0 {
            while !self.queue.is_empty() {
                quietly(|| self.pop(rng));
            }
            self.look();
        } else {
            kept = std::mem::take(&mut *self.kept.lock().expect("nothing panics in it"));
            (0..4).for_each(|_| quietly(|| self.push_batch(rng)));
        }
        // Destructors may panic; the world's fields are dropped all the same.
        quietly(|| drop(self));
        for item in kept {
            quietly(|| drop(item));
        }
        ledger.assert_settled();
    }
}

/// Prints the seed of a program that fails.
struct PrintsSeed(u64);

impl Drop for PrintsSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "=== the program with seed {} fails: see `again` in {}",
                self.0,
                file!()
            );
        }
    }
}

fn program<Q: Subject>(seed: u64) {
    let _names = PrintsSeed(seed);
    let mut rng = Rng::new(seed);
    if rng.below(3) > 0 {
        let world = World::<Q>::new(&mut rng, Q::EXACT);
        let steps = rng.below(400) as usize;
        world.steps(&mut rng, steps);
        world.finish(&mut rng);
        return;
    }
    let world = World::<Q>::new(&mut rng, false);
    let failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (world, failed) = (Arc::clone(&world), &failed);
            let mut rng = Rng::new(seed ^ (thread << 48));
            scope.spawn(move || {
                let run = || world.steps(&mut rng, 200);
                if catch_unwind(AssertUnwindSafe(run)).is_err() {
                    failed.store(true, Ordering::Relaxed);
                }
                drop(world);
            });
        }
    });
    assert!(!failed.into_inner(), "a thread failed");
    world.finish(&mut rng);
}

fn every_queue(seed: u64) {
    program::<Locked<Item>>(seed);
    program::<Segmented<Item>>(seed);
    program::<Sharded<Item, Locked<Item>>>(seed);
    program::<Sharded<Item, Segmented<Item>>>(seed);
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

#[test]
fn programs_of_safe_code_lose_and_double_nothing() {
    let first = number("STEALYARD_SEED").unwrap_or(0) << 32;
    (first..first + 60).for_each(every_queue);
}

#[test]
#[ignore = "soak: new programs, minutes of them"]
fn audit_soak() {
    let first = number("STEALYARD_SEED").map_or_else(fresh, |seed| seed << 32);
    let programs = 5_000 * number("STEALYARD_SOAK").unwrap_or(1);
    (0..programs).for_each(|program| every_queue(first.wrapping_add(program)));
}

/// Runs one program that failed, again:
/// `STEALYARD_PROGRAM=SEED cargo test -p stealyard-injector --test audit again -- --ignored`.
#[test]
#[ignore = "a program by its seed"]
fn again() {
    every_queue(number("STEALYARD_PROGRAM").unwrap_or(0));
}
