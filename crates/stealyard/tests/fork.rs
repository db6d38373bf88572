//! Goal: in the child of a fork, where the scheduler has no workers, nothing is accepted that would
//! never run, nothing waits for ever, and a scheduler that is built there works. Method: a process
//! with a busy scheduler forks; the child does all that, and an alarm ends it if it hangs. A binary
//! of its own, with one test, so that no other test holds a lock in the moment of the fork.
#![cfg(unix)]
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

use std::panic::{AssertUnwindSafe, catch_unwind};

use std::sync::atomic::{AtomicUsize, Ordering};

use stealyard::{Builder, JoinError, Scheduler, Shutdown};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// How many errors were told.
static TOLD: AtomicUsize = AtomicUsize::new(0);

/// Counts the errors that this crate tells.
struct Counts;

impl Subscriber for Counts {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("stealyard") && *metadata.level() == Level::ERROR
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, _event: &Event<'_>) {
        TOLD.fetch_add(1, Ordering::SeqCst);
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

/// The child's answer when all was right.
const RIGHT: i32 = 42;

#[test]
fn o9_a_forked_child_accepts_nothing_that_would_never_run() {
    tracing::subscriber::set_global_default(Counts).unwrap();
    let scheduler = Builder::new().parallelism(2).build().unwrap();
    let other = Builder::new().parallelism(1).build().unwrap();
    for number in 0..10 {
        let task = scheduler.spawn(async move { number });
        assert_eq!(task.join().unwrap(), number);
        // SAFETY: 1. the child calls only what is written for it, and ends by `_exit`.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "{}", std::io::Error::last_os_error());
        if child == 0 {
            in_child(scheduler, other);
        }
        let mut status = 0;
        // SAFETY: 1. the pointer is to an integer of ours.
        let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(waited, child);
        assert!(libc::WIFEXITED(status), "ended by a signal: {status}");
        assert_eq!(libc::WEXITSTATUS(status), RIGHT, "the step that was wrong");
    }
    // The parent's own still works, and ends.
    assert_eq!(other.spawn_blocking(|| 7).join().unwrap(), 7);
    let report = scheduler.shutdown(Shutdown::Drain);
    assert_eq!((report.cancelled, report.workers_running), (0, 0));
}

fn in_child(scheduler: Scheduler, other: Scheduler) -> ! {
    // SAFETY: 1. it takes a number: after a minute the child hangs, and is ended.
    unsafe { libc::alarm(60) };
    let steps: [fn(&Scheduler) -> bool; 6] = [
        |scheduler| matches!(scheduler.spawn(async {}).join(), Err(JoinError::Cancelled)),
        |scheduler| {
            matches!(
                scheduler.spawn_blocking(|| 1).join(),
                Err(JoinError::Cancelled)
            )
        },
        |scheduler| catch_unwind(AssertUnwindSafe(|| scheduler.install(|| 1))).is_err(),
        |scheduler| {
            // A detached task has no handle to say that it was cancelled: an event does, and a
            // count.
            let before = scheduler.metrics().refused;
            scheduler.spawn_detached(async {});
            scheduler.metrics().refused == before + 1 && TOLD.load(Ordering::SeqCst) == 1
        },
        |scheduler| {
            // With a handle there is no event.
            drop(scheduler.spawn(async {}));
            TOLD.load(Ordering::SeqCst) == 1
        },
        |_| {
            let new = Builder::new().parallelism(2).build().unwrap();
            let there = new.block_on(async { stealyard::spawn(async { 6 * 7 }).await });
            there.is_ok_and(|answer| answer == 42) && new.install(|| 1) == 1
        },
    ];
    let wrong = steps.iter().position(|step| !step(&scheduler));
    drop(scheduler);
    let _report = other.shutdown(Shutdown::Drain);
    let code = wrong.map_or(RIGHT, |step| step as i32);
    // SAFETY: 1. it ends this process, without the parent's exit handlers.
    unsafe { libc::_exit(code) }
}
