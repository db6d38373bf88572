//! Goal: what may cross threads and unwinding, what may be moved when pinned, and which way
//! lifetimes may change, for every public type; and what may not. Method: a table, decided at
//! compile time; what must be refused with a message is in `pins/`.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

use std::cell::{Cell, RefCell};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::sync::MutexGuard;

use stealyard::policy::Turn;
use stealyard::*;

fn is_send<T: ?Sized + Send>() {}
fn is_sync<T: ?Sized + Sync>() {}
fn is_unpin<T: ?Sized + Unpin>() {}
fn is_unwind_safe<T: ?Sized + UnwindSafe + RefUnwindSafe>() {}

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

/// All that goes everywhere.
macro_rules! goes_anywhere {
    ($($type:ty),+ $(,)?) => {
        $(
            is_send::<$type>();
            is_sync::<$type>();
            is_unpin::<$type>();
        )+
    };
}

#[test]
fn values_and_handles_go_anywhere() {
    goes_anywhere!(
        AbortHandle,
        BuildError,
        Builder,
        Config,
        CustomQueue,
        GlobalInterval,
        Handle,
        Histogram,
        Hooks,
        JoinError,
        JoinHandle<u8>,
        LocalQueue,
        Longest,
        Metrics,
        Nearest,
        NoScheduler,
        NoSuchPlace,
        Order,
        Payload,
        PinFailure,
        Place,
        Placement,
        Random,
        Scheduler,
        Scope<'static>,
        Shutdown,
        ShutdownReport,
        SpinConfig,
        StealAmount,
        Sticky,
        TaskId,
        Topology,
        Weighted,
        WorkerMetrics,
        YieldNow,
    );
    // There is one `Task` of a task, whose holder runs it.
    is_send::<Task>();
    lacks!(Task: Sync);
    lacks!(Task: Clone);
    is_send::<dyn StealPolicy>();
    is_sync::<dyn StealPolicy>();
    is_send::<PanicHook>();
    is_send::<WorkerHook>();
}

#[test]
fn guards_and_turns_stay_on_their_thread() {
    is_unpin::<EnterGuard>();
    lacks!(EnterGuard: Send);
    lacks!(EnterGuard: Sync);
    lacks!(EnterGuard: Clone);
    lacks!(Turn<'static>: Send);
    lacks!(Turn<'static>: Sync);
}

/// The output is sent from the thread that ran the task to the handle's; the handle itself is no
/// reference to it.
#[test]
fn a_join_handle_has_the_auto_traits_of_its_output() {
    goes_anywhere!(
        JoinHandle<Box<u8>>,
        JoinHandle<Cell<u8>>,
        JoinHandle<RefCell<String>>
    );
    lacks!(JoinHandle<Rc<u8>>: Send);
    lacks!(JoinHandle<Rc<u8>>: Sync);
    lacks!(JoinHandle<MutexGuard<'static, u8>>: Send);
    is_unpin::<JoinHandle<core::marker::PhantomPinned>>();
    is_unwind_safe::<JoinHandle<Cell<&'static mut u8>>>();
    lacks!(JoinHandle<u8>: Clone);
    // Whatever the output is, its task may be aborted from anywhere.
    is_unwind_safe::<AbortHandle>();
}

#[test]
fn types_that_are_unwind_safe() {
    is_unwind_safe::<EnterGuard>();
    is_unwind_safe::<Scope<'static>>();
    is_unwind_safe::<TaskId>();
    is_unwind_safe::<Shutdown>();
    is_unwind_safe::<ShutdownReport>();
    is_unwind_safe::<NoScheduler>();
    is_unwind_safe::<Place>();
    is_unwind_safe::<Metrics>();
    is_unwind_safe::<Histogram>();
    is_unwind_safe::<YieldNow>();
    is_unwind_safe::<Handle>();
    is_unwind_safe::<Scheduler>();
    // What a panic carried may be anything.
    lacks!(Payload: UnwindSafe);
    lacks!(JoinError: UnwindSafe);
}

/// A handle gives its output and takes none, so it may be taken for one of a shorter life.
fn a_join_handle_may_be_shortened<'a>(
    handle: JoinHandle<&'static u8>,
    _: &'a u8,
) -> JoinHandle<&'a u8> {
    handle
}

/// So may a question to a policy, which it only reads.
fn a_turn_may_be_shortened<'a>(turn: Turn<'static>, _: &'a u8) -> Turn<'a> {
    turn
}

#[test]
fn lifetimes_may_be_shortened_where_nothing_is_put_in() {
    // The compiler has checked them.
    let _ = (a_join_handle_may_be_shortened, a_turn_may_be_shortened);
}

/// They are one or two words, so they are passed on in registers.
#[test]
fn handles_and_results_are_small() {
    let word = size_of::<usize>();
    assert_eq!(size_of::<JoinHandle<[u8; 100]>>(), word);
    assert_eq!(size_of::<AbortHandle>(), word);
    assert_eq!(size_of::<Handle>(), word);
    assert_eq!(size_of::<Option<TaskId>>(), 8);
    assert_eq!(size_of::<Result<usize, JoinError>>(), 2 * word);
}
