//! The life of one pool thread: job after job, then the queue, then idle, then the end.

use core::cell::Cell;
use core::ptr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use stealyard_sync::thread::current;
use stealyard_sync::{Arc, Mutex, MutexGuard, const_thread_local};

use super::{Job, Shared, State, ThreadHook, join};
use crate::panics::discard;
use crate::parker::{ParkResult, Parker, Unparker};

/// Where a thread gets its next job while it is idle (T2), and how far it has come (T3).
pub(super) struct Seat {
    content: Mutex<Content>,
    unparker: Unparker,
}

struct Content {
    job: Option<Job>,
    phase: Phase,
    /// Whether the starter has promised a thread.
    promised: bool,
}

/// How far the body of a thread has come. Changed under the pool's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has not begun.
    Ready,
    /// It has begun.
    Running,
    /// It has done all it had to.
    Ended,
    /// It was dropped before it began, or is not to begin any more.
    Gone,
}

impl Seat {
    pub(super) fn new(job: Job) -> (Arc<Self>, Parker) {
        let parker = Parker::new();
        parker.unparker().unpark();
        let seat = Arc::new(Self {
            content: Mutex::new(Content {
                job: Some(job),
                phase: Phase::Ready,
                promised: false,
            }),
            unparker: parker.unparker(),
        });
        (seat, parker)
    }

    pub(super) fn give(&self, job: Job) {
        let before = self.content().job.replace(job);
        debug_assert!(before.is_none(), "T2: two jobs for one seat");
        self.wake();
    }

    pub(super) fn wake(&self) {
        self.unparker.unpark();
    }

    pub(super) fn take(&self) -> Option<Job> {
        self.content().job.take()
    }

    /// The starter has returned, and promises a thread or not. Returns how far the body was then; it begins no
    /// more without a promise (T3).
    pub(super) fn start_is_over(&self, promised: bool) -> Phase {
        let mut content = self.content();
        content.promised = promised;
        let phase = content.phase;
        if phase == Phase::Ready && !promised {
            content.phase = Phase::Gone;
        }
        phase
    }

    /// The body begins; false if it must not.
    fn begin(&self) -> bool {
        let mut content = self.content();
        let ready = content.phase == Phase::Ready;
        if ready {
            content.phase = Phase::Running;
        }
        ready
    }

    fn end(&self) {
        self.content().phase = Phase::Ended;
    }

    /// The body was dropped and has not begun. Returns the job if a thread was promised; if not, the caller of the
    /// starter takes it back.
    fn drop_body(&self) -> Option<Job> {
        let mut content = self.content();
        if content.phase != Phase::Ready {
            return None;
        }
        content.phase = Phase::Gone;
        if content.promised {
            content.job.take()
        } else {
            None
        }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

const_thread_local! {
    /// The pool that this thread has left; what runs on it now are the destructors of its thread-locals.
    static LEFT: Cell<*const Shared> = Cell::new(ptr::null());
}

/// Whether the calling thread was one of this pool's and ends: others may wait for it, so it joins none (T6).
pub(super) fn has_left(shared: &Shared) -> bool {
    LEFT.try_with(Cell::get)
        .is_ok_and(|left| ptr::eq(left, shared))
}

/// What a new thread is to run. It notices when it is dropped instead.
pub(super) struct Body {
    shared: Arc<Shared>,
    seat: Arc<Seat>,
    parker: Parker,
    number: usize,
    has_begun: bool,
}

impl Body {
    pub(super) fn new(shared: Arc<Shared>, seat: Arc<Seat>, parker: Parker, number: usize) -> Self {
        Self {
            shared,
            seat,
            parker,
            number,
            has_begun: false,
        }
    }

    /// The life of the thread.
    pub(super) fn run(mut self) {
        self.has_begun = true;
        let (shared, number) = (&*self.shared, self.number);
        {
            let mut state = shared.lock();
            if !self.seat.begin() {
                return; // the starter has said that it would not
            }
            state.bodies.insert(number, current().id());
        }
        hook(shared, shared.config.on_start.as_ref(), number);
        work(shared, &self.seat, &self.parker);
        hook(shared, shared.config.on_stop.as_ref(), number);
        LEFT.with(|left| left.set(shared));
        let before = {
            let mut state = shared.lock();
            state.bodies.remove(&number);
            state.leaving -= 1;
            self.seat.end();
            shared.changed.notify_all();
            // There is none yet if the call that started us has not returned: that puts it there then.
            let own = state.handles.remove(&number);
            own.and_then(|own| state.last_ended.replace(own))
        };
        before.into_iter().for_each(join);
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if self.has_begun || self.shared.is_copy() {
            return;
        }
        let mut state = self.shared.lock();
        let Some(job) = self.seat.drop_body() else {
            return;
        };
        state.started -= 1;
        state.start_failed();
        self.shared.changed.notify_all();
        drop(state);
        drop(job); // a user's code: the lock is free
    }
}

/// What a thread that has become free does next.
enum Next {
    Run(Job),
    Wait,
    End,
}

/// Runs job after job until it is time to end.
fn work(shared: &Shared, seat: &Arc<Seat>, parker: &Parker) {
    let mut next = Next::Wait; // its first job is in the seat (T3)
    loop {
        next = match next {
            Next::Run(job) => {
                guarded(shared, job);
                after_job(shared, seat)
            }
            Next::Wait => match wait(shared, seat, parker) {
                Some(job) => Next::Run(job),
                None => return,
            },
            Next::End => return,
        };
    }
}

/// A queued job, or idle, or, when the pool is closed, the end (T1).
fn after_job(shared: &Shared, seat: &Arc<Seat>) -> Next {
    let mut state = shared.lock();
    if let Some(job) = state.queue.pop_front() {
        return Next::Run(job);
    }
    if state.closed {
        leave(shared, &mut state);
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
            // A job may have been left to us when its own thread could not be started (T1).
            if let Some(job) = state.queue.pop_front() {
                return Some(job);
            }
            leave(shared, &mut state);
            return None;
        }
    }
}

/// The thread looks at the queue no more (T1, T6).
fn leave(shared: &Shared, state: &mut State) {
    state.threads -= 1;
    state.leaving += 1;
    shared.changed.notify_all();
}

/// Runs `body`; a panic is counted and ends nothing, nor does one of the payload's destructor.
fn guarded(shared: &Shared, body: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(body)) {
        shared.lock().panics += 1;
        discard(payload);
    }
}

fn hook(shared: &Shared, hook: Option<&ThreadHook>, number: usize) {
    if let Some(hook) = hook {
        guarded(shared, || hook(number));
    }
}
