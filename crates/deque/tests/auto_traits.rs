//! Goal: what may cross threads, and what may not (Q6). Method: every public type against the types that
//! break such bounds, decided at compile time.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, MutexGuard};

use stealyard_deque::{
    ChaseLev, ChaseLevStealer, Ring, RingStealer, Slot, Split, SplitStealer, Word,
};

fn is_send<T: ?Sized + Send>() {}
fn is_sync<T: ?Sized + Sync>() {}
fn is_word<T: Word>() {}

/// What is found where a type does not have the trait that was asked for.
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
    // What it holds need not be `Sync`: each item is in one place at a time.
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
fn q6_what_may_not_cross_threads_is_no_word() {
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
