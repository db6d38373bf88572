//! The life of one pool thread: job after job, then the queue, then idle, then the end.

use core::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use stealyard_sync::{Arc, Mutex};

use super::{Job, Shared, ThreadHook};
use crate::parker::{ParkResult, Parker, Unparker};

/// Where a thread gets its next job while it is idle (T2).
pub(super) struct Seat {
    job: Mutex<Option<Job>>,
    unparker: Unparker,
}

impl Seat {
    pub(super) fn new() -> (Arc<Self>, Parker) {
        let parker = Parker::new();
        let seat = Arc::new(Self {
            job: Mutex::new(None),
            unparker: parker.unparker(),
        });
        (seat, parker)
    }

    pub(super) fn give(&self, job: Job) {
        let before = self.slot().replace(job);
        debug_assert!(before.is_none(), "T2: two jobs for one seat");
        self.wake();
    }

    pub(super) fn wake(&self) {
        self.unparker.unpark();
    }

    pub(super) fn take(&self) -> Option<Job> {
        self.slot().take()
    }

    fn slot(&self) -> stealyard_sync::MutexGuard<'_, Option<Job>> {
        self.job
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What a thread that has become free does next.
enum Next {
    Run(Job),
    Wait,
    End,
}

/// The body of a pool thread.
pub(super) fn work(shared: &Shared, seat: &Arc<Seat>, parker: &Parker, number: usize) {
    hook(shared, shared.config.on_start.as_ref(), number);
    let mut next = Next::Wait; // its first job is in the seat (T3)
    loop {
        next = match next {
            Next::Run(job) => {
                guarded(shared, job);
                after_job(shared, seat)
            }
            Next::Wait => match wait(shared, seat, parker) {
                Some(job) => Next::Run(job),
                None => break,
            },
            Next::End => break,
        };
    }
    hook(shared, shared.config.on_stop.as_ref(), number);
    let before = {
        let mut state = shared.lock();
        let own = state.handles.remove(&number);
        core::mem::replace(&mut state.last_ended, own)
    };
    if let Some(before) = before {
        let _a_panic_was_counted = before.join();
    }
}

/// A queued job, or idle, or, when the pool is closed, the end (T1).
fn after_job(shared: &Shared, seat: &Arc<Seat>) -> Next {
    let mut state = shared.lock();
    if let Some(job) = state.queue.pop_front() {
        return Next::Run(job);
    }
    if state.closed {
        state.threads -= 1;
        shared.ended.notify_all();
        return Next::End;
    }
    state.idle.push(Arc::clone(seat));
    Next::Wait
}

/// Waits for a job in the seat; none if it is time to end.
fn wait(shared: &Shared, seat: &Arc<Seat>, parker: &Parker) -> Option<Job> {
    loop {
        let result = parker.park_timeout(shared.config.keep_alive);
        let mut state = shared.lock();
        // Under the lock, so that this and a removal from `idle` are one step (T2).
        if let Some(job) = seat.take() {
            return Some(job);
        }
        let listed = state.idle.iter().position(|idle| Arc::ptr_eq(idle, seat));
        let ends = match listed {
            Some(at) if result == ParkResult::TimedOut => {
                state.idle.remove(at);
                true
            }
            Some(_) => false, // a token left over from a job that was taken before it
            None => true,     // closed
        };
        if ends {
            debug_assert!(state.queue.is_empty(), "T1: a thread ends, a job waits");
            state.threads -= 1;
            shared.ended.notify_all();
            return None;
        }
    }
}

/// Runs `body`; a panic is counted and ends nothing.
fn guarded(shared: &Shared, body: impl FnOnce()) {
    let result: Result<(), Box<dyn Any + Send>> = catch_unwind(AssertUnwindSafe(body));
    if let Err(payload) = result {
        shared.lock().panics += 1;
        // A payload may panic when it is dropped; that must not end the thread either.
        let _again = catch_unwind(AssertUnwindSafe(move || drop(payload)));
    }
}

fn hook(shared: &Shared, hook: Option<&ThreadHook>, number: usize) {
    if let Some(hook) = hook {
        guarded(shared, || hook(number));
    }
}
