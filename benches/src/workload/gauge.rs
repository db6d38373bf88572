//! What a scheduler costs without doing anything: CPU time while it idles, memory while its tasks
//! wait.
//!
//! Both belong to a process as a whole. So each reading is taken in a process of its own: this
//! program again, with `--child`.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::harness::{Case, Kind, Run, Subject};
use crate::subject::async_executor::AsyncExecutor;
use crate::subject::foreign::GO;
use crate::subject::ours::Ours;
use crate::subject::tokio::Tokio;
use crate::subject::{Runtime, Spawner};

/// The time for which a scheduler idles.
const IDLE: Duration = Duration::from_secs(3);
/// The number of waiting tasks.
const TASKS: usize = 1_000_000;

/// Returns the cases of this layer.
pub(crate) fn cases(workers: usize) -> Vec<Case> {
    let case = |name: &str, unit, operation, gauge, in_go: u64| Case {
        layer: "gauge",
        name: name.to_owned(),
        operation,
        kind: Kind::Gauge(unit),
        subjects: Box::new(move || {
            let mut subjects = vec![
                in_a_child::<Ours>(gauge, workers),
                in_a_child::<Tokio>(gauge, workers),
                in_a_child::<AsyncExecutor>(gauge, workers),
            ];
            subjects.extend(GO.gauge(gauge, workers, in_go));
            subjects
        }),
    };
    let tasks = TASKS as u64;
    vec![
        case("CPU time while idle", "µs", "3 s", "idle", IDLE.as_secs()),
        case(
            "a million tasks that wait",
            "bytes",
            "task",
            "memory",
            tasks,
        ),
    ]
}

fn in_a_child<R: Runtime>(gauge: &'static str, workers: usize) -> Subject {
    let run = move |_| {
        let program = std::env::current_exe().expect("it runs, so it is somewhere");
        let output = Command::new(program)
            .args(["--child", &format!("{gauge}:{}", R::NAME)])
            .args(["--workers", &workers.to_string()])
            .output()
            .expect("it starts again");
        let text = String::from_utf8_lossy(&output.stdout);
        let amount = text.trim().parse();
        Run {
            amount: amount.unwrap_or_else(|_| panic!("the child said {text:?}, not a number")),
            operations: 1,
        }
    };
    Subject {
        name: R::NAME,
        run: Box::new(run),
    }
}

/// Takes the reading `wish` (`gauge:subject`) in the child. Returns `None` if there is no such
/// reading.
pub(crate) fn read(wish: &str, workers: usize) -> Option<f64> {
    let (gauge, subject) = wish.split_once(':')?;
    match subject {
        Ours::NAME => read_of::<Ours>(gauge, workers),
        Tokio::NAME => read_of::<Tokio>(gauge, workers),
        AsyncExecutor::NAME => read_of::<AsyncExecutor>(gauge, workers),
        _ => None,
    }
}

fn read_of<R: Runtime>(gauge: &str, workers: usize) -> Option<f64> {
    match gauge {
        "idle" => Some(idle_microseconds::<R>(workers)),
        "memory" => Some(bytes_per_task::<R>(workers)),
        _ => None,
    }
}

/// Measures the CPU time of the process while its workers have had nothing to do for a while.
/// `getrusage` counts in microseconds. No time at all counts as one of them, so that there is a
/// ratio.
fn idle_microseconds<R: Runtime>(workers: usize) -> f64 {
    let runtime = R::start(workers);
    let ready = runtime.spawner().spawn(async { 1 });
    assert_eq!(futures_lite::future::block_on(ready), 1);
    std::thread::sleep(Duration::from_millis(100));
    let before = cpu_time();
    std::thread::sleep(IDLE);
    let spent = cpu_time() - before;
    (spent.as_secs_f64() * 1e6).max(1.0)
}

fn cpu_time() -> Duration {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: 1. the pointer is to memory of the right size.
    let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    assert_eq!(result, 0, "getrusage knows this process");
    // SAFETY: 1. all zeroes are a value of it, and the call filled it.
    let usage = unsafe { usage.assume_init() };
    let of = |time: libc::timeval| {
        Duration::from_micros(time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64)
    };
    of(usage.ru_utime) + of(usage.ru_stime)
}

/// Measures the memory of a task that waits and whose waker is kept (16 bytes of it, in the
/// future).
fn bytes_per_task<R: Runtime>(workers: usize) -> f64 {
    static WAITING: AtomicUsize = AtomicUsize::new(0);
    let runtime = R::start(workers);
    let spawner = runtime.spawner();
    let before = resident_bytes();
    for _ in 0..TASKS {
        let mut kept: Option<Waker> = None;
        spawner.spawn_detached(std::future::poll_fn(move |context| {
            if kept.is_none() {
                kept = Some(context.waker().clone());
                WAITING.fetch_add(1, Ordering::Relaxed);
            }
            Poll::Pending
        }));
    }
    while WAITING.load(Ordering::Relaxed) < TASKS {
        std::thread::sleep(Duration::from_millis(10));
    }
    let bytes = resident_bytes() - before;
    // Each task keeps itself alive, and would wait for ever.
    std::mem::forget(runtime);
    bytes / TASKS as f64
}

fn resident_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next())
        .and_then(|number| number.parse::<f64>().ok());
    kilobytes.expect("VmRSS is a number") * 1024.0
}
