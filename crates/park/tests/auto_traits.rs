//! Goal: each public type may cross threads, panics and moves, or may not, as documented (risk
//! W15).
//!
//! Method: a table of every public type, checked at compile time.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

use std::cell::RefCell;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;

use stealyard_park::idle::{Active, Parking, Recheck, Searching, Sleeping, Woken};
use stealyard_park::pool::{
    OsThreads, Placed, PoolConfigError, PoolStats, Refused, RefusedReason, ShutdownResult,
};
use stealyard_park::{
    EventCount, Idle, MostRecent, Nearest, NotSquare, ParkResult, Parker, PoolConfig, Sleeper,
    SleeperSet, Spin, SpinConfig, ThreadPool, Unparker, Waiting,
};

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
fn w15_each_type_has_the_documented_auto_traits() {
    // In order:            Send  Sync  UnwindSafe RefUnwindSafe Unpin
    // One thread parks at a time.
    row!(Parker:            true  false true  true  true);
    row!(Unparker:          true  true  true  true  true);
    row!(ParkResult:        true  true  true  true  true);
    row!(EventCount:        true  true  true  true  true);
    row!(Waiting<'static>:  true  true  true  true  true);
    row!(Idle:              true  true  true  true  true);
    row!(Active:            true  true  true  true  true);
    row!(Searching:         true  true  true  true  true);
    row!(Parking:           true  true  true  true  true);
    row!(Sleeping:          true  true  true  true  true);
    row!(Woken:             true  true  true  true  true);
    // The work that the look has found is a type of the caller.
    row!(Recheck<u8>:       true  true  true  true  true);
    row!(Recheck<Rc<u8>>:   false false true  true  true);
    row!(Recheck<RefCell<u8>>: true false true false true);
    row!(Recheck<&'static RefCell<u8>>: false false false false true);
    row!(SleeperSet<'static>: true true true  true  true);
    row!(Sleeper:           true  true  true  true  true);
    row!(MostRecent:        true  true  true  true  true);
    row!(Nearest:           true  true  true  true  true);
    row!(NotSquare:         true  true  true  true  true);
    row!(Spin:              true  true  true  true  true);
    row!(SpinConfig:        true  true  true  true  true);
    row!(ThreadPool:        true  true  true  true  true);
    // Hooks are types of the user.
    row!(PoolConfig:        true  true  false false true);
    row!(PoolConfigError:   true  true  true  true  true);
    row!(PoolStats:         true  true  true  true  true);
    row!(OsThreads:         true  true  true  true  true);
    // A job is a type of the user, and an `io::Error` may hold anything.
    row!(Refused:           true  false false false true);
    row!(RefusedReason:     true  true  false false true);
    row!(Placed:            true  true  false false true);
    row!(ShutdownResult:    true  true  true  true  true);
}

/// Lifetimes may be shortened, because no value is put into these types through a reference.
#[test]
fn w15_lifetimes_may_be_shortened() {
    fn waiting<'a>(waiting: Waiting<'static>) -> Waiting<'a> {
        waiting
    }
    fn sleeper_set<'a>(set: SleeperSet<'static>) -> SleeperSet<'a> {
        set
    }
    fn recheck<'a>(result: Recheck<&'static str>) -> Recheck<&'a str> {
        result
    }
    let _compiled = (
        waiting as fn(Waiting<'static>) -> _,
        sleeper_set as fn(SleeperSet<'static>) -> _,
        recheck as fn(Recheck<&'static str>) -> _,
    );
}
