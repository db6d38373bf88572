//! Goal: what may cross threads, panics and moves, and what may not, for every public type.
//!
//! Method: a table, decided at compile time. What must be refused with a message is in `pins/`.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

use std::cell::{Cell, RefCell};
use std::marker::PhantomPinned;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::sync::MutexGuard;

use stealyard_task::fork_join::{Boards, JoinHost, JoinStack, JoinStackGuard};
use stealyard_task::running::{Code, Duty, DutyGuard, Inside};
use stealyard_task::user_code::{NoBlocking, Panic, Quiet};
use stealyard_task::{
    AbortHandle, JoinError, JoinHandle, LocalMemory, Payload, Ran, Schedule, Scope, StackJob, Task,
    TaskId, TaskMemory, Why,
};

/// A scheduler that runs nothing.
struct Home(TaskMemory<Self>);

// SAFETY: 1. the memory is a field; 2. none is lent; 3. no thread keeps it; 4. nothing unwinds.
unsafe impl Schedule for Home {
    fn schedule(&self, task: Task, _why: Why) {
        task.cancel();
    }

    fn memory(&self) -> &TaskMemory<Self> {
        &self.0
    }

    fn with_local<R>(&self, f: impl FnOnce(Option<&LocalMemory>) -> R) -> R {
        f(None)
    }
}

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

/// `Send`, `Sync`, `UnwindSafe`, `RefUnwindSafe`, `Unpin` and `Clone` of a type, in this order.
macro_rules! row {
    ($type:ty: $send:literal $sync:literal $unwind:literal $ref_unwind:literal $unpin:literal $clone:literal) => {
        const {
    assert!(has!($type: Send) == $send, "Send");
    assert!(has!($type: Sync) == $sync, "Sync");
    assert!(has!($type: UnwindSafe) == $unwind, "UnwindSafe");
    assert!(has!($type: RefUnwindSafe) == $ref_unwind, "RefUnwindSafe");
    assert!(has!($type: Unpin) == $unpin, "Unpin");
    assert!(has!($type: Clone) == $clone, "Clone");
        }
    };
}

#[test]
#[rustfmt::skip]
fn each_type_has_the_documented_auto_traits() {
    // In order:              Send  Sync  UnwindSafe RefUnwindSafe Unpin Clone
    // There is one `Task` of a task, whose holder runs it.
    row!(Task:                true  false true  true  true  false);
    row!(Ran:                 true  false true  true  true  false);
    row!(Why:                 true  true  true  true  true  true);
    row!(StackJob:            true  true  true  true  true  false);
    // The output is sent from the thread that ran the task to the handle's; the handle is no
    // reference to it.
    row!(JoinHandle<u8>:      true  true  true  true  true  false);
    row!(JoinHandle<Cell<u8>>: true true  true  true  true  false);
    row!(JoinHandle<RefCell<String>>: true true true true true false);
    row!(JoinHandle<PhantomPinned>: true true true true true false);
    row!(JoinHandle<Rc<u8>>:  false false true  true  true  false);
    row!(JoinHandle<MutexGuard<'static, u8>>: false false true true true false);
    row!(AbortHandle:         true  true  true  true  true  true);
    row!(TaskId:              true  true  true  true  true  true);
    // What a panic carried may be anything that is `Send`.
    row!(JoinError:           true  true  false false true  false);
    row!(Payload:             true  true  false false true  false);
    row!(Panic:               true  false false false true  false);
    row!(TaskMemory<Home>:    true  true  true  true  true  false);
    // A worker's own lists.
    row!(LocalMemory:         true  false false false true  false);
    row!(Scope<'static>:      true  true  true  true  true  false);
    row!(JoinStack:           true  true  false false true  false);
    row!(JoinStackGuard<'static>: false false false false true false);
    row!(Boards:              true  true  true  true  true  false);
    row!(dyn JoinHost:        false true  false false false false);
    row!(dyn JoinHost + Send: true  true  false false false false);
    row!(Quiet<u8>:           true  true  true  true  true  false);
    row!(Quiet<Rc<u8>>:       false false true  true  true  false);
    row!(Quiet<RefCell<u8>>:  true  false true  false true  false);
    row!(NoBlocking:          true  true  true  true  true  true);
    row!(Code:                true  true  true  true  true  true);
    row!(Inside:              true  true  true  true  true  true);
    row!(Duty:                true  true  true  true  true  true);
    row!(DutyGuard:           false false true  true  true  false);
}

/// A handle gives its output and takes none, so it may be taken for one of a shorter life.
fn a_join_handle_may_be_shortened<'a>(
    handle: JoinHandle<&'static u8>,
    _: &'a u8,
) -> JoinHandle<&'a u8> {
    handle
}

/// A guard only leaves what it entered.
fn a_guard_may_be_shortened<'a>(guard: JoinStackGuard<'static>, _: &'a u8) -> JoinStackGuard<'a> {
    guard
}

#[test]
fn lifetimes_may_be_shortened_where_nothing_is_put_in() {
    let _by_the_compiler = (a_join_handle_may_be_shortened, a_guard_may_be_shortened);
}

/// They are one or two words, so they are passed on in registers.
#[test]
fn handles_and_results_are_small() {
    let word = size_of::<usize>();
    assert_eq!(size_of::<Task>(), word);
    assert_eq!(size_of::<Option<Task>>(), word);
    assert_eq!(size_of::<JoinHandle<[u8; 100]>>(), word);
    assert_eq!(size_of::<AbortHandle>(), word);
    assert_eq!(size_of::<Option<TaskId>>(), 8);
    assert_eq!(size_of::<Result<usize, JoinError>>(), 2 * word);
}
