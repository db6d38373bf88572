//! Goal: no wake is lost, and no worker burns time when there is nothing to do. Method: single
//! spawns with random gaps, one long task before many short ones, wakes of all workers, wakers on
//! foreign threads, and counters that must stand still when nothing happens.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/common.rs"]
mod support;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use stealyard::{Builder, Scheduler, SpinConfig};
use support::{soak, wait_until, workers};

fn gaps(scheduler: &Scheduler, rounds: u64) {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    for _ in 0..rounds {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // From "still spinning" over "about to sleep" to "asleep".
        for _ in 0..state % 3_000 {
            std::hint::spin_loop();
        }
        scheduler.spawn(async {}).join().unwrap();
    }
}

#[test]
fn w1_single_spawns_from_outside_with_random_gaps() {
    for count in [1, 2, 4] {
        gaps(&workers(count), 3_000 * soak() as u64);
        // Without spinning, nearly every spawn meets a worker on its way to sleep.
        let scheduler = Builder::new()
            .parallelism(count)
            .spin(SpinConfig::OFF)
            .build()
            .unwrap();
        gaps(&scheduler, 1_000 * soak() as u64);
    }
}

#[test]
fn w2_waking_everyone_in_vain_leaves_the_books_right() {
    let scheduler = workers(4);
    for _ in 0..200 {
        scheduler.idle().wake_all_workers();
        scheduler.idle().wake_worker(1);
        assert_eq!(scheduler.spawn(async { 3 }).join().unwrap(), 3);
    }
    wait_until(
        || scheduler.idle().sleeping() == 4,
        || format!("{:?}", scheduler.idle()),
    );
    assert_eq!(
        (scheduler.idle().searching(), scheduler.idle().joined()),
        (0, 4)
    );
    gaps(&scheduler, 500);
}

#[test]
fn w4_a_searcher_that_takes_a_long_task_is_succeeded() {
    for _ in 0..20 * soak() {
        let scheduler = workers(2);
        let (gate, done) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let held = Arc::clone(&gate);
        scheduler.spawn_detached(async move {
            while !held.load(Ordering::SeqCst) {
                std::hint::spin_loop();
            }
        });
        for _ in 0..100 {
            let done = Arc::clone(&done);
            scheduler.spawn_detached(async move {
                let _ = done.fetch_add(1, Ordering::SeqCst);
            });
        }
        wait_until(
            || done.load(Ordering::SeqCst) == 100,
            || format!("{:?}", scheduler.metrics()),
        );
        gate.store(true, Ordering::SeqCst);
    }
}

#[test]
fn w11_no_worker_stirs_when_there_is_nothing_to_do() {
    let scheduler = workers(4);
    for _ in 0..100 {
        scheduler
            .spawn(async { stealyard::spawn(async {}).await.unwrap() })
            .join()
            .unwrap();
    }
    wait_until(
        || scheduler.idle().sleeping() == 4,
        || format!("{:?}", scheduler.idle()),
    );
    // The monitor has its last looks for a while, then everything stands still.
    let moves = || {
        let total = scheduler.metrics().total();
        (total.parks, total.searches)
    };
    wait_until(
        || {
            let before = moves();
            std::thread::sleep(Duration::from_millis(100));
            before == moves()
        },
        || format!("{:?}", scheduler.metrics()),
    );
}

#[test]
fn w14_a_worker_that_searches_in_vain_goes_to_sleep_at_once() {
    let scheduler = workers(1);
    let total = || scheduler.metrics().total();
    let before = Cell::new(total());
    // Each round searches in vain, since the next task comes later than any search lasts. It has
    // learned that when most of a hundred sleeps had no spin before them; without learning, all of
    // them have.
    wait_until(
        || {
            for _ in 0..100 {
                scheduler.spawn(async {}).join().unwrap();
                std::thread::sleep(Duration::from_micros(300));
            }
            let (after, before) = (total(), before.replace(total()));
            let (waits, spins) = (after.parks - before.parks, after.spins - before.spins);
            spins <= waits / 4
        },
        || format!("{:?}", scheduler.metrics()),
    );
}

#[test]
fn a_task_alone_in_the_slot_of_a_busy_worker_runs_elsewhere() {
    for count in [2, 4] {
        let scheduler = workers(count);
        for _ in 0..10 {
            let rescued = scheduler.spawn(async {
                let ran = Arc::new(AtomicBool::new(false));
                let mark = Arc::clone(&ran);
                stealyard::spawn_detached(async move { mark.store(true, Ordering::SeqCst) });
                // This task never returns before the other has run.
                while !ran.load(Ordering::SeqCst) {
                    std::hint::spin_loop();
                }
            });
            rescued.join().unwrap();
        }
    }
}

#[test]
fn wakes_from_foreign_threads_arrive() {
    let scheduler = workers(2);
    let (wakers, polls) = (
        Arc::new(std::sync::Mutex::new(Vec::new())),
        Arc::new(AtomicU64::new(0)),
    );
    let (place, counter) = (Arc::clone(&wakers), Arc::clone(&polls));
    let goal = 2_000 * soak() as u64;
    let task = scheduler.spawn(std::future::poll_fn(move |context| {
        // Under the lock: a thread that has seen the last count finds the last waker.
        let mut place = place.lock().unwrap();
        let polls = counter.fetch_add(1, Ordering::SeqCst);
        if polls == goal {
            return std::task::Poll::Ready(());
        }
        place.push(context.waker().clone());
        std::task::Poll::Pending
    }));
    let foreign = std::thread::spawn(move || {
        while polls.load(Ordering::SeqCst) < goal {
            let woken = std::mem::take(&mut *wakers.lock().unwrap());
            woken.into_iter().for_each(std::task::Waker::wake);
        }
        for waker in wakers.lock().unwrap().drain(..) {
            waker.wake();
        }
    });
    foreign.join().unwrap();
    task.join().unwrap();
}
