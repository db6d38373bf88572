//! The life of one pool thread. It runs its first job, then jobs from the queue, then waits idle
//! for more, and then ends.

use core::cell::Cell;
use core::ptr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use stealyard_sync::thread::current;
use stealyard_sync::{Arc, Mutex, MutexGuard, const_thread_local, unpoisoned};

use super::{Job, LockedState, PoolState, ThreadHook, join};
use crate::panics::discard;
use crate::parker::{ParkResult, Parker, Unparker};

/// The slot in which a thread gets its first job, and its next one while it is idle (T2). It also
/// holds the phase of the thread (T3).
pub(super) struct JobSlot {
    content: Mutex<SlotContent>,
    unparker: Unparker,
}

struct SlotContent {
    job: Option<Job>,
    phase: Phase,
    /// Whether the starter has promised a thread, by returning `Ok`.
    promised: bool,
}

/// The phase of a thread's body. It changes under the pool's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The body has not begun.
    Ready,
    /// The body has begun.
    Running,
    /// The body has ended.
    Ended,
    /// The body was dropped before it began, or must not begin any more.
    Gone,
}

impl JobSlot {
    pub(super) fn new(job: Job) -> (Arc<Self>, Parker) {
        let parker = Parker::new();
        parker.unparker().unpark();
        let slot = Arc::new(Self {
            content: Mutex::new(SlotContent {
                job: Some(job),
                phase: Phase::Ready,
                promised: false,
            }),
            unparker: parker.unparker(),
        });
        (slot, parker)
    }

    pub(super) fn give(&self, job: Job) {
        let before = self.content().job.replace(job);
        debug_assert!(before.is_none(), "T2: two jobs for one slot");
        self.wake();
    }

    pub(super) fn wake(&self) {
        self.unparker.unpark();
    }

    pub(super) fn take(&self) -> Option<Job> {
        self.content().job.take()
    }

    /// Notes that the starter has returned, and whether it promises a thread. Returns the phase of
    /// the body at that moment. Without a promise, a body that has not begun never will (T3).
    pub(super) fn start_is_over(&self, promised: bool) -> Phase {
        let mut content = self.content();
        content.promised = promised;
        let phase = content.phase;
        if phase == Phase::Ready && !promised {
            content.phase = Phase::Gone;
        }
        phase
    }

    /// Begins the body. Returns false if it must not begin.
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

    /// Notes that the body was dropped before it began. Returns the job if a thread was promised.
    /// If not, the caller of the starter takes the job back.
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

    fn content(&self) -> MutexGuard<'_, SlotContent> {
        unpoisoned::lock(&self.content)
    }
}

const_thread_local! {
    /// The pool that this thread has left. What still runs on the thread are the destructors of its
    /// thread-locals.
    static LEFT_POOL: Cell<*const PoolState> = Cell::new(ptr::null());
}

/// Whether the calling thread belonged to this pool and is about to end. Other threads may wait for
/// it, so it joins none (T6).
pub(super) fn has_left(shared: &PoolState) -> bool {
    LEFT_POOL
        .try_with(Cell::get)
        .is_ok_and(|left| ptr::eq(left, shared))
}

/// The body of a new thread. It notices when it is dropped instead of run.
pub(super) struct Body {
    shared: Arc<PoolState>,
    slot: Arc<JobSlot>,
    parker: Parker,
    number: usize,
    has_begun: bool,
}

impl Body {
    pub(super) fn new(
        shared: Arc<PoolState>,
        slot: Arc<JobSlot>,
        parker: Parker,
        number: usize,
    ) -> Self {
        Self {
            shared,
            slot,
            parker,
            number,
            has_begun: false,
        }
    }

    /// Runs the thread from its first job to its end.
    pub(super) fn run(mut self) {
        self.has_begun = true;
        let (shared, number) = (&*self.shared, self.number);
        {
            let mut state = shared.lock();
            if !self.slot.begin() {
                return; // the starter has returned an error before
            }
            state.bodies.insert(number, current().id());
        }
        hook(shared, shared.config.on_start.as_ref(), number);
        work(shared, &self.slot, &self.parker);
        hook(shared, shared.config.on_stop.as_ref(), number);
        LEFT_POOL.with(|left| left.set(shared));
        let before = {
            let mut state = shared.lock();
            state.bodies.remove(&number);
            state.leaving -= 1;
            self.slot.end();
            shared.changed.notify_all();
            // There is no handle yet if the call that started this thread has not returned. Then
            // that call puts the handle into `last_ended`.
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
        let Some(job) = self.slot.drop_body() else {
            return;
        };
        state.started -= 1;
        state.start_failed();
        self.shared.changed.notify_all();
        drop(state);
        drop(job); // runs a user's code, so the lock is free
    }
}

/// The next step of a thread that has become free.
enum Next {
    Run(Job),
    Wait,
    End,
}

/// Runs job after job until it is time to end.
fn work(shared: &PoolState, slot: &Arc<JobSlot>, parker: &Parker) {
    let mut next = Next::Wait; // the first job is in the slot (T3)
    loop {
        next = match next {
            Next::Run(job) => {
                guarded(shared, job);
                after_job(shared, slot)
            }
            Next::Wait => match wait(shared, slot, parker) {
                Some(job) => Next::Run(job),
                None => return,
            },
            Next::End => return,
        };
    }
}

/// Chooses the next step after a job: a queued job, the idle state, or, if the pool is closed, the
/// end (T1).
fn after_job(shared: &PoolState, slot: &Arc<JobSlot>) -> Next {
    let mut state = shared.lock();
    if let Some(job) = state.queue.pop_front() {
        return Next::Run(job);
    }
    if state.closed {
        leave(shared, &mut state);
        return Next::End;
    }
    state.idle.push(Arc::clone(slot));
    Next::Wait
}

/// Waits for a job in the slot. Returns `None` if the thread should end.
fn wait(shared: &PoolState, slot: &Arc<JobSlot>, parker: &Parker) -> Option<Job> {
    loop {
        let result = parker.park_timeout(shared.config.keep_alive);
        let mut state = shared.lock();
        // Under the lock, so that this and a removal from `idle` are one step (T2).
        if let Some(job) = slot.take() {
            return Some(job);
        }
        let listed = state.idle.iter().position(|idle| Arc::ptr_eq(idle, slot));
        let ends = match listed {
            Some(at) if result == ParkResult::TimedOut => {
                state.idle.remove(at);
                true
            }
            Some(_) => false, // a token from a job that was taken before the thread slept
            None => true,     // the pool is closed
        };
        if ends {
            // A job may have been queued because its own thread could not be started (T1).
            if let Some(job) = state.queue.pop_front() {
                return Some(job);
            }
            leave(shared, &mut state);
            return None;
        }
    }
}

/// Notes that the thread will not look at the queue again (T1, T6).
fn leave(shared: &PoolState, state: &mut LockedState) {
    state.threads -= 1;
    state.leaving += 1;
    shared.changed.notify_all();
}

/// Runs `body`. A panic is counted, and neither it nor a panic of its payload's destructor ends the
/// thread.
fn guarded(shared: &PoolState, body: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(body)) {
        shared.lock().panics += 1;
        discard(payload);
    }
}

/// Calls the hook, if there is one.
fn hook(shared: &PoolState, hook: Option<&ThreadHook>, number: usize) {
    if let Some(hook) = hook {
        guarded(shared, || hook(number));
    }
}
