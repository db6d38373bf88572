//! Planned panics, a watchdog, and the ledger.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use stealyard_sync::seed::Rng;

/// The time after which a call counts as hung.
pub(crate) const HANG: Duration = Duration::from_secs(120);

/// The payload of a panic that is part of a program.
pub(crate) struct Planned;

/// The same, with a destructor that panics with another such payload, without end. It has no size,
/// so that forgetting it leaks no memory.
pub(crate) struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            resume_unwind(Box::new(Self));
        }
    }
}

/// Unwinds without a message.
pub(crate) fn planned_panic() {
    resume_unwind(Box::new(Planned));
}

/// Keeps a value that is leaked on purpose reachable, so that a leak check reports only other
/// leaks.
pub(crate) fn keep(value: impl std::any::Any + Send) {
    static KEPT: Mutex<Vec<Box<dyn std::any::Any + Send>>> = Mutex::new(Vec::new());
    let mut kept = KEPT.lock().expect("no code panics under this lock");
    kept.push(Box::new(value));
}

/// Panics once in `one_in`, unless the thread is unwinding.
pub(crate) fn maybe_panic(rng: &mut Rng, one_in: u32) {
    if rng.below(one_in) == 0 && !std::thread::panicking() {
        planned_panic();
    }
}

/// Runs `body`. A planned panic ends here, and any other panic goes on.
pub(crate) fn quietly<R>(body: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => Some(result),
        Err(payload) if payload.is::<Planned>() => None,
        Err(payload) => resume_unwind(payload),
    }
}

pub(crate) fn until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < HANG, "the condition never comes true");
        std::thread::yield_now();
    }
}

/// Counts the entries that were made, run and dropped.
#[derive(Default)]
pub(crate) struct Ledger {
    made: AtomicUsize,
    ended: AtomicUsize,
    twice: AtomicUsize,
}

impl Ledger {
    pub(crate) fn entry(self: &Arc<Self>) -> Entry {
        self.made.fetch_add(1, Ordering::Relaxed);
        Entry {
            ledger: Arc::clone(self),
            live: Box::new(true),
        }
    }

    pub(crate) fn assert_settled(&self) {
        assert_eq!(self.twice.load(Ordering::Relaxed), 0, "ended twice");
        let (made, ended) = (&self.made, &self.ended);
        until(|| made.load(Ordering::Relaxed) == ended.load(Ordering::Relaxed));
    }
}

pub(crate) struct Entry {
    ledger: Arc<Ledger>,
    live: Box<bool>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if std::mem::replace(&mut *self.live, false) {
            self.ledger.ended.fetch_add(1, Ordering::Relaxed);
        } else {
            self.ledger.twice.fetch_add(1, Ordering::Relaxed);
        }
    }
}
