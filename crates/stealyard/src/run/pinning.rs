//! Binding workers to their CPUs, and waiting for how that went.

use stealyard_sync::{Condvar, Mutex, unpoisoned};
use stealyard_topology::{PinError, Seat};

use crate::user_code::tell;

/// How binding one worker went: the worker and why not, if it failed.
type Pinned = Result<(), (usize, PinError)>;

/// Where workers say how binding went, when that matters.
#[derive(Default)]
pub(super) struct Pins {
    results: Mutex<Vec<Pinned>>,
    changed: Condvar,
}

impl Pins {
    /// Binds the calling thread, before it touches the memory it will work on, and reports how that
    /// went.
    pub(super) fn take_seat(&self, worker: usize, seat: Option<&Seat>) {
        let result = take_seat(worker, seat);
        unpoisoned::lock(&self.results).push(result);
        self.changed.notify_all();
    }

    /// Waits for so many workers. Returns the first failure.
    pub(super) fn wait_for(&self, count: usize) -> Pinned {
        let mut results = unpoisoned::lock(&self.results);
        while results.len() < count {
            results = unpoisoned::wait(&self.changed, results);
        }
        results.drain(..).collect()
    }
}

fn take_seat(worker: usize, seat: Option<&Seat>) -> Pinned {
    let Some(seat) = seat else { return Ok(()) };
    match seat.take() {
        Ok(_pinned) => Ok(()),
        Err(error) => {
            tell(|| tracing::warn!(worker, %error, "the worker could not be bound to its CPUs"));
            Err((worker, error))
        }
    }
}
