//! Goal: what may cross threads, and what may not (Q6); what may be moved while it is pinned, and
//! what may be used after a panic was caught. Method: every public type against the types that
//! break such bounds, decided at compile time; then a table of all five automatic traits.
//!
//! # What crosses a caught panic
//! Every handle is `UnwindSafe` and `RefUnwindSafe`, whatever its items are, as `std::sync::mpsc`'s
//! are. The reasons are:
//! - No operation of a queue leaves it half changed when foreign code (a sink, an item's
//!   destructor) panics.
//! - No thread uses an item while it is inside a queue, so no panic can leave it half changed
//!   either.
//!
//! A worker that runs tasks under `catch_unwind` and lends them its queue relies on this. A
//! [`Steal`] *is* what was stolen, so it has the traits of its item.

use std::cell::Cell;
use std::marker::PhantomPinned;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::{Arc, MutexGuard};

use stealyard_deque::{
    Callers, Capacity, CapacityError, ChaseLev, ChaseLevStealer, Fifo, Hidden, LastPass, Lifo,
    MaxSteal, NeverSteal, Order, Progress, Promises, Ring, RingStealer, Slot, Split, SplitStealer,
    Steal, Word,
};

fn is_send<T: ?Sized + Send>() {}
fn is_sync<T: ?Sized + Sync>() {}
fn is_word<T: Word>() {}

/// The answer for a type that does not have the trait.
trait Otherwise {
    const HAS: bool = false;
}

impl<T: ?Sized> Otherwise for T {}

/// Fails to compile if the type has the trait: the inherent constant wins where its bound holds.
macro_rules! lacks {
    ($type:ty: $bound:path) => {{
        struct Ask<T: ?Sized>(core::marker::PhantomData<T>);
        #[expect(dead_code, reason = "it is there to be found if the bound holds")]
        impl<T: ?Sized + $bound> Ask<T> {
            const HAS: bool = true;
        }
        const { assert!(!<Ask<$type>>::HAS) }
    }};
}

#[test]
fn q6_the_owners_end_is_send_and_not_sync() {
    is_send::<Ring<Box<u8>>>();
    lacks!(Ring<Box<u8>>: Sync);
    lacks!(Ring<Box<u8>>: Clone);
    is_send::<Split<Box<Cell<u8>>>>();
    lacks!(Split<Box<u8>>: Sync);
    lacks!(Split<Box<u8>>: Clone);
    is_send::<ChaseLev<Box<Cell<u8>>>>();
    lacks!(ChaseLev<Box<u8>>: Sync);
    lacks!(ChaseLev<Box<u8>>: Clone);
    // An item need not be `Sync`: it is in one place at a time.
    is_send::<Ring<Box<Cell<u8>>>>();
}

#[test]
fn q6_the_thieves_ends_are_send_and_sync() {
    is_send::<RingStealer<Box<Cell<u8>>>>();
    is_sync::<RingStealer<Box<Cell<u8>>>>();
    is_send::<SplitStealer<Box<Cell<u8>>>>();
    is_sync::<SplitStealer<Box<Cell<u8>>>>();
    is_send::<ChaseLevStealer<Box<Cell<u8>>>>();
    is_sync::<ChaseLevStealer<Box<Cell<u8>>>>();
    is_send::<Slot<Box<Cell<u8>>>>();
    is_sync::<Slot<Box<Cell<u8>>>>();
}

#[test]
fn q6_types_that_may_not_cross_threads_are_no_words() {
    is_word::<Box<u8>>();
    is_word::<Box<Cell<u8>>>();
    lacks!(Box<Rc<u8>>: Word);
    lacks!(Rc<u8>: Word);
    lacks!(Arc<Cell<u8>>: Word);
    lacks!(&'static Cell<u8>: Word);
    lacks!(Box<MutexGuard<'static, u8>>: Word);
    lacks!(*const u8: Word);
    lacks!(u128: Word);
    // A fat pointer is two words.
    lacks!(Box<dyn Send>: Word);
}

/// Whether the type has the trait.
macro_rules! has {
    ($type:ty: $bound:path) => {{
        struct Ask<T: ?Sized>(core::marker::PhantomData<T>);
        impl<T: ?Sized + $bound> Ask<T> {
            const HAS: bool = true;
        }
        // The unit type has every trait, which shows that the answer can be yes.
        const { assert!(<Ask<()>>::HAS) }
        <Ask<$type>>::HAS
    }};
}

/// Lists the automatic traits of each type, in the order of their columns, by the name of the type.
macro_rules! table {
    ($($type:ty),* $(,)?) => {
        [$((stringify!($type), [
            has!($type: Send),
            has!($type: Sync),
            has!($type: Unpin),
            has!($type: UnwindSafe),
            has!($type: RefUnwindSafe),
        ])),*]
    };
}

/// An item of a user that lacks every automatic trait which an item may lack.
struct Traitless {
    _itself: NonNull<()>,
    _pinned: PhantomPinned,
    _borrowed: PhantomExclusive,
}

type PhantomExclusive = core::marker::PhantomData<(&'static mut u8, *const Cell<u8>)>;

// SAFETY: a pointer that is never followed.
unsafe impl Send for Traitless {}

// SAFETY:
// 1. The pointer is the whole value.
// 2. It has no destructor.
// 3. A pointer is `Copy`.
unsafe impl Word for Traitless {
    fn into_word(self) -> NonNull<()> {
        self._itself
    }

    unsafe fn from_word(word: NonNull<()>) -> Self {
        Self {
            _itself: word,
            _pinned: PhantomPinned,
            _borrowed: PhantomExclusive::default(),
        }
    }
}

/// An item type that has all five traits.
type Plain = Box<u8>;
/// An item type that is neither `Sync` nor `RefUnwindSafe`.
type Unshareable = Box<Cell<u8>>;
/// An item type that is not `UnwindSafe`.
type Exclusive = Box<&'static mut u8>;

const ALL: [bool; 5] = [true; 5];

fn differs<const N: usize>(table: [(&str, [bool; 5]); N], expected: [bool; 5]) -> Vec<String> {
    let wrong = table.into_iter().filter(|(_, has)| *has != expected);
    wrong
        .map(|(name, has)| {
            format!("{name} has {has:?}, of Send, Sync, Unpin, UnwindSafe, RefUnwindSafe; should: {expected:?}")
        })
        .collect()
}

#[test]
fn the_item_types_lack_the_traits_they_stand_for() {
    assert_eq!(table![Plain][0].1, ALL);
    assert_eq!(table![Unshareable][0].1, [true, false, true, true, false]);
    assert_eq!(table![Exclusive][0].1, [true, true, true, false, true]);
    assert_eq!(table![Traitless][0].1, [true, false, false, false, false]);
}

#[test]
#[cfg(not(any(stealyard_loom, stealyard_shuttle)))]
fn q6_handles_have_the_same_automatic_traits_whatever_their_items_have() {
    // All traits but `Sync`: an owner's methods assume one caller at a time.
    const OWNER: [bool; 5] = [true, false, true, true, true];
    let owners = table![
        ChaseLev<Plain, Lifo>, ChaseLev<Unshareable, Lifo>, ChaseLev<Exclusive, Lifo>, ChaseLev<Traitless, Lifo>,
        ChaseLev<Plain, Fifo>, ChaseLev<Unshareable, Fifo>, ChaseLev<Exclusive, Fifo>, ChaseLev<Traitless, Fifo>,
        Ring<Plain>, Ring<Unshareable>, Ring<Exclusive>, Ring<Traitless>,
        Split<Plain>, Split<Unshareable>, Split<Exclusive>, Split<Traitless>,
    ];
    let shared = table![
        ChaseLevStealer<Plain, Lifo>, ChaseLevStealer<Unshareable, Lifo>,
        ChaseLevStealer<Exclusive, Lifo>, ChaseLevStealer<Traitless, Lifo>,
        ChaseLevStealer<Plain, Fifo>, ChaseLevStealer<Unshareable, Fifo>,
        ChaseLevStealer<Exclusive, Fifo>, ChaseLevStealer<Traitless, Fifo>,
        RingStealer<Plain>, RingStealer<Unshareable>, RingStealer<Exclusive>, RingStealer<Traitless>,
        SplitStealer<Plain>, SplitStealer<Unshareable>, SplitStealer<Exclusive>, SplitStealer<Traitless>,
        Slot<Plain>, Slot<Unshareable>, Slot<Exclusive>, Slot<Traitless>,
    ];
    let mut wrong = differs(owners, OWNER);
    wrong.extend(differs(shared, ALL));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn q6_an_outcome_has_the_automatic_traits_of_its_item() {
    let outcomes = table![
        Steal<Plain>,
        Steal<Unshareable>,
        Steal<Exclusive>,
        Steal<Traitless>,
        Steal<Rc<u8>>
    ];
    let items = table![Plain, Unshareable, Exclusive, Traitless, Rc<u8>];
    assert_eq!(outcomes.map(|(_, has)| has), items.map(|(_, has)| has));
}

#[test]
fn q6_plain_data_has_every_automatic_trait() {
    let data = table![
        Callers,
        Capacity,
        CapacityError,
        Fifo,
        Hidden,
        LastPass,
        Lifo,
        MaxSteal,
        NeverSteal,
        Order,
        Progress,
        Promises,
    ];
    assert_eq!(differs(data, ALL), [""; 0]);
}

#[test]
#[cfg(all(feature = "conformance", not(any(stealyard_loom, stealyard_shuttle))))]
fn q6_types_of_the_conformance_suite_have_every_automatic_trait() {
    use stealyard_deque::conformance::{
        Call, Effort, History, Ledger, Record, Specification, Tally, Token, Violation,
    };
    let data = table![
        Call,
        Effort,
        History,
        Ledger,
        Record,
        Specification,
        Tally,
        Token,
        Violation,
    ];
    assert_eq!(differs(data, ALL), [""; 0]);
}
