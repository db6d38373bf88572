//! Goal: what goes wrong without failing is told as an event that says what, which one and why.
//! Method: a subscriber of our own for the whole process; starters that fail with an error that
//! names the test, and a machine whose only CPU does not exist.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once, mpsc};
use std::time::Duration;

use stealyard::{Builder, Scheduler};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// One event: its level, and its fields by name, the message among them.
#[derive(Clone, Debug)]
struct Told {
    level: Level,
    fields: BTreeMap<&'static str, String>,
}

impl Told {
    fn of(event: &Event<'_>) -> Self {
        let mut told = Self {
            level: *event.metadata().level(),
            fields: BTreeMap::new(),
        };
        event.record(&mut told);
        told
    }

    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}

/// Collects the events of all threads.
struct Collector;

static TOLD: Mutex<Vec<Told>> = Mutex::new(Vec::new());

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("stealyard")
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        TOLD.lock().unwrap().push(Told::of(event));
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Collector).unwrap());
}

/// The events whose error says `why`.
fn told_of(why: &str) -> Vec<Told> {
    let told = TOLD.lock().unwrap();
    let those = told.iter().filter(|told| told.field("error").contains(why));
    those.cloned().collect()
}

/// Fails the starts in `failing`, for the reason `why`.
#[derive(Debug)]
struct Flaky {
    starts: AtomicUsize,
    failing: Range<usize>,
    why: &'static str,
}

impl stealyard_park::pool::Start for Flaky {
    fn start(
        &self,
        name: String,
        stack_size: Option<usize>,
        body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<std::thread::JoinHandle<()>> {
        let start = self.starts.fetch_add(1, Ordering::SeqCst);
        if self.failing.contains(&start) {
            return Err(io::Error::other(self.why));
        }
        stealyard_park::pool::OsThreads.start(name, stack_size, body)
    }
}

fn flaky(workers: usize, failing: Range<usize>, why: &'static str) -> Builder {
    listen();
    let starts = AtomicUsize::new(0);
    Builder::new().parallelism(workers).starter(Flaky {
        starts,
        failing,
        why,
    })
}

#[test]
fn a_worker_thread_that_could_not_start_is_told_with_its_number() {
    let why = "no third thread today";
    let scheduler = flaky(4, 2..3, why).build().unwrap();
    assert_eq!(scheduler.spawn(async { 1 }).join().unwrap(), 1);
    let told = told_of(why);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].level, Level::ERROR);
    assert_eq!(
        told[0].field("message"),
        "worker thread 2 of 4 could not be started: 2 go on without it"
    );
}

#[test]
fn a_blocking_call_that_waits_for_a_thread_is_told() {
    let why = "no second blocking thread";
    // One worker and one thread for blocking calls.
    let scheduler = flaky(1, 2..usize::MAX, why).build().unwrap();
    let (go, may_go) = mpsc::channel::<()>();
    let first = scheduler.spawn_blocking(move || may_go.recv().unwrap());
    let second = scheduler.spawn_blocking(|| 2);
    let told = told_of(why);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].level, Level::WARN);
    assert_eq!(
        told[0].field("message"),
        "a thread for blocking calls could not be started: the call waits for one that exists"
    );
    go.send(()).unwrap();
    first.join().unwrap();
    assert_eq!(second.join().unwrap(), 2);
}

#[test]
fn a_blocking_call_that_a_worker_runs_is_told() {
    let why = "no blocking thread at all";
    let scheduler = flaky(1, 1..usize::MAX, why).build().unwrap();
    assert_eq!(scheduler.spawn_blocking(|| 3).join().unwrap(), 3);
    let told = told_of(why);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].level, Level::ERROR);
    assert_eq!(
        told[0].field("message"),
        "no thread for blocking calls could be started: a worker runs the call"
    );
}

#[test]
fn a_trace_thread_that_could_not_start_is_told() {
    let why = "no thread for lines";
    let builder = flaky(1, 1..2, why).schedtrace(Duration::from_secs(1));
    let scheduler = builder.build().unwrap();
    assert_eq!(scheduler.spawn(async { 4 }).join().unwrap(), 4);
    let told = told_of(why);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].level, Level::WARN);
    assert_eq!(
        told[0].field("message"),
        "the thread for schedtrace lines could not be started"
    );
}

#[cfg(target_os = "linux")]
mod pins {
    use super::*;
    use stealyard::{BuildError, PinFailure, Placement, Topology};

    /// Above what the kernel can number.
    const CPU: usize = 100_000;

    /// A machine, read from files as a real one, with one CPU that is not there.
    fn machine(name: &str) -> Topology {
        let root = std::env::temp_dir().join(format!("stealyard-{name}-{}", std::process::id()));
        let cpus = root.join("sys/devices/system/cpu");
        let topology = cpus.join(format!("cpu{CPU}/topology"));
        std::fs::create_dir_all(&topology).unwrap();
        let put = |file: std::path::PathBuf, text: String| std::fs::write(file, text).unwrap();
        put(cpus.join("online"), format!("{CPU}\n"));
        put(topology.join("physical_package_id"), "0\n".to_owned());
        put(topology.join("core_id"), "0\n".to_owned());
        put(topology.join("thread_siblings_list"), format!("{CPU}\n"));
        let machine = Topology::from_sysfs(&root);
        std::fs::remove_dir_all(&root).unwrap();
        machine.unwrap()
    }

    fn pinned(name: &str, on_failure: PinFailure) -> Result<Scheduler, BuildError> {
        listen();
        Builder::new()
            .parallelism(1)
            .topology(machine(name))
            .placement(Placement::Compact)
            .on_pin_failure(on_failure)
            .build()
    }

    #[test]
    fn a_pin_that_failed_is_told_and_costs_no_work_or_is_refused() {
        let those = || told_of(&CPU.to_string());
        let scheduler = pinned("continue", PinFailure::Continue).unwrap();
        assert_eq!(scheduler.spawn(async { 5 }).join().unwrap(), 5);
        let told = those();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].level, told[0].field("worker")), (Level::WARN, "0"));
        assert_eq!(
            told[0].field("message"),
            "the worker could not be bound to its CPUs"
        );
        let refused = pinned("refuse", PinFailure::Refuse).unwrap_err();
        assert!(
            matches!(&refused, BuildError::Pin { worker: 0, error } if error.cpu() == Some(CPU)),
            "{refused}"
        );
        assert_eq!(those().len(), 2, "{:?}", those());
    }
}
