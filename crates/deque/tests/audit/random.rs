//! Random programs on one thread, over every call that a queue has, with items whose destructors
//! and sinks use the queues or panic. They are compared with a model that knows which item is
//! where.
//!
//! There are three queues of one form, their owners' handles and any number of stealers. A program
//! is a *tape* of numbers, from which every call draws what it needs. So the calls inside a sink or
//! a destructor are part of the program, and a failure is shrunk with them. With one thread the
//! answers are exact: orders, lengths and batches (P1 to P6 and P8 of `Worker`), and no call asks
//! for another attempt.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;

use proptest::prelude::any;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use stealyard_deque::{
    Capacity, ChaseLev, Fifo, Hidden, Lifo, Order, Promises, Ring, Split, Steal, Stealer,
};

use crate::items::{
    AuditItem, Item, Ledger, Then, Thrown, again, panic_message, scaled, seed, throw, with_reaction,
};
use crate::subjects::{Form, Subject};

type Boxed = Box<Item>;

const QUEUES: u32 = 3;
/// The greatest depth of calls inside calls.
const DEEPEST: u32 = 4;

/// The numbers of a program.
struct Tape(VecDeque<u32>);

/// The model of one queue.
#[derive(Default)]
struct Model {
    /// The items, oldest first.
    items: VecDeque<u32>,
    /// Whether a forced steal left some of what the owner had set aside, so that the slots of what
    /// it took may still be in use.
    has_withheld_slots: bool,
}

/// One queue, its handles and its model. Handles are shared, so that a call inside a call may drop
/// one.
struct QueueUnderTest<W: Subject> {
    owner: RefCell<Option<Rc<W>>>,
    stealers: RefCell<Vec<Rc<W::Stealer>>>,
    model: RefCell<Model>,
}

struct World<W: Subject> {
    places: [QueueUnderTest<W>; QUEUES as usize],
    form: Form<W>,
    tape: RefCell<Tape>,
    ledger: Arc<Ledger>,
    depth: Cell<u32>,
    /// The calls so far, for the message.
    trace: RefCell<Vec<String>>,
    /// The failure, if any, inside a destructor that a panic was running. Another panic there would
    /// end the process.
    late: RefCell<Option<String>>,
}

impl<W: Subject<Item = Boxed>> World<W> {
    const PROMISES: Promises = W::PROMISES;

    fn new(form: Form<W>, tape: &[u32]) -> Rc<Self> {
        let place = || QueueUnderTest {
            owner: RefCell::new(None),
            stealers: RefCell::new(Vec::new()),
            model: RefCell::new(Model::default()),
        };
        Rc::new(Self {
            places: [place(), place(), place()],
            form,
            // Each item costs a number of the tape, except in the last step, which may be nested.
            ledger: Ledger::new(tape.len() as u32 + 100),
            tape: RefCell::new(Tape(tape.iter().copied().collect())),
            depth: Cell::new(0),
            trace: RefCell::default(),
            late: RefCell::default(),
        })
    }

    /// Returns a number below `bound`; zero when the tape is at its end.
    fn below(&self, bound: u32) -> u32 {
        self.tape.borrow_mut().0.pop_front().unwrap_or(0) % bound
    }

    fn is_over(&self) -> bool {
        self.tape.borrow().0.is_empty()
    }

    fn note(&self, call: impl FnOnce() -> String) {
        let depth = "  ".repeat(self.depth.get() as usize);
        self.trace.borrow_mut().push(format!("{depth}{}", call()));
    }

    fn limit(&self) -> usize {
        match self.below(7) {
            6 => usize::MAX,
            few => few as usize,
        }
    }

    fn item(&self) -> Boxed {
        let then = match self.below(4) {
            0 => Then::Reacts,
            _ => Then::Nothing,
        };
        Item::new(&self.ledger, then)
    }

    fn place(&self) -> (usize, &QueueUnderTest<W>) {
        let index = self.below(QUEUES) as usize;
        (index, &self.places[index])
    }

    /// Makes one call, and then compares everything.
    fn step(&self) {
        let (index, place) = self.place();
        if !place.is_used() {
            return self.renew(index);
        }
        match self.below(20) {
            0..=4 => self.push(index),
            5..=7 => self.push_or_overflow(index),
            8..=10 => self.pop(index),
            11 => self.steal(index),
            12..=13 => self.batch(index, Batch::Moves),
            14 => self.batch(index, Batch::KeepsOne),
            15 => self.batch(index, Batch::Forces),
            16 => self.force(index),
            17 => self.add_or_drop_a_stealer(index),
            18 => self.change_limits(index),
            _ => self.drop_a_handle(index),
        }
        self.compare();
    }

    /// Makes up to three calls from inside another one.
    fn nested_calls(&self) {
        if self.depth.get() >= DEEPEST || self.is_over() {
            return;
        }
        self.depth.set(self.depth.get() + 1);
        for _ in 0..self.below(4) {
            self.step();
        }
        self.depth.set(self.depth.get() - 1);
    }

    /// Does what an item's destructor does.
    fn run_reaction(&self) {
        if !std::thread::panicking() {
            return self.nested_calls();
        }
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.nested_calls())) {
            let mut late = self.late.borrow_mut();
            late.get_or_insert_with(|| panic_message(&*payload));
        }
    }

    fn renew(&self, index: usize) {
        self.note(|| format!("{index} is made"));
        let place = &self.places[index];
        assert!(
            place.model.borrow().items.is_empty(),
            "what was left is dropped with the last handle"
        );
        *place.model.borrow_mut() = Model::default();
        *place.owner.borrow_mut() = Some(Rc::new(self.form.make()));
    }

    fn owner(&self, index: usize) -> Option<Rc<W>> {
        self.places[index].owner.borrow().clone()
    }

    fn a_stealer(&self, index: usize) -> Option<Rc<W::Stealer>> {
        let place = &self.places[index];
        if place.stealers.borrow().is_empty() {
            let owner = self.owner(index)?;
            place.stealers.borrow_mut().push(Rc::new(owner.stealer()));
        }
        let stealers = place.stealers.borrow();
        Some(Rc::clone(
            &stealers[self.below(stealers.len() as u32) as usize],
        ))
    }

    /// Whether a push may be refused.
    fn is_full(&self, index: usize, owner: &W) -> bool {
        let model = self.places[index].model.borrow();
        let slack = if model.has_withheld_slots {
            Self::PROMISES.hidden.most()
        } else {
            0
        };
        owner
            .capacity()
            .is_some_and(|capacity| model.items.len() + slack >= capacity)
    }

    fn push(&self, index: usize) {
        let Some(owner) = self.owner(index) else {
            return;
        };
        let item = self.item();
        let number = item.number();
        let full = self.is_full(index, &owner);
        let outcome = owner.push(item);
        self.note(|| format!("{index} pushes {number}: {}", outcome.is_ok()));
        match outcome {
            Ok(()) => self.model(index).items.push_back(number),
            Err(back) => {
                assert!(full, "P6: {number} was refused by a queue that has room");
                assert_eq!(back.number(), number, "P6: another item came back");
                drop(back);
            }
        }
    }

    fn model(&self, index: usize) -> std::cell::RefMut<'_, Model> {
        self.places[index].model.borrow_mut()
    }

    fn push_or_overflow(&self, index: usize) {
        let Some(owner) = self.owner(index) else {
            return;
        };
        let item = self.item();
        let number = item.number();
        let panics_at = match self.below(6) {
            0 if !std::thread::panicking() => self.below(4),
            _ => u32::MAX,
        };
        let full = self.is_full(index, &owner);
        self.note(|| format!("{index} pushes {number} with overflow, which panics at {panics_at}"));
        let batch = RefCell::new(None);
        let calls = Cell::new(0);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            owner.push_or_overflow(item, |item| {
                self.overflows(index, &owner, number, &batch, &item);
                if calls.replace(calls.get() + 1) == panics_at {
                    throw();
                }
                self.sink_takes(index, item);
            });
        }));
        let batch: Option<VecDeque<u32>> = batch.into_inner();
        match outcome {
            Err(payload) if !payload.is::<Thrown>() => resume_unwind(payload),
            Err(_) => {
                // The items that the sink had, and those that it would have had, are dropped.
                let rest = batch.expect("a panic of the sink");
                for lost in rest.into_iter().chain([number]) {
                    assert_eq!(
                        self.ledger.times_gone(lost),
                        1,
                        "P1: {lost} was to be dropped"
                    );
                }
            }
            Ok(()) => match batch {
                None => self.model(index).items.push_back(number),
                Some(rest) => {
                    assert!(full, "P6: {number} overflows from a queue that has room");
                    assert!(
                        rest.is_empty(),
                        "P1: {rest:?} left the queue and did not overflow"
                    );
                    assert!(calls.get() >= 1);
                }
            },
        }
    }

    /// Hands `item` to the sink. It is the next of a batch that left as a whole, before the first
    /// call of the sink.
    fn overflows(
        &self,
        index: usize,
        owner: &W,
        last: u32,
        batch: &RefCell<Option<VecDeque<u32>>>,
        item: &Boxed,
    ) {
        let number = item.number();
        self.note(|| format!("{number} overflows"));
        let mut batch = batch.borrow_mut();
        if batch.is_none() {
            let mut model = self.model(index);
            let left = model.items.len() - owner.len();
            let first = model.items.iter().position(|&other| other == number);
            let first = first.unwrap_or(0);
            let run: VecDeque<u32> = model.items.drain(first..first + left).collect();
            assert!(
                first <= Self::PROMISES.hidden.most(),
                "P3: {number} is not the oldest"
            );
            assert!(
                left <= (model.items.len() + left).div_ceil(2).max(1),
                "a half overflows: {run:?}"
            );
            model.has_withheld_slots &= !model.items.is_empty();
            *batch = Some(run);
        }
        let rest = batch.as_mut().expect("made above");
        let expected = rest.pop_front().unwrap_or(last);
        assert_eq!(
            number, expected,
            "P3: the batch overflows oldest first, then the new item"
        );
    }

    /// Does what a sink does with its item, and makes other calls.
    fn sink_takes(&self, index: usize, item: Boxed) {
        self.nested_calls();
        let back = if self.below(4) == 0 {
            self.owner(index)
        } else {
            None
        };
        match back {
            Some(owner) => {
                let number = item.number();
                let outcome = owner.push(item);
                self.note(|| format!("{number} goes back: {}", outcome.is_ok()));
                match outcome {
                    Ok(()) => self.model(index).items.push_back(number),
                    Err(back) => drop(back),
                }
            }
            None => drop(item),
        }
        self.compare();
    }

    fn pop(&self, index: usize) {
        let Some(owner) = self.owner(index) else {
            return;
        };
        let popped = owner.pop();
        let number = popped.as_ref().map(AuditItem::number);
        self.note(|| format!("{index} pops {number:?}"));
        let mut model = self.model(index);
        let expected = match Self::PROMISES.order {
            Order::Fifo => model.items.pop_front(),
            Order::Lifo => model.items.pop_back(),
        };
        model.has_withheld_slots &= !model.items.is_empty();
        drop(model);
        assert_eq!(number, expected, "P2");
        drop(popped);
    }

    fn steal(&self, index: usize) {
        let Some(stealer) = self.a_stealer(index) else {
            return;
        };
        let visible = stealer.len();
        let stolen = match stealer.steal() {
            Steal::Success(item) => Some(item),
            Steal::Empty => None,
            Steal::Retry => panic!("P4: alone, and asked to retry"),
        };
        let number = stolen.as_ref().map(AuditItem::number);
        self.note(|| format!("from {index} {number:?} is stolen, {visible} visible"));
        let mut model = self.model(index);
        let start = Self::first_visible(&model, visible);
        let expected = if visible == 0 {
            None
        } else {
            model.items.remove(start)
        };
        model.has_withheld_slots &= !model.items.is_empty();
        drop(model);
        assert_eq!(number, expected, "P3, P4");
        drop(stolen);
    }

    /// Returns where the items begin that thieves see.
    fn first_visible(model: &Model, visible: usize) -> usize {
        match Self::PROMISES.hidden {
            Hidden::Oldest(_) => model.items.len() - visible,
            Hidden::Nothing | Hidden::Newest => 0,
        }
    }

    fn batch(&self, index: usize, kind: Batch) {
        let (to, limit) = (self.below(QUEUES) as usize, self.limit());
        let (Some(stealer), Some(dest)) = (self.a_stealer(index), self.owner(to)) else {
            return;
        };
        let (visible, before) = (stealer.len(), dest.len());
        let outcome = match kind {
            Batch::Moves => stealer.steal_batch(&dest, limit).map(|count| (count, None)),
            Batch::KeepsOne => stealer
                .steal_batch_and_pop(&dest, limit)
                .map(|item| (0, Some(item))),
            Batch::Forces => stealer
                .force_steal(&dest, limit)
                .map(|item| (0, Some(item))),
        };
        let (reported, kept) = match outcome {
            Steal::Success(stolen) => stolen,
            Steal::Empty => (0, None),
            Steal::Retry => panic!("P4: alone, and asked to retry"),
        };
        let number = kept.as_ref().map(AuditItem::number);
        let moved = if index == to { 0 } else { dest.len() - before };
        self.note(|| {
            format!("{kind:?} from {index} to {to}, limit {limit}, {visible} visible: {number:?} and {moved}")
        });
        if kind == Batch::Moves {
            assert_eq!(reported, moved, "P5: says {reported}");
        }
        let got = moved + usize::from(kept.is_some());
        self.check_size(index, to, kind, got, limit, visible);
        let mut model = self.model(index);
        // A claim that is revoked loses its newest items. What a force shares is taken from the
        // oldest.
        let start = match Self::PROMISES.hidden {
            Hidden::Oldest(_) if visible == 0 => model.items.len() - got,
            _ => Self::first_visible(&model, visible),
        };
        let mut taken: VecDeque<u32> = model.items.drain(start..start + got).collect();
        model.has_withheld_slots |= kind == Batch::Forces && got > 0;
        model.has_withheld_slots &= !model.items.is_empty();
        drop(model);
        if let Some(number) = number {
            assert_eq!(
                taken.pop_front(),
                Some(number),
                "P3: the oldest of the batch is kept"
            );
        }
        self.model(to).items.extend(taken);
        drop(kept);
    }

    /// Checks the size of a batch: exactly half of what is visible, or the limit, or what fits.
    fn check_size(
        &self,
        index: usize,
        to: usize,
        kind: Batch,
        got: usize,
        limit: usize,
        visible: usize,
    ) {
        let held = self.model(index).items.len();
        let keep = usize::from(kind != Batch::Moves);
        let (room, has_withheld_slots) = {
            let model = self.model(to);
            let capacity = self.owner(to).and_then(|owner| owner.capacity());
            let room = capacity.map_or(usize::MAX, |most| most.saturating_sub(model.items.len()));
            (room.saturating_add(keep), model.has_withheld_slots)
        };
        if index == to || limit == 0 {
            assert_eq!(got, 0, "P5: a batch to itself, or a limit of zero");
            return;
        }
        let forces = kind == Batch::Forces;
        if forces && held > 0 {
            assert!(got > 0, "P8: nothing was forced out of {held} items");
        }
        if forces && visible == 0 {
            assert!(got <= limit.min(held), "P5: {got} of {held}, limit {limit}");
            return;
        }
        let most = Self::PROMISES.max_steal.of(visible).min(limit).min(room);
        let exact = !has_withheld_slots || Self::PROMISES.capacity == Capacity::Growable;
        assert!(
            got <= most && (!exact || got == most),
            "P5: {got} instead of {most}"
        );
    }

    fn force(&self, index: usize) {
        let Some(stealer) = self.a_stealer(index) else {
            return;
        };
        let before = stealer.len();
        if let Some(outcome) = W::force(&stealer) {
            self.note(|| format!("{index} is forced: {outcome:?}"));
            let after = stealer.len();
            let right = match outcome {
                Steal::Success(visible) => visible == after && after >= before && after > 0,
                Steal::Empty => self.model(index).items.is_empty(),
                Steal::Retry => false,
            };
            assert!(
                right,
                "P8: a force says {outcome:?}, with {before} visible before, {after} after"
            );
        }
    }

    fn add_or_drop_a_stealer(&self, index: usize) {
        if self.below(3) > 0 {
            let Some(stealer) = self.a_stealer(index) else {
                return;
            };
            let another = Rc::new(W::Stealer::clone(&stealer));
            self.places[index].stealers.borrow_mut().push(another);
            return;
        }
        self.note(|| format!("{index} loses a stealer"));
        self.stealer_goes(index);
    }

    /// Sets another limit, or other claims, and looks at what can be printed.
    fn change_limits(&self, index: usize) {
        let to = 1 + self.below(9) as usize;
        let Some(owner) = self.places[index].owner.borrow_mut().take() else {
            return;
        };
        assert!(!format!("{owner:?}").is_empty());
        let limited = Self::PROMISES.capacity == Capacity::Bounded || owner.capacity().is_some();
        let owner = match Rc::try_unwrap(owner) {
            Ok(owner) if limited => {
                self.note(|| format!("{index} is changed to {to}"));
                Rc::new(owner.changed(to))
            }
            Ok(owner) => Rc::new(owner),
            Err(in_use) => in_use,
        };
        *self.places[index].owner.borrow_mut() = Some(owner);
    }

    fn drop_a_handle(&self, index: usize) {
        if self.below(2) == 0 {
            self.note(|| format!("the owner of {index} goes"));
            self.owner_goes(index);
        } else {
            self.note(|| format!("all stealers of {index} go"));
            self.stealers_go(index);
        }
    }

    fn stealers_go(&self, index: usize) {
        let stealers = self.places[index].stealers.borrow().len();
        (0..stealers).for_each(|_| self.stealer_goes(index));
    }

    fn owner_goes(&self, index: usize) {
        let place = &self.places[index];
        let Some(owner) = place.owner.borrow_mut().take() else {
            return;
        };
        match Rc::try_unwrap(owner) {
            Ok(owner) => self.drop_handle(index, owner),
            // A call further out still uses the handle.
            Err(in_use) => *place.owner.borrow_mut() = Some(in_use),
        }
    }

    fn stealer_goes(&self, index: usize) {
        let place = &self.places[index];
        let Some(stealer) = place.stealers.borrow_mut().pop() else {
            return;
        };
        match Rc::try_unwrap(stealer) {
            Ok(stealer) => self.drop_handle(index, stealer),
            Err(in_use) => place.stealers.borrow_mut().insert(0, in_use),
        }
    }

    /// Drops a handle, which has left its place. With the last handle, all items in the queue are
    /// dropped.
    fn drop_handle<H>(&self, index: usize, handle: H) {
        let place = &self.places[index];
        let last = !place.is_used();
        let left = if last {
            std::mem::take(&mut *self.model(index)).items
        } else {
            VecDeque::new()
        };
        drop(handle);
        for number in left {
            assert_eq!(
                self.ledger.times_gone(number),
                1,
                "P1: {number} was to be dropped with its queue"
            );
        }
    }

    /// Compares every queue with its model.
    fn compare(&self) {
        if !std::thread::panicking()
            && let Some(late) = self.late.take()
        {
            panic!("while a sink's panic went on: {late}");
        }
        for (index, place) in self.places.iter().enumerate() {
            let held = place.model.borrow().items.len();
            let hidden = Self::PROMISES.hidden;
            if let Some(owner) = &*place.owner.borrow() {
                assert_eq!(owner.len(), held, "the owner's length of {index}");
                assert_eq!(owner.is_empty(), held == 0);
            }
            if let Some(stealer) = place.stealers.borrow().first() {
                let visible = stealer.len();
                let least = match hidden {
                    Hidden::Nothing => held,
                    Hidden::Oldest(most) => held.saturating_sub(most),
                    Hidden::Newest if place.owner.borrow().is_none() => held,
                    Hidden::Newest => 0,
                };
                assert!(
                    (least..=held).contains(&visible),
                    "{visible} of {held} visible in {index}"
                );
                assert_eq!(stealer.is_empty(), visible == 0);
            }
        }
    }

    /// Drops all that is left. A destructor may make a new queue meanwhile.
    fn drop_everything(&self) {
        while self.places.iter().any(QueueUnderTest::is_used) {
            for index in 0..self.places.len() {
                self.owner_goes(index);
                self.stealers_go(index);
            }
        }
    }
}

impl<W: Subject> QueueUnderTest<W> {
    fn is_used(&self) -> bool {
        self.owner.borrow().is_some() || !self.stealers.borrow().is_empty()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Batch {
    Moves,
    KeepsOne,
    Forces,
}

/// Runs a program on one form. Returns what went wrong, and the calls up to there.
fn run<W: Subject<Item = Boxed>>(form: Form<W>, tape: &[u32]) -> Result<(), String> {
    let name = form.name.clone();
    let world = World::new(form, tape);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let inside = Rc::clone(&world);
        with_reaction(
            move |_| inside.run_reaction(),
            || {
                while !world.is_over() {
                    world.step();
                }
                world.drop_everything();
            },
        );
        world.ledger.close(&name);
    }));
    outcome.map_err(|payload| {
        let trace = world.trace.borrow().join("\n");
        format!("{name}: {}, after\n{trace}\n", panic_message(&*payload))
    })
}

/// Runs random programs on every form of a queue, and shrinks what fails.
fn search<W: Subject<Item = Boxed>>(test: &str, programs: u64) {
    let config = Config {
        cases: u32::try_from(programs).unwrap_or(u32::MAX),
        failure_persistence: None,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed().to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let forms = W::forms().len();
    let input = (0..forms, proptest::collection::vec(any::<u32>(), 0..500));
    let outcome = TestRunner::new_with_rng(config, rng).run(&input, |(form, tape)| {
        let form = W::forms().swap_remove(form);
        run(form, &tape).map_err(TestCaseError::fail)
    });
    if let Err(TestError::Fail(reason, _) | TestError::Abort(reason)) = outcome {
        panic!("{reason}\n{}", again(test));
    }
}

const EVERYDAY: u64 = 4_000;
const LONG: u64 = 100_000;

#[test]
fn random_programs_find_no_fault_with_chase_lev_lifo() {
    search::<ChaseLev<Boxed, Lifo>>("random_programs", scaled(EVERYDAY));
}

#[test]
fn random_programs_find_no_fault_with_chase_lev_fifo() {
    search::<ChaseLev<Boxed, Fifo>>("random_programs", scaled(EVERYDAY));
}

#[test]
fn random_programs_find_no_fault_with_ring() {
    search::<Ring<Boxed>>("random_programs", scaled(EVERYDAY));
}

#[test]
fn random_programs_find_no_fault_with_split() {
    search::<Split<Boxed>>("random_programs", scaled(EVERYDAY));
}

#[test]
#[ignore = "soak: a hundred thousand random programs for each queue"]
fn soak_random_programs_find_no_fault() {
    search::<ChaseLev<Boxed, Lifo>>("soak_random_programs", scaled(LONG));
    search::<ChaseLev<Boxed, Fifo>>("soak_random_programs", scaled(LONG));
    search::<Ring<Boxed>>("soak_random_programs", scaled(LONG));
    search::<Split<Boxed>>("soak_random_programs", scaled(LONG));
}
