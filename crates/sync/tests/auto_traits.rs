//! Goal: what may cross threads, panics and moves, and what may not. Method: a table of every public type of this
//! crate's own, decided at compile time; the rest are `core`'s, `std`'s and crossbeam's.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;

use stealyard_sync::asymmetric::Mode;
use stealyard_sync::cell::UnsafeCell;
use stealyard_sync::seed::Rng;

/// What is found where a type does not have the trait that was asked for.
///
/// The underscore: one of the two constants is never read.
trait Otherwise {
    const _HAS: bool = false;
}

impl<T: ?Sized> Otherwise for T {}

/// Whether the type has the trait: the inherent constant wins where its bound holds.
macro_rules! has {
    ($type:ty: $bound:path) => {{
        struct Ask<T: ?Sized>(core::marker::PhantomData<T>);
        impl<T: ?Sized + $bound> Ask<T> {
            const _HAS: bool = true;
        }
        <Ask<$type>>::_HAS
    }};
}

/// `Send`, `Sync`, `UnwindSafe`, `RefUnwindSafe` and `Unpin` of a type, in this order.
macro_rules! row {
    ($type:ty: $send:literal $sync:literal $unwind:literal $ref_unwind:literal $unpin:literal) => {
        const {
    assert!(has!($type: Send) == $send, "Send");
    assert!(has!($type: Sync) == $sync, "Sync");
    assert!(has!($type: UnwindSafe) == $unwind, "UnwindSafe");
    assert!(has!($type: RefUnwindSafe) == $ref_unwind, "RefUnwindSafe");
    assert!(has!($type: Unpin) == $unpin, "Unpin");
        }
    };
}

#[test]
fn what_each_type_may_do() {
    // In order:           Send  Sync  UnwindSafe RefUnwindSafe Unpin
    row!(UnsafeCell<u8>:     true  false true  false true);
    row!(UnsafeCell<Rc<u8>>: false false true  false true);
    row!(Mode:               true  true  true  true  true);
    row!(Rng:                true  true  true  true  true);
}
