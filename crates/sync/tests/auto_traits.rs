//! Goal: each type may cross threads, panics and moves, or may not, as documented.
//!
//! Method: a table of every public type of this crate's own, checked at compile time. The other
//! types belong to `core`, `std` and crossbeam.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;

use stealyard_sync::asymmetric::Mode;
use stealyard_sync::cell::UnsafeCell;
use stealyard_sync::seed::Rng;

/// The constant that is found if a type does not have the trait in question.
///
/// It begins with an underscore because one of the two constants is never read.
trait Otherwise {
    const _HAS: bool = false;
}

impl<T: ?Sized> Otherwise for T {}

/// Whether the type has the trait. The inherent constant wins where its bound holds.
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
fn each_type_has_the_documented_auto_traits() {
    // In order:           Send  Sync  UnwindSafe RefUnwindSafe Unpin
    row!(UnsafeCell<u8>:     true  false true  false true);
    row!(UnsafeCell<Rc<u8>>: false false true  false true);
    row!(Mode:               true  true  true  true  true);
    row!(Rng:                true  true  true  true  true);
}
