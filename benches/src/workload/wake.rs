//! An idle scheduler: the time from a submission outside until the task runs, and the submitter's
//! own part.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stealyard_sync::CachePadded;

use crate::harness::{Case, Kind, Run, Subject, timed};
use crate::subject::async_executor::AsyncExecutor;
use crate::subject::ours::Ours;
use crate::subject::parking::RawFutex;
use crate::subject::tokio::Tokio;
use crate::subject::{Runtime, Sleep, Spawner, Wake};

/// The pause between the run of one task and the next submission: shorter than any worker spins.
const AWAKE_PAUSES: usize = 20;

/// The time for which the workers have nothing to do: long enough that every one of them sleeps.
const IDLE: Duration = Duration::from_micros(500);

/// Returns the cases of this layer.
pub(crate) fn cases(workers: usize) -> Vec<Case> {
    let case = |name: &str, operation, subjects: fn(usize) -> Vec<Subject>| Case {
        layer: "wake",
        name: name.to_owned(),
        operation,
        kind: Kind::Time,
        subjects: Box::new(move || subjects(workers)),
    };
    vec![
        case("submit to run, all asleep", "wake", |workers| {
            let until_run = |sent: Instant, _: Instant, ran: Instant| ran - sent;
            vec![
                idle::<Ours>(workers, until_run),
                idle::<Tokio>(workers, until_run),
                idle::<AsyncExecutor>(workers, until_run),
                futex(until_run),
            ]
        }),
        case(
            "what the submitter pays, all asleep",
            "submission",
            |workers| {
                let until_back = |sent: Instant, back: Instant, _: Instant| back - sent;
                vec![
                    idle::<Ours>(workers, until_back),
                    idle::<Tokio>(workers, until_back),
                    idle::<AsyncExecutor>(workers, until_back),
                    futex(until_back),
                ]
            },
        ),
        case("submit to run, a worker awake", "submission", |workers| {
            vec![
                awake::<Ours>(workers),
                awake::<Tokio>(workers),
                awake::<AsyncExecutor>(workers),
                line_there_and_back(),
            ]
        }),
    ]
}

/// Measures submissions. `span` takes the measured time from three moments: of the submission, of
/// the return from it, and of the task's run.
fn idle<R: Runtime>(workers: usize, span: fn(Instant, Instant, Instant) -> Duration) -> Subject {
    let runtime = R::start(workers);
    let spawner = runtime.spawner();
    let run = move |repetitions: u64| {
        let _keep = &runtime;
        // The pauses in between are not counted, so a few samples are a run.
        let samples = repetitions.clamp(1, 32);
        let mut time = Duration::ZERO;
        for _ in 0..samples {
            std::thread::sleep(IDLE);
            let (tell, told) = std::sync::mpsc::channel();
            let sent = Instant::now();
            spawner.spawn_detached(async move {
                let _ = tell.send(Instant::now());
            });
            let back = Instant::now();
            time += span(sent, back, told.recv().expect("the task runs"));
        }
        Run::took(time, samples)
    };
    Subject {
        name: R::NAME,
        run: Box::new(run),
    }
}

/// One sleeping thread is woken, with no scheduler around it.
fn futex(span: fn(Instant, Instant, Instant) -> Duration) -> Subject {
    let (give, given) = std::sync::mpsc::channel();
    let (tell, told) = std::sync::mpsc::channel();
    // The thread ends with the program.
    std::thread::spawn(move || {
        let (sleep, wake) = RawFutex::new();
        give.send(wake).expect("the waker waits for it");
        loop {
            sleep.sleep();
            if tell.send(Instant::now()).is_err() {
                break;
            }
        }
    });
    let wake = given.recv().expect("the sleeper started");
    let run = move |repetitions: u64| {
        let samples = repetitions.clamp(1, 32);
        let mut time = Duration::ZERO;
        for _ in 0..samples {
            std::thread::sleep(IDLE);
            let sent = Instant::now();
            wake.wake();
            let back = Instant::now();
            time += span(sent, back, told.recv().expect("the sleeper runs"));
        }
        Run::took(time, samples)
    };
    Subject {
        name: RawFutex::NAME,
        run: Box::new(run),
    }
}

/// A thread outside submits a task, spins until it has run, and submits the next. The worker that
/// ran it searches and has not gone to sleep. The time is that of a round trip.
fn awake<R: Runtime>(workers: usize) -> Subject {
    let runtime = R::start(workers);
    let spawner = runtime.spawner();
    let run = move |repetitions| {
        let _keep = &runtime;
        let ran = Arc::new(AtomicU64::new(0));
        timed(repetitions, || {
            for number in 1..=repetitions {
                let tell = Arc::clone(&ran);
                spawner.spawn_detached(async move { tell.store(number, Ordering::Release) });
                while ran.load(Ordering::Acquire) < number {
                    std::hint::spin_loop();
                }
                (0..AWAKE_PAUSES).for_each(|_| std::hint::spin_loop());
            }
        })
    };
    Subject {
        name: R::NAME,
        run: Box::new(run),
    }
}

/// The floor of `awake`: a submission is a number in a word that another thread reads all the time.
fn line_there_and_back() -> Subject {
    let run = |repetitions| {
        let words = Arc::new([const { CachePadded::new(AtomicU64::new(0)) }; 2]);
        let other = {
            let words = Arc::clone(&words);
            std::thread::spawn(move || {
                for number in 1..=repetitions {
                    while words[0].load(Ordering::Acquire) < number {
                        std::hint::spin_loop();
                    }
                    words[1].store(number, Ordering::Release);
                }
            })
        };
        let run = timed(repetitions, || {
            for number in 1..=repetitions {
                words[0].store(number, Ordering::Release);
                while words[1].load(Ordering::Acquire) < number {
                    std::hint::spin_loop();
                }
                (0..AWAKE_PAUSES).for_each(|_| std::hint::spin_loop());
            }
        });
        other.join().expect("the other ends");
        run
    };
    Subject {
        name: "two cache lines (floor)",
        run: Box::new(run),
    }
}
