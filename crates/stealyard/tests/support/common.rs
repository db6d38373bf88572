//! What the tests of this folder share.
#![allow(dead_code, reason = "each test uses its part of it")]

use std::time::{Duration, Instant};

use stealyard::{Builder, Scheduler};

/// A multiplier for long runs, from `STEALYARD_SOAK`.
pub(crate) fn soak() -> usize {
    std::env::var("STEALYARD_SOAK")
        .ok()
        .and_then(|factor| factor.parse().ok())
        .unwrap_or(1)
}

/// Runs `test` with a scheduler of each number of workers.
pub(crate) fn with_workers(counts: &[usize], test: impl Fn(&Scheduler)) {
    for &workers in counts {
        let scheduler = Builder::new().parallelism(workers).build().unwrap();
        test(&scheduler);
    }
}

/// Waits for a condition that must come true; far longer than it can take, so that only a hang fails.
pub(crate) fn wait_until(condition: impl Fn() -> bool, state: impl Fn() -> String) {
    let began = Instant::now();
    while !condition() {
        assert!(
            began.elapsed() < Duration::from_secs(120),
            "it hangs: {}",
            state()
        );
        std::thread::sleep(Duration::from_micros(200));
    }
}
