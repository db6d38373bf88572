//! Goal: what an executor tells of its threads decides where a call may block, and whom a panic
//! that is no task's result is told to; and a report that panics itself leaves no join or scope
//! half done.
//!
//! Method: every duty with everything that a thread can be inside of, against a table; values whose
//! destructors panic, dropped by a scope on a thread whose report panics.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[expect(dead_code, reason = "it serves `task.rs`, too")]
#[path = "support/by_hand.rs"]
mod by_hand;
#[path = "support/quietly.rs"]
mod quietly;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicUsize, Ordering};

use by_hand::Scheduler;
use quietly::quietly;
use stealyard_task::running::{Code, Duty, duty, enter_duty, report_to, within};
use stealyard_task::scope;
use stealyard_task::user_code::{NoBlocking, Panic, drop_unwanted};

const DUTIES: [Duty; 4] = [Duty::None, Duty::Worker, Duty::Call, Duty::CallOnWorker];
const CODES: [Code; 8] = [
    Code::Destructor,
    Code::Policy,
    Code::OnStart,
    Code::OnStop,
    Code::OnPark,
    Code::OnUnpark,
    Code::OnPanic,
    Code::Subscriber,
];

/// Returns what `NoBlocking::here` says inside a task that is run with this duty.
fn inside_a_task(duty: Duty) -> Option<NoBlocking> {
    let scheduler = Scheduler::new();
    let handle = scheduler.spawn_call(NoBlocking::here);
    {
        let _duty = enter_duty(duty);
        scheduler.run();
    }
    let here = handle.join().unwrap();
    scheduler.finish();
    here
}

#[test]
fn t17_a_call_may_block_where_the_threads_duty_and_its_code_allow_it() {
    for duty in DUTIES {
        let is_worker = matches!(duty, Duty::Worker | Duty::CallOnWorker);
        let outside = {
            let _duty = enter_duty(duty);
            NoBlocking::here()
        };
        assert_eq!(outside, is_worker.then_some(NoBlocking::Worker), "{duty:?}");
        let task = match duty {
            Duty::None | Duty::Worker => Some(NoBlocking::Task),
            Duty::Call => None,
            Duty::CallOnWorker => Some(NoBlocking::CallOnWorker),
        };
        assert_eq!(inside_a_task(duty), task, "{duty:?}");
        for code in CODES {
            let _duty = enter_duty(duty);
            let is_hook = !matches!(code, Code::Destructor | Code::Policy | Code::Subscriber);
            let expected = (is_hook || is_worker).then_some(NoBlocking::Code(code));
            assert_eq!(
                within(code, NoBlocking::here),
                expected,
                "{duty:?} {code:?}"
            );
        }
    }
}

#[test]
fn a_duty_ends_with_its_guard() {
    assert_eq!(duty(), Duty::None);
    let worker = enter_duty(Duty::Worker);
    let call = enter_duty(Duty::CallOnWorker);
    assert_eq!(duty(), Duty::CallOnWorker);
    drop(call);
    assert_eq!(duty(), Duty::Worker);
    std::thread::scope(|threads| {
        // Another thread has a duty of its own.
        threads.spawn(|| assert_eq!(duty(), Duty::None));
    });
    drop(worker);
    assert_eq!(duty(), Duty::None);
}

thread_local! {
    static REPORTED: Cell<usize> = const { Cell::new(0) };
}

/// Counts the panic, and panics itself.
fn fragile_report(panic: Panic) {
    REPORTED.set(REPORTED.get() + 1);
    drop(panic);
    panic_any("report");
}

/// A value whose destructor panics.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic_any("bomb");
    }
}

#[test]
fn t5_a_report_that_panics_ends_no_scope_before_its_jobs() {
    quietly(|| {
        report_to(fragile_report);
        let ran = AtomicUsize::new(0);
        let result = catch_unwind(AssertUnwindSafe(|| {
            scope(|scope| {
                scope.spawn(|_| panic_any("first"));
                // Its payload is dropped by the scope, since there was a panic before.
                scope.spawn(|_| panic_any(Bomb));
                // Ordering: Relaxed; one thread.
                scope.spawn(|_| _ = ran.fetch_add(1, Ordering::Relaxed));
            });
        }));
        assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "first");
        assert_eq!(ran.into_inner(), 1, "the last job ran");
        assert_eq!(REPORTED.get(), 1);
        drop_unwanted(Bomb);
        assert_eq!(REPORTED.get(), 2);
    });
}
