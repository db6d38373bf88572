//! What the tests of this folder share.
#![allow(dead_code, reason = "each test uses its part of it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use stealyard::{Builder, Scheduler};

/// A multiplier for long runs, from `STEALYARD_SOAK`.
pub(crate) fn soak() -> usize {
    std::env::var("STEALYARD_SOAK")
        .ok()
        .and_then(|factor| factor.parse().ok())
        .unwrap_or(1)
}

/// A scheduler with so many workers.
pub(crate) fn workers(count: usize) -> Scheduler {
    Builder::new().parallelism(count).build().unwrap()
}

/// Runs `test` with a scheduler of each number of workers.
pub(crate) fn with_workers(counts: &[usize], test: impl Fn(&Scheduler)) {
    for &count in counts {
        test(&workers(count));
    }
}

/// Waits for a condition that must come true; far longer than it can take, so that only a hang fails.
pub(crate) fn wait_until(condition: impl Fn() -> bool, state: impl Fn() -> String) {
    let began = Instant::now();
    while !condition() {
        let waited = began.elapsed();
        assert!(waited < Duration::from_secs(120), "it hangs: {}", state());
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Counts how many of the things that it gave out live, and how many have gone.
#[derive(Clone, Default)]
pub(crate) struct Census(Arc<Counts>);

#[derive(Default)]
struct Counts {
    born: AtomicUsize,
    died: AtomicUsize,
    finished: AtomicUsize,
}

impl Census {
    pub(crate) fn citizen(&self) -> Citizen {
        self.0.born.fetch_add(1, Ordering::SeqCst);
        Citizen(self.clone())
    }

    pub(crate) fn born(&self) -> usize {
        self.0.born.load(Ordering::SeqCst)
    }

    pub(crate) fn died(&self) -> usize {
        self.0.died.load(Ordering::SeqCst)
    }

    pub(crate) fn finished(&self) -> usize {
        self.0.finished.load(Ordering::SeqCst)
    }

    pub(crate) fn assert_nobody_is_left(&self) {
        assert_eq!(self.born(), self.died(), "born and died");
    }
}

/// Held by a task; counted when it goes.
pub(crate) struct Citizen(Census);

impl Citizen {
    /// The task has run to its end.
    pub(crate) fn finish(self) {
        self.0.0.finished.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Citizen {
    fn drop(&mut self) {
        self.0.0.died.fetch_add(1, Ordering::SeqCst);
    }
}
