//! Goal: in the child of a fork, where the scheduler has no workers, nothing is accepted that would never run, nothing
//! waits for ever, and a scheduler that is built there works.
//! Method: a process with a busy scheduler forks; the child does all that, and an alarm ends it if it hangs. A binary
//! of its own, with one test, so that no other test holds a lock in the moment of the fork.
#![cfg(unix)]
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

use std::panic::{AssertUnwindSafe, catch_unwind};

use stealyard::{Builder, JoinError, Scheduler, Shutdown};

/// The child's answer when all was right.
const RIGHT: i32 = 42;

#[test]
fn o9_a_forked_child_accepts_nothing_that_would_never_run() {
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
    let steps: [fn(&Scheduler) -> bool; 4] = [
        |scheduler| matches!(scheduler.spawn(async {}).join(), Err(JoinError::Cancelled)),
        |scheduler| {
            matches!(
                scheduler.spawn_blocking(|| 1).join(),
                Err(JoinError::Cancelled)
            )
        },
        |scheduler| catch_unwind(AssertUnwindSafe(|| scheduler.install(|| 1))).is_err(),
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
