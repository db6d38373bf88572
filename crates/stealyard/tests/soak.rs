//! Goal: over very many tasks each runs exactly once or is reported cancelled, whatever is done to
//! it, and the memory used does not grow with their number.
//!
//! Method: waves of tasks from two threads outside and from tasks inside, at once. What a task does
//! follows from its number: it ends at once, yields, waits for a foreign thread's wake, spawns, or
//! panics; what is done to its handle as well: awaited, dropped, aborted. Counts of all that ended
//! add up to the number spawned, and so do the destructors. The largest resident set in the first
//! quarter of the waves is compared with the one at the end. Ten times as many tasks with
//! `STEALYARD_SOAK=10`; the ignored one runs a hundred million.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/common.rs"]
mod support;

use std::future::poll_fn;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use stealyard::{Handle, JoinError, JoinHandle, Scheduler, Shutdown};
use support::{soak, workers};

/// Tasks in a wave: enough to overflow every queue, few enough to be memory that a wave gives back.
const WAVE: u64 = 50_000;

/// What became of the tasks.
#[derive(Default)]
struct Counts {
    /// Ran to their end.
    ended: AtomicU64,
    /// Panicked on purpose.
    panicked: AtomicU64,
    /// Were dropped before their end, by an abort or a shutdown.
    dropped: AtomicU64,
    /// Reported by handles: cancelled, and panicked.
    seen_cancelled: AtomicU64,
    seen_panicked: AtomicU64,
    aborted: AtomicU64,
}

impl Counts {
    fn gone(&self) -> u64 {
        let of = |count: &AtomicU64| count.load(Ordering::SeqCst);
        of(&self.ended) + of(&self.panicked) + of(&self.dropped)
    }
}

/// Held by a task: counts how it went, once.
struct Fate {
    counts: Arc<Counts>,
    ended: bool,
    panics: bool,
}

impl Fate {
    fn new(counts: &Arc<Counts>) -> Self {
        Self {
            counts: Arc::clone(counts),
            ended: false,
            panics: false,
        }
    }

    fn end(mut self) {
        self.ended = true;
    }

    fn panic(mut self) -> ! {
        self.panics = true;
        // Without the panic hook, which would print a line for each.
        resume_unwind(Box::new("on purpose"))
    }
}

impl Drop for Fate {
    fn drop(&mut self) {
        let counts = &self.counts;
        let count = match (self.ended, self.panics) {
            (true, _) => &counts.ended,
            (_, true) => &counts.panicked,
            _ => &counts.dropped,
        };
        count.fetch_add(1, Ordering::SeqCst);
    }
}

/// Where a task leaves its waker for the foreign thread.
type Post = Sender<Waker>;

/// The body of task `number`.
async fn body(number: u64, fate: Fate, post: Post) {
    match number % 16 {
        0 => stealyard::yield_now().await,
        1 | 2 => {
            let mut woken = false;
            poll_fn(|context| {
                if std::mem::replace(&mut woken, true) {
                    return Poll::Ready(());
                }
                // After the end of the soak no thread wakes any more.
                let _ = post.send(context.waker().clone());
                Poll::Pending
            })
            .await;
        }
        3 => fate.panic(),
        _ => {}
    }
    fate.end();
}

/// A task that will be awaited, and its number.
type Kept = (u64, JoinHandle<()>);

/// Does to the handle what its number says; gives it back if it is to be awaited.
fn treat(number: u64, counts: &Counts, handle: JoinHandle<()>) -> Option<Kept> {
    match number % 7 {
        0 | 1 => None,
        2 => {
            abort(counts, &handle);
            number.is_multiple_of(2).then_some((number, handle))
        }
        _ => Some((number, handle)),
    }
}

/// The handle's turn to be awaited has come: some are aborted now, whatever they are at.
fn treat_late(counts: &Counts, (number, handle): Kept) -> JoinHandle<()> {
    if number % 7 == 3 {
        abort(counts, &handle);
    }
    handle
}

fn abort(counts: &Counts, handle: &JoinHandle<()>) {
    handle.abort();
    counts.aborted.fetch_add(1, Ordering::SeqCst);
}

fn note(counts: &Counts, result: Result<(), JoinError>) {
    match result {
        Ok(()) => {}
        Err(JoinError::Cancelled) => {
            counts.seen_cancelled.fetch_add(1, Ordering::SeqCst);
        }
        Err(JoinError::Panic(_)) => {
            counts.seen_panicked.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Spawns these tasks from outside and joins them.
fn outside(handle: &Handle, numbers: std::ops::Range<u64>, counts: &Arc<Counts>, post: &Post) {
    let kept: Vec<_> = numbers
        .filter_map(|number| {
            let task = handle.spawn(body(number, Fate::new(counts), post.clone()));
            treat(number, counts, task)
        })
        .collect();
    for kept in kept {
        note(counts, treat_late(counts, kept).join());
    }
}

/// Spawns these tasks from inside and awaits them.
async fn inside(numbers: std::ops::Range<u64>, counts: Arc<Counts>, post: Post) {
    let mut kept = Vec::new();
    for number in numbers {
        if number.is_multiple_of(5) {
            stealyard::spawn_detached(body(number, Fate::new(&counts), post.clone()));
            continue;
        }
        let task = stealyard::spawn(body(number, Fate::new(&counts), post.clone()));
        kept.extend(treat(number, &counts, task));
    }
    for kept in kept {
        note(&counts, treat_late(&counts, kept).await);
    }
}

/// One wave: a quarter from each of two threads outside, half from tasks inside.
fn wave(scheduler: &Scheduler, first: u64, counts: &Arc<Counts>, post: &Post) {
    let quarter = WAVE / 4;
    let inner: Vec<_> = (0..4)
        .map(|part| {
            let start = first + 2 * quarter + part * quarter / 2;
            let (counts, post) = (Arc::clone(counts), post.clone());
            scheduler.spawn(inside(start..start + quarter / 2, counts, post))
        })
        .collect();
    std::thread::scope(|threads| {
        for part in 0..2 {
            let start = first + part * quarter;
            threads.spawn(move || outside(scheduler, start..start + quarter, counts, post));
        }
    });
    for task in inner {
        task.join().unwrap();
    }
}

/// Wakes whatever comes by post, each from this foreign thread, in various ways.
fn foreign(wakers: &Receiver<Waker>) {
    for (number, waker) in wakers.iter().enumerate() {
        match number % 3 {
            0 => waker.wake(),
            1 => waker.wake_by_ref(),
            _ => {
                let second = waker.clone();
                waker.wake();
                drop(second);
            }
        }
    }
}

/// What this process has in memory, in bytes, where the system says so.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Tests of one process share the resident set.
static ALONE: Mutex<()> = Mutex::new(());

fn run(count: usize, tasks: u64) {
    let _alone = ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let waves = (tasks / WAVE).max(4);
    let counts = Arc::<Counts>::default();
    let scheduler = workers(count);
    let (post, received) = channel();
    let waker = std::thread::spawn(move || foreign(&received));
    let mut early: Option<u64> = None;
    for number in 0..waves {
        wave(&scheduler, number * WAVE, &counts, &post);
        if number <= waves / 4 {
            early = early.max(resident());
        }
    }
    let late = resident();
    drop(post);
    let spawned = waves * WAVE;
    support::wait_until(
        || counts.gone() == spawned,
        || format!("{} of {spawned}: {:?}", counts.gone(), scheduler.metrics()),
    );
    let handle = scheduler.handle().clone();
    let report = scheduler.shutdown(Shutdown::Drain);
    let panics = handle.metrics().panics;
    assert_eq!((report.cancelled, report.workers_running), (0, 0));
    waker.join().unwrap();
    let of = |count: &AtomicU64| count.load(Ordering::SeqCst);
    assert_eq!(counts.gone(), spawned, "each went once");
    assert_eq!(of(&counts.panicked), panics, "each panic was counted");
    assert!(
        of(&counts.dropped) <= of(&counts.aborted),
        "only aborts drop"
    );
    assert!(of(&counts.seen_cancelled) <= of(&counts.dropped));
    assert!(of(&counts.seen_panicked) <= panics);
    assert!(of(&counts.ended) > spawned / 2 && panics > 0 && of(&counts.dropped) > 0);
    eprintln!(
        "{count} workers, {spawned} tasks: {} ended, {panics} panicked, {} cancelled; resident bytes \
         {early:?}, then {late:?}",
        of(&counts.ended),
        of(&counts.dropped),
    );
    if let (Some(early), Some(late)) = (early, late) {
        // An allocator may keep a wave or two. Of a hundred million tasks, one word for each that
        // leaks is ten times as much.
        let bound = 2 * early + 16 * 1024 * 1024;
        assert!(late <= bound, "{early} bytes early, {late} at the end");
    }
}

#[test]
fn each_task_goes_once_and_memory_is_flat() {
    for count in [1, 2, 8] {
        run(count, 400_000 * soak() as u64);
    }
}

#[test]
#[ignore = "soak: cargo xtask verify"]
fn a_hundred_million_tasks_go_once_and_memory_is_flat() {
    run(2, 100_000_000);
}
