//! How a scheduler is put together and its threads are started.
//!
//! Each P gets one thread, when the scheduler is built. A thread that can't be started is no reason
//! to fail: those that exist do the work, and an event says so. Only if there is none at all,
//! building fails.

use std::io;

use stealyard_park::{Idle, Parker, SleeperSet, SpinConfig, WakeOrder};
use stealyard_sync::Arc;
use stealyard_sync::seed::{self, Rng};
use stealyard_sync::thread::JoinHandle as ThreadHandle;
use stealyard_task::TaskMemory;
use stealyard_task::fork_join::Boards;
use stealyard_task::running::{self, Code};
use stealyard_topology::{Seat, available_parallelism};

use crate::config::error::BuildError;
use crate::config::{Config, PARALLELISM_MAX, PinFailure, environment};
use crate::machine_remote::MachineRemote;
use crate::metrics::SharedCounts;
use crate::metrics::wake_timer::WakeTimer;
use crate::processor::Processor;
use crate::processor::global_queue::GlobalQueue;
use crate::processor::queue::Queue;
use crate::processor::remote::Remote;
use crate::run::layout::Layout;
use crate::run::pinning::Pins;
use crate::run::{schedtrace, shutdown, worker};
use crate::state::SchedulerState;
use crate::state::blocking_pool::BlockingPool;
use crate::state::lifecycle::Lifecycle;
use crate::state::monitor_post::MonitorPost;
use crate::user_code::{Quiet, catch, dispose, tell};

/// A scheduler whose threads run.
#[derive(Debug)]
pub(crate) struct Assembled {
    pub(crate) shared: Arc<SchedulerState>,
    pub(crate) threads: Vec<ThreadHandle<()>>,
}

/// What a worker's thread is given when it starts.
struct Seed {
    processor: Processor,
    parker: Parker,
    seat: Option<Seat>,
}

/// Checks the configuration, fills in what is left to the machine, starts the threads.
pub(crate) fn assemble(mut config: Config) -> Result<Assembled, BuildError> {
    config.validate()?;
    let workers = parallelism(&config)?;
    config.parallelism = Some(workers);
    config.spin = Some(spin(&config));
    config.schedtrace = match config.schedtrace {
        Some(every) => Some(every),
        None => environment::schedtrace()?,
    };
    let layout = Layout::new(&config, workers)?;
    let (shared, seeds) = build(config, layout)?;
    start(shared, seeds)
}

fn parallelism(config: &Config) -> Result<usize, BuildError> {
    if let Some(workers) = config.parallelism {
        return Ok(workers);
    }
    if let Some(workers) = environment::parallelism()? {
        return Ok(workers);
    }
    Ok(available_parallelism().get().clamp(1, PARALLELISM_MAX))
}

/// Returns the configured spin, or none on a single CPU, where it would keep the waker from
/// running.
fn spin(config: &Config) -> SpinConfig {
    match config.spin {
        Some(spin) => spin,
        None if available_parallelism().get() == 1 => SpinConfig::OFF,
        None => SpinConfig::default(),
    }
}

/// A boxed order of waking, as one.
struct QuietOrder(Quiet<Box<dyn WakeOrder>>);

impl WakeOrder for QuietOrder {
    /// Calls the user's code, in the middle of a wake that must not be left.
    fn choose(&self, from: Option<usize>, sleepers: &SleeperSet<'_>) -> Option<usize> {
        match running::within(Code::Policy, || catch(|| self.0.choose(from, sleepers))) {
            Ok(choice) => choice,
            Err(panic) => {
                dispose(panic);
                None
            }
        }
    }
}

/// Makes the state that all threads share, and what each thread is given.
fn build(config: Config, layout: Layout) -> Result<(Arc<SchedulerState>, Vec<Seed>), BuildError> {
    let workers = layout.seats.len();
    let (remotes, seeds) = make_workers(&config, &layout);
    let spin = config.spin.unwrap_or_default();
    let wakers = seeds.iter().map(|seed| seed.parker.unparker());
    let order = QuietOrder(Quiet::new(
        config.steal_policy.wake_order(&layout.distances),
    ));
    let shared = Arc::new(SchedulerState {
        remotes: remotes.into(),
        machines: (0..workers)
            .map(|_| Arc::new(MachineRemote::new(spin)))
            .collect(),
        idle: Idle::with_order(wakers, order),
        boards: Arc::new(Boards::new(workers)),
        global: GlobalQueue::new(layout.lanes.orders, layout.lanes.of_nodes),
        monitor: MonitorPost::new(workers, config.watch_min),
        lifecycle: Lifecycle::new(),
        blocking: BlockingPool::new(&config)?,
        memory: TaskMemory::new(),
        wake_timer: WakeTimer::start(),
        counts: SharedCounts::default(),
        config: Quiet::new(config),
    });
    Ok((shared, seeds))
}

/// Makes the Ps with their remotes, and a parker for each thread.
fn make_workers(config: &Config, layout: &Layout) -> (Vec<Arc<Remote>>, Vec<Seed>) {
    let first_seed = config.seed.unwrap_or_else(seed::fresh);
    let spin = config.spin.unwrap_or_default();
    let lanes = layout.lanes.of_workers.iter().zip(&layout.seats);
    let workers = lanes.enumerate().map(|(index, (&lane, seat))| {
        let queue = Queue::new(&config.local_queue);
        let others = layout.distances.nearest_first(index).into();
        let remote = Arc::new(Remote::new(queue.stealer(), others, lane));
        let rng = Rng::new(first_seed.wrapping_add(index as u64));
        let seed = Seed {
            processor: Processor::new(index, config, Arc::clone(&remote), queue, rng),
            parker: Parker::with_spin(spin),
            seat: seat.clone(),
        };
        (remote, seed)
    });
    workers.unzip()
}

/// Starts a thread for each P, and waits until they are bound if that matters.
fn start(shared: Arc<SchedulerState>, seeds: Vec<Seed>) -> Result<Assembled, BuildError> {
    let pins = Arc::new(Pins::default());
    let mut threads = start_workers(&shared, seeds, &pins)?;
    if shared.config.on_pin_failure == PinFailure::Refuse
        && let Err((worker, error)) = pins.wait_for(threads.len())
    {
        shutdown::close(&shared);
        shutdown::join_all(threads);
        return Err(BuildError::Pin { worker, error });
    }
    threads.extend(schedtrace::start(&shared));
    Ok(Assembled { shared, threads })
}

/// Starts the workers' threads, as many as can be. Fails only if there is none.
fn start_workers(
    shared: &Arc<SchedulerState>,
    seeds: Vec<Seed>,
    pins: &Arc<Pins>,
) -> Result<Vec<ThreadHandle<()>>, BuildError> {
    let wanted = seeds.len();
    let mut threads = Vec::new();
    let mut failure = None;
    for seed in seeds {
        let index = seed.processor.index;
        match start_worker(shared, seed, Arc::clone(pins)) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                tell(|| {
                    tracing::error!(
                        %error,
                        "worker thread {index} of {wanted} could not be started: {} go on without it",
                        threads.len()
                    );
                });
                failure.get_or_insert(error);
            }
        }
    }
    if threads.is_empty() {
        let error = failure.unwrap_or_else(|| io::Error::other("no worker was asked for"));
        return Err(BuildError::NoThread { wanted, error });
    }
    Ok(threads)
}

fn start_worker(
    shared: &Arc<SchedulerState>,
    seed: Seed,
    pins: Arc<Pins>,
) -> io::Result<ThreadHandle<()>> {
    let config = &shared.config;
    let name = format!("{}-{}", config.name, seed.processor.index);
    let own = Arc::clone(shared);
    let body = Box::new(move || {
        pins.take_seat(seed.processor.index, seed.seat.as_ref());
        drop(pins);
        worker::run(own, seed.processor, seed.parker);
    });
    shared.lifecycle.worker_joins();
    let started = config.starter.start(name, config.stack_size, body);
    if started.is_err() {
        shared.lifecycle.worker_failed();
        shared.counts.start_failures.add_shared(1);
    }
    started
}
