//! Schedulers of futures: many small tasks from inside and from outside, yields, and messages.

use std::collections::VecDeque;
use std::hint::black_box;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Instant;

use async_task::Runnable;

use crate::harness::{Case, Kind, Run, Subject, timed};
use crate::subject::async_executor::AsyncExecutor;
use crate::subject::foreign::{Foreign, GO, TBB};
use crate::subject::ours::{
    Ours, WithChaseLevFifo, WithChaseLevLifo, WithOwnRing, WithRing, WithSplit,
};
use crate::subject::tokio::Tokio;
use crate::subject::{Runtime, Spawner};

/// The number of tasks that are spawned before the first of them is joined.
const BATCH: u64 = 1000;

/// A peer of another language that has the same workload, and its name there.
type Elsewhere = (&'static Foreign, &'static str);

/// A case's name, its operation, the peers of other languages that have it, and its subjects for a
/// number of workers.
type Entry = (
    &'static str,
    &'static str,
    Vec<Elsewhere>,
    fn(usize) -> Vec<Subject>,
);

/// Returns one workload on every scheduler of futures, ours first.
macro_rules! schedulers {
    ($workload:ident) => {
        |workers| {
            vec![
                $workload::<Ours>(workers),
                $workload::<Tokio>(workers),
                $workload::<AsyncExecutor>(workers),
            ]
        }
    };
}

fn entries() -> [Entry; 10] {
    [
        (
            "spawn and join 1000 empty tasks, inside",
            "task",
            vec![(&GO, "spawn_join"), (&TBB, "spawn_join")],
            schedulers!(spawn_join),
        ),
        (
            "spawn 1000 detached tasks, inside",
            "task",
            vec![(&GO, "detached"), (&TBB, "detached")],
            |workers| {
                let mut subjects = schedulers!(detached)(workers);
                subjects.push(bare());
                subjects
            },
        ),
        (
            "spawn 1000 detached tasks, outside",
            "task",
            vec![(&TBB, "outside")],
            schedulers!(outside),
        ),
        (
            "yield, one task",
            "yield",
            vec![(&GO, "yields")],
            schedulers!(yields),
        ),
        (
            "ping-pong over async-channel",
            "round trip",
            vec![(&GO, "ping_pong")],
            schedulers!(ping_pong),
        ),
        (
            "each task spawns the next",
            "task",
            vec![(&GO, "chain"), (&TBB, "chain")],
            schedulers!(chain),
        ),
        (
            "ping-pong over tokio's mpsc",
            "round trip",
            Vec::new(),
            schedulers!(tokio_ping_pong),
        ),
        (
            "ping-pong, a fresh task each way",
            "round trip",
            vec![(&GO, "fresh_ping_pong")],
            schedulers!(fresh_ping_pong),
        ),
        (
            "skynet, 10,000 leaves, an async-channel a node",
            "node",
            vec![(&GO, "skynet")],
            schedulers!(skynet),
        ),
        (
            "skynet, 10,000 leaves, tokio's mpsc a node",
            "node",
            vec![(&GO, "skynet")],
            schedulers!(tokio_skynet),
        ),
    ]
}

/// Returns a case of ours only: the cost of the choice of the local queue. The queues after the
/// first are no peers of it.
fn choices() -> Entry {
    (
        "spawn and join, by the choice of local queue",
        "task",
        Vec::new(),
        |workers| {
            vec![
                spawn_join::<WithRing>(workers),
                spawn_join::<WithOwnRing>(workers),
                spawn_join::<WithSplit>(workers),
                spawn_join::<WithChaseLevFifo>(workers),
                spawn_join::<WithChaseLevLifo>(workers),
            ]
        },
    )
}

/// Returns the cases of this layer.
pub(crate) fn cases(workers: usize) -> Vec<Case> {
    let case = |(name, operation, elsewhere, subjects): Entry| Case {
        layer: "scheduler",
        name: name.to_owned(),
        operation,
        kind: Kind::Time,
        subjects: Box::new(move || {
            let mut subjects = subjects(workers);
            let others = elsewhere.iter();
            subjects.extend(others.filter_map(|(peer, workload)| peer.subject(workload, workers)));
            subjects
        }),
    };
    entries().into_iter().chain([choices()]).map(case).collect()
}

/// A subject whose every run is one task that does all the work, timed from within.
pub(super) fn rooted<R, W, F>(workers: usize, work: W) -> Subject
where
    R: Runtime,
    W: Fn(R::Spawner, u64) -> F + Copy + Send + 'static,
    F: Future<Output = Run> + Send + 'static,
{
    let runtime = R::start(workers);
    let spawner = runtime.spawner();
    let run = move |repetitions| {
        let _keep = &runtime;
        let root = spawner.spawn(work(spawner.clone(), repetitions));
        futures_lite::future::block_on(root)
    };
    Subject {
        name: R::NAME,
        run: Box::new(run),
    }
}

/// The same as [`timed`], for work that awaits.
pub(super) async fn timed_async(operations: u64, work: impl Future<Output = ()>) -> Run {
    let start = Instant::now();
    work.await;
    Run::took(start.elapsed(), operations)
}

fn spawn_join<R: Runtime>(workers: usize) -> Subject {
    rooted::<R, _, _>(workers, |spawner, repetitions| async move {
        let rounds = repetitions.div_ceil(BATCH);
        timed_async(rounds * BATCH, async {
            let mut handles = Vec::with_capacity(BATCH as usize);
            let mut sum = 0;
            for _ in 0..rounds {
                handles.extend((0..BATCH).map(|number| spawner.spawn(async move { number })));
                for handle in handles.drain(..) {
                    sum += handle.await;
                }
            }
            assert_eq!(sum, rounds * (BATCH * (BATCH - 1) / 2), "a result is wrong");
        })
        .await
    })
}

/// The count of a batch of detached tasks, and the thread that waits for it. Every subject keeps
/// one for good, so that a task holds a plain reference to it. Counting references would cost more
/// than the cheapest of these tasks.
pub(super) struct Countdown {
    left: AtomicU64,
    done: async_channel::Sender<()>,
    finished: async_channel::Receiver<()>,
}

impl Countdown {
    pub(super) fn leak() -> &'static Self {
        let (done, finished) = async_channel::bounded(1);
        Box::leak(Box::new(Self {
            left: AtomicU64::new(0),
            done,
            finished,
        }))
    }

    /// Begins the next batch, of the given number of tasks.
    pub(super) fn start(&self, count: u64) {
        let before = self.left.swap(count, Ordering::AcqRel);
        assert_eq!(before, 0, "the last batch has not ended");
    }

    pub(super) fn one_less(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let _ = self.done.try_send(());
        }
    }

    pub(super) async fn end(&self) {
        self.finished.recv().await.expect("the last task tells");
    }
}

fn spawn_batch<S: Spawner>(spawner: &S, countdown: &'static Countdown) {
    countdown.start(BATCH);
    for _ in 0..BATCH {
        spawner.spawn_detached(async move { countdown.one_less() });
    }
}

fn detached<R: Runtime>(workers: usize) -> Subject {
    let countdown = Countdown::leak();
    rooted::<R, _, _>(workers, move |spawner, repetitions| async move {
        let rounds = repetitions.div_ceil(BATCH);
        timed_async(rounds * BATCH, async {
            for _ in 0..rounds {
                spawn_batch(&spawner, countdown);
                countdown.end().await;
            }
        })
        .await
    })
}

fn outside<R: Runtime>(workers: usize) -> Subject {
    let runtime = R::start(workers);
    let spawner = runtime.spawner();
    let countdown = Countdown::leak();
    let run = move |repetitions: u64| {
        let _keep = &runtime;
        let rounds = repetitions.div_ceil(BATCH);
        timed(rounds * BATCH, || {
            for _ in 0..rounds {
                spawn_batch(&spawner, countdown);
                futures_lite::future::block_on(countdown.end());
            }
        })
    };
    Subject {
        name: R::NAME,
        run: Box::new(run),
    }
}

/// A future that is pending once and woken at once, the same for every scheduler.
async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn yields<R: Runtime>(workers: usize) -> Subject {
    rooted::<R, _, _>(workers, |_, repetitions| async move {
        timed_async(repetitions, async {
            for _ in 0..repetitions {
                yield_now().await;
            }
        })
        .await
    })
}

pub(super) fn ping_pong<R: Runtime>(workers: usize) -> Subject {
    rooted::<R, _, _>(workers, |spawner, repetitions| async move {
        let (ping, pinged) = async_channel::bounded(1);
        let (pong, ponged) = async_channel::bounded(1);
        let other = spawner.spawn(async move {
            while let Ok(number) = pinged.recv().await {
                pong.send(number + 1_u64).await.expect("somebody waits");
            }
        });
        let run = timed_async(repetitions, async {
            let mut number = 0;
            for _ in 0..repetitions {
                ping.send(number).await.expect("the other lives");
                number = ponged.recv().await.expect("the other answers");
            }
            assert_eq!(number, repetitions, "a message is lost");
        })
        .await;
        drop(ping);
        other.await;
        run
    })
}

fn chain<R: Runtime>(workers: usize) -> Subject {
    fn link<S: Spawner>(spawner: S, left: u64, done: async_channel::Sender<()>) {
        let next = spawner.clone();
        spawner.spawn_detached(async move {
            if black_box(left) == 0 {
                let _ = done.try_send(());
            } else {
                link(next, left - 1, done);
            }
        });
    }
    rooted::<R, _, _>(workers, |spawner, repetitions| async move {
        timed_async(repetitions, async {
            let (done, finished) = async_channel::bounded(1);
            link(spawner, repetitions, done);
            let finished = pin!(finished);
            finished.recv().await.expect("the last task tells");
        })
        .await
    })
}

/// `async-task` with a `VecDeque`, on one thread: the lowest cost of a task there.
fn bare() -> Subject {
    let queue = Arc::new(Mutex::new(VecDeque::with_capacity(BATCH as usize)));
    let countdown = Countdown::leak();
    let run = move |repetitions: u64| {
        let rounds = repetitions.div_ceil(BATCH);
        let lock = || queue.lock().expect("nobody panics while it is locked");
        timed(rounds * BATCH, || {
            for _ in 0..rounds {
                countdown.start(BATCH);
                for _ in 0..BATCH {
                    let back = Arc::clone(&queue);
                    let schedule =
                        move |task: Runnable| back.lock().expect("as above").push_back(task);
                    let (task, handle) =
                        async_task::spawn(async move { countdown.one_less() }, schedule);
                    handle.detach();
                    task.schedule();
                }
                loop {
                    let Some(task) = lock().pop_front() else {
                        break;
                    };
                    task.run();
                }
                futures_lite::future::block_on(countdown.end());
            }
        })
    };
    Subject {
        name: "async-task, VecDeque (floor)",
        run: Box::new(run),
    }
}

fn tokio_ping_pong<R: Runtime>(workers: usize) -> Subject {
    rooted::<R, _, _>(workers, |spawner, repetitions| async move {
        let (ping, mut pinged) = tokio::sync::mpsc::channel(1);
        let (pong, mut ponged) = tokio::sync::mpsc::channel(1);
        let other = spawner.spawn(async move {
            while let Some(number) = pinged.recv().await {
                pong.send(number + 1_u64).await.expect("somebody waits");
            }
        });
        let run = timed_async(repetitions, async {
            let mut number = 0;
            for _ in 0..repetitions {
                ping.send(number).await.expect("the other lives");
                number = ponged.recv().await.expect("the other answers");
            }
            assert_eq!(number, repetitions, "a message is lost");
        })
        .await;
        drop(ping);
        other.await;
        run
    })
}

/// The question is a task, and so is the answer.
fn fresh_ping_pong<R: Runtime>(workers: usize) -> Subject {
    rooted::<R, _, _>(workers, |spawner, repetitions| async move {
        timed_async(repetitions, async {
            let mut number = 0;
            for _ in 0..repetitions {
                let answering = spawner.clone();
                let question = spawner.spawn(async move {
                    let answer = answering.spawn(async move { black_box(number) + 1_u64 });
                    answer.await
                });
                number = question.await;
            }
            assert_eq!(number, repetitions, "an answer is wrong");
        })
        .await
    })
}

/// A tree of tasks with ten children each. The leaves send their numbers up, the nodes the sums.
/// `$channel` makes a channel for ten numbers, and `$receive` awaits one.
macro_rules! skynet {
    ($name:ident, $channel:expr, $sender:ty, $receive:ident) => {
        fn $name<R: Runtime>(workers: usize) -> Subject {
            fn node<S: Spawner>(spawner: S, number: u64, size: u64, parent: $sender) {
                let children = spawner.clone();
                spawner.spawn_detached(async move {
                    let sum = if size == 1 {
                        number
                    } else {
                        let (up, mut sums) = $channel;
                        for child in 0..10 {
                            let number = number + child * (size / 10);
                            node(children.clone(), number, size / 10, up.clone());
                        }
                        let mut sum = 0;
                        for _ in 0..10 {
                            sum += $receive(&mut sums).await;
                        }
                        sum
                    };
                    parent.send(sum).await.expect("the parent waits");
                });
            }
            rooted::<R, _, _>(workers, |spawner, repetitions| async move {
                let rounds = repetitions.div_ceil(NODES);
                timed_async(rounds * NODES, async {
                    for _ in 0..rounds {
                        let (up, mut sums) = $channel;
                        node(spawner.clone(), 0, LEAVES, up);
                        let sum = $receive(&mut sums).await;
                        assert_eq!(sum, LEAVES * (LEAVES - 1) / 2, "a number is lost");
                    }
                })
                .await
            })
        }
    };
}

const LEAVES: u64 = 10_000;
const NODES: u64 = LEAVES + 1000 + 100 + 10 + 1;

async fn receive(sums: &mut async_channel::Receiver<u64>) -> u64 {
    sums.recv().await.expect("ten children send")
}

async fn tokio_receive(sums: &mut tokio::sync::mpsc::Receiver<u64>) -> u64 {
    sums.recv().await.expect("ten children send")
}

skynet!(
    skynet,
    async_channel::bounded(10),
    async_channel::Sender<u64>,
    receive
);
skynet!(
    tokio_skynet,
    tokio::sync::mpsc::channel(10),
    tokio::sync::mpsc::Sender<u64>,
    tokio_receive
);
