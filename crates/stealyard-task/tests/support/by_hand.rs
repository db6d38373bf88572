//! A scheduler for tests: one queue that the test runs by hand, and values that count.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{RawWaker, RawWakerVTable, Wake, Waker};

use stealyard_task::JoinHandle;
use stealyard_task::{
    LocalMemory, Ran, Schedule, Task, TaskMemory, Why, spawn, spawn_call, spawn_unchecked,
};

/// What the tasks know.
pub(crate) struct Shared {
    queue: Mutex<Option<VecDeque<Task>>>,
    memory: TaskMemory<Shared>,
    panics: AtomicUsize,
}

// SAFETY: 1. one memory; 2. no worker's memory is ever lent.
unsafe impl Schedule for Shared {
    fn schedule(&self, task: Task, _why: Why) {
        self.push(task);
    }

    fn memory(&self) -> &TaskMemory<Self> {
        &self.memory
    }

    fn with_local<R>(&self, f: impl FnOnce(Option<&LocalMemory>) -> R) -> R {
        f(None)
    }

    fn task_panicked(&self, _payload: &(dyn std::any::Any + Send)) {
        // Ordering: Relaxed; read by the same thread.
        self.panics.fetch_add(1, Ordering::Relaxed);
    }
}

impl Shared {
    fn push(&self, task: Task) {
        let refused = match self.queue.lock().unwrap().as_mut() {
            Some(queue) => {
                queue.push_back(task);
                None
            }
            None => Some(task),
        };
        drop(refused);
    }
}

/// The scheduler, driven by hand.
pub(crate) struct Scheduler(Arc<Shared>);

impl Scheduler {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            queue: Mutex::new(Some(VecDeque::new())),
            memory: TaskMemory::new(),
            panics: AtomicUsize::new(0),
        }))
    }

    /// Returns a second handle.
    pub(crate) fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let (task, handle) = spawn(&self.0, None, future);
        self.0.push(task);
        handle
    }

    pub(crate) fn spawn_call<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let (task, handle) = spawn_call(&self.0, None, call);
        self.0.push(task);
        handle
    }

    /// # Safety
    /// As for `stealyard_task::spawn_unchecked`.
    pub(crate) unsafe fn spawn_unchecked<F: Future>(&self, future: F) -> JoinHandle<F::Output> {
        // SAFETY: 1. to 3. as the caller promises.
        let (task, handle) = unsafe { spawn_unchecked(&self.0, None, future) };
        self.0.push(task);
        handle
    }

    /// Runs what is queued, and what that queues. Returns how many polls it was.
    pub(crate) fn run(&self) -> usize {
        let mut polls = 0;
        loop {
            let Some(task) = self
                .0
                .queue
                .lock()
                .unwrap()
                .as_mut()
                .and_then(VecDeque::pop_front)
            else {
                return polls;
            };
            polls += 1;
            if let Ran::Again(task) = task.run() {
                self.0.push(task);
            }
        }
    }

    pub(crate) fn panics(&self) -> usize {
        // Ordering: Relaxed; written by the same thread.
        self.0.panics.load(Ordering::Relaxed)
    }

    /// Returns the number of blocks that are not in the pool.
    pub(crate) fn blocks(&self) -> usize {
        self.0.memory.out()
    }

    pub(crate) fn slab_bytes(&self) -> usize {
        self.0.memory.slab_bytes()
    }

    /// Takes no task from here on.
    pub(crate) fn refuse(&self) {
        let queue = self
            .0
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(queue);
    }

    /// Shuts down: nothing is taken, what is queued or asleep is cancelled.
    pub(crate) fn close(&self) {
        self.refuse();
        self.0.memory.claim_idle(drop);
    }

    /// Whether the shared part still exists.
    pub(crate) fn alive(&self) -> impl Fn() -> bool + use<> {
        let weak: Weak<Shared> = Arc::downgrade(&self.0);
        move || weak.strong_count() > 0
    }

    /// Ends a test: nothing may be left.
    pub(crate) fn finish(self) {
        self.close();
        assert_eq!(self.blocks(), 0, "all task memory is back");
        let alive = self.alive();
        drop(self);
        assert!(!alive(), "no reference keeps the scheduler");
    }
}

/// Counts wakes and drops.
#[derive(Clone)]
pub(crate) struct Counter(Arc<Counts>);

#[derive(Default)]
struct Counts {
    wakes: AtomicUsize,
    drops: AtomicUsize,
}

impl Counter {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.0))
    }

    pub(crate) fn wakes(&self) -> usize {
        // Ordering: Relaxed; written by the same thread or one that was joined.
        self.0.wakes.load(Ordering::Relaxed)
    }

    pub(crate) fn drops(&self) -> usize {
        // Ordering: Relaxed; written by the same thread or one that was joined.
        self.0.drops.load(Ordering::Relaxed)
    }
}

impl Wake for Counts {
    fn wake(self: Arc<Self>) {
        // Ordering: Relaxed; a count.
        self.wakes.fetch_add(1, Ordering::Relaxed);
    }
}

/// A value that counts its drop.
pub(crate) struct Counted(Counter);

impl Counted {
    pub(crate) fn new(counter: &Counter) -> Self {
        Self(counter.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // Ordering: Relaxed; a count.
        self.0.0.drops.fetch_add(1, Ordering::Relaxed);
    }
}

/// Makes a waker that panics when it is woken.
pub(crate) fn panicking_waker() -> Waker {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            std::panic::panic_any("waker");
        }
    }
    Waker::from(Arc::new(Panics))
}

/// Makes a waker that calls `f` whenever it is cloned, woken or dropped.
pub(crate) fn calling_waker(f: impl Fn() + Send + Sync + 'static) -> Waker {
    type Call = Arc<dyn Fn() + Send + Sync>;
    fn raw(call: Call) -> RawWaker {
        RawWaker::new(Box::into_raw(Box::new(call)).cast_const().cast(), &VTABLE)
    }
    /// # Safety
    /// 1. `data` is a waker's that lives.
    unsafe fn call(data: *const ()) -> Call {
        // SAFETY: 1. made by `raw` and not dropped yet.
        let call = unsafe { &*data.cast::<Call>() };
        call();
        Arc::clone(call)
    }
    static VTABLE: RawWakerVTable = RawWakerVTable::new(
        // SAFETY: 1. the waker lives.
        |data| raw(unsafe { call(data) }),
        |data| {
            // SAFETY: 1. the waker lives until the next line.
            drop(unsafe { call(data) });
            // SAFETY: 1. made by `raw`, dropped once.
            drop(unsafe { Box::from_raw(data.cast_mut().cast::<Call>()) });
        },
        // SAFETY: 1. the waker lives.
        |data| drop(unsafe { call(data) }),
        |data| {
            // SAFETY: 1. the waker lives until the next line.
            drop(unsafe { call(data) });
            // SAFETY: 1. made by `raw`, dropped once.
            drop(unsafe { Box::from_raw(data.cast_mut().cast::<Call>()) });
        },
    );
    // SAFETY: 1. the four functions own and share the box as the contract says.
    unsafe { Waker::from_raw(raw(Arc::new(f))) }
}
