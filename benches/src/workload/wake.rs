//! An idle scheduler: how long from the submission outside until the task runs, and what the submitter
//! pays.

use std::time::{Duration, Instant};

use crate::harness::{Case, Kind, Run, Subject};
use crate::subject::async_executor::AsyncExecutor;
use crate::subject::ours::Ours;
use crate::subject::tokio::Tokio;
use crate::subject::{Runtime, Spawner};

/// How long the workers have had nothing to do: long enough that every one of them sleeps.
const IDLE: Duration = Duration::from_micros(500);

/// The cases of this layer.
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
                ]
            },
        ),
    ]
}

/// `span` picks what counts from the moments of submission, of return from it, and of the task's run.
fn idle<R: Runtime>(workers: usize, span: fn(Instant, Instant, Instant) -> Duration) -> Subject {
    let runtime = R::start(workers);
    let spawner = runtime.spawner();
    let run = move |repetitions: u64| {
        let _keep = &runtime;
        // The waits between are not counted, so a few samples are a run.
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
