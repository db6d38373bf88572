//! Tells a hang from a wait: ends the process with a message if it is not dropped in time.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

/// Barks when the time is up.
pub(crate) struct Watchdog {
    alive: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// The limit is far longer than what is watched can take.
    pub(crate) fn new(limit: Duration, what: impl Into<String>) -> Self {
        let (alive, ended) = mpsc::channel();
        let what = what.into();
        let thread = std::thread::spawn(move || {
            if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                eprintln!("it hangs after {limit:?}: {what}");
                std::process::abort();
            }
        });
        Self {
            alive: Some(alive),
            thread: Some(thread),
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}
