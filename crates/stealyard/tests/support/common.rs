//! What the tests of this folder share.
#![allow(dead_code, reason = "each test uses its part of it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use stealyard::{Builder, Scheduler, Topology};

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

/// Waits for a condition that must come true; far longer than it can take, so that only a hang
/// fails.
pub(crate) fn wait_until(condition: impl Fn() -> bool, state: impl Fn() -> String) {
    let began = Instant::now();
    while !condition() {
        let waited = began.elapsed();
        assert!(waited < Duration::from_secs(120), "it hangs: {}", state());
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Runs `test` on a thread of its own, which must end: a hang fails instead of going on.
pub(crate) fn ends<R: Send + 'static>(what: &str, test: impl FnOnce() -> R + Send + 'static) -> R {
    let thread = std::thread::Builder::new()
        .name("test-0".to_owned())
        .spawn(test);
    let thread = thread.unwrap();
    wait_until(|| thread.is_finished(), || what.to_owned());
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Silences the messages of panics that say "on purpose", that a test expects, or that carry no
/// text.
pub(crate) fn silence() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let expected = |text: &str| {
                let parts = ["on purpose", " was called ", "spawn_local: ", "install: "];
                parts.iter().any(|part| text.contains(part))
            };
            if info.payload_as_str().is_some_and(|text| !expected(text)) {
                loud(info);
            }
        }));
    });
}

/// The text of a panic.
pub(crate) fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    match panic.downcast_ref::<&str>() {
        Some(text) => (*text).to_owned(),
        None => panic.downcast_ref::<String>().cloned().unwrap_or_default(),
    }
}

/// The number of workers for tests of what depends on it.
pub(crate) const FEW_AND_MANY: [usize; 4] = [1, 2, 3, 8];

/// Four nodes of two CPUs; node 1 is nearer to node 0 than 2 and 3 are.
pub(crate) fn four_node_machine() -> Topology {
    let near_and_far = [
        [10, 15, 30, 30],
        [15, 10, 30, 30],
        [30, 30, 10, 15],
        [30, 30, 15, 10],
    ];
    let rows: Vec<Vec<u32>> = near_and_far.iter().map(|row| row.to_vec()).collect();
    let machine = Topology::synthetic("pack:4 [numa] l3:1 core:2 pu:1").unwrap();
    machine.with_node_distances(&rows).unwrap()
}

/// The number at the end of this thread's name.
pub(crate) fn worker() -> usize {
    let name = std::thread::current()
        .name()
        .map(str::to_owned)
        .unwrap_or_default();
    name.rsplit('-')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(usize::MAX)
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

    pub(crate) fn assert_none_is_left(&self) {
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
