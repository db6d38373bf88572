//! The threads (the M of G, M, P), and how a scheduler is put together.
//!
//! A machine is a thread that takes a P and runs tasks with it; here each P gets one thread, when the
//! scheduler is built. A thread that can't be started is no reason to fail: those that exist do the work,
//! and an event says so. Only if there is none at all, building fails.

use stealyard_injector::Locked;
use stealyard_park::{Idle, Parker, SleeperSet, SpinConfig, WakeOrder};
use stealyard_sync::atomic::{AtomicBool, AtomicUsize};
use stealyard_sync::seed::{self, Rng};
use stealyard_sync::thread::JoinHandle as ThreadHandle;
use stealyard_sync::{Arc, CachePadded, Condvar, Mutex};
use stealyard_topology::{Matrix, PinError, Seat, Source, Topology, available_parallelism};

use crate::blocking::Blocking;
use crate::config::{Config, PARALLELISM_MAX, PinFailure};
use crate::environment;
use crate::error::BuildError;
use crate::fork_join::{Boards, Jobs};
use crate::global::{Global, LaneId};
use crate::metrics::{Clock, Counter};
use crate::processor::{Processor, Remote, padded_counters};
use crate::schedtrace;
use crate::shared::Shared;
use crate::shutdown::Life;
use crate::task::Memory;
use crate::task::running::{self, Code};
use crate::user_code::{Quiet, catch, dispose, tell};
use crate::watch::{Asleep, Watch};
use crate::worker;

/// A scheduler whose threads run.
#[derive(Debug)]
pub(crate) struct Assembled {
    pub(crate) shared: Arc<Shared>,
    pub(crate) threads: Vec<ThreadHandle<()>>,
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
    let (shared, processors) = build(config, &layout)?;
    start(shared, processors, layout.seats)
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

/// Spinning on the only CPU keeps the waker from running.
fn spin(config: &Config) -> SpinConfig {
    match config.spin {
        Some(spin) => spin,
        None if available_parallelism().get() == 1 => SpinConfig::OFF,
        None => SpinConfig::default(),
    }
}

/// Who goes where, how far the workers are from each other, and the lanes of the global queue.
struct Layout {
    seats: Vec<Option<Seat>>,
    distances: Matrix,
    lanes: Vec<LaneId>,
    lane_orders: Vec<Vec<usize>>,
    lane_of_node: Vec<usize>,
}

impl Layout {
    fn new(config: &Config, workers: usize) -> Result<Self, BuildError> {
        // A machine that was not asked for need not be looked at.
        let unbound = config.placement == stealyard_topology::Placement::None;
        if unbound && config.topology.is_none() {
            return Ok(Self::flat(workers));
        }
        let topology = match &config.topology {
            Some(topology) => topology.clone(),
            None => {
                let (topology, problem) = Topology::detect_or_flat();
                if let Some(error) = problem {
                    tracing::warn!(%error, "the machine could not be read: it is taken to be flat");
                } else if let Some(note) = topology.notes().first() {
                    let notes = topology.notes().len();
                    tracing::info!(notes, first = %note, "the machine was read with doubts");
                }
                topology
            }
        };
        let plan = config.placement.plan(&topology, workers);
        let plan = plan.map_err(BuildError::Placement)?;
        let distances = topology.distances();
        let matrix = plan.matrix(&distances);
        let real = !matches!(topology.source(), Source::Synthetic(_));
        let nodes: Vec<usize> = plan
            .seats()
            .iter()
            .map(|seat| seat.node.unwrap_or(0))
            .collect();
        let mut used: Vec<usize> = nodes.clone();
        used.sort_unstable();
        used.dedup();
        let lane = |node: usize| {
            used.partition_point(|&other| other < node)
                .min(used.len() - 1)
        };
        let order = |from: &usize| {
            let mut order: Vec<usize> = (0..used.len()).collect();
            order.sort_by_key(|&to| {
                let near = used[to] == *from;
                (!near, distances.node_rank(*from, used[to]), to)
            });
            order
        };
        let kernel_nodes = topology.nodes().iter().map(|node| node.id as usize).max();
        let lane_of_node = (0..=kernel_nodes.unwrap_or(0))
            .map(|id| {
                let index = topology
                    .nodes()
                    .iter()
                    .position(|node| node.id as usize == id);
                index.map_or(0, lane)
            })
            .collect();
        Ok(Self {
            seats: plan
                .seats()
                .iter()
                .map(|seat| (real && seat.bound).then(|| seat.clone()))
                .collect(),
            lanes: nodes.iter().map(|&node| LaneId(lane(node))).collect(),
            lane_orders: used.iter().map(order).collect(),
            lane_of_node,
            distances: matrix,
        })
    }

    /// Everybody equally near, one lane, nobody bound.
    fn flat(workers: usize) -> Self {
        Self {
            seats: vec![None; workers],
            distances: Matrix::uniform(workers),
            lanes: vec![LaneId(0); workers],
            lane_orders: vec![vec![0]],
            lane_of_node: vec![0],
        }
    }
}

/// A boxed order of waking, as one.
struct Order(Quiet<Box<dyn WakeOrder>>);

impl WakeOrder for Order {
    /// The user's code, in the middle of a wake that must not be left.
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

fn build(config: Config, layout: &Layout) -> Result<(Arc<Shared>, Vec<Processor>), BuildError> {
    let first_seed = config.seed.unwrap_or_else(seed::fresh);
    let spin = config.spin.unwrap_or_default();
    let mut processors = Vec::new();
    let mut remotes = Vec::new();
    for (index, &lane) in layout.lanes.iter().enumerate() {
        let queue = config.local_queue.make();
        let remote = Arc::new(Remote {
            stealer: queue.stealer(),
            slot: stealyard_deque::Slot::new(),
            mail: Locked::new(),
            bound: Locked::new(),
            bound_alive: AtomicUsize::new(0),
            jobs: Jobs::new(),
            counters: padded_counters(),
            asleep: Asleep::default(),
            idle: AtomicBool::new(true),
            others: layout.distances.nearest_first(index).into(),
            lane,
        });
        let rng = Rng::new(first_seed.wrapping_add(index as u64));
        let parker = Parker::with_spin(spin);
        remotes.push(Arc::clone(&remote));
        processors.push(Processor::new(index, &config, remote, queue, parker, rng));
    }
    let wakers = processors
        .iter()
        .map(|processor| processor.parker.unparker());
    let order = Order(Quiet::new(
        config.steal_policy.wake_order(&layout.distances),
    ));
    let idle = Idle::with_order(wakers, order);
    let shared = Arc::new(Shared {
        remotes: remotes.into(),
        idle,
        boards: Arc::new(Boards::new(layout.lanes.len())),
        global: Global::new(layout.lane_orders.clone(), layout.lane_of_node.clone()),
        watch: Watch::new(layout.lanes.len(), config.watch_min),
        life: Life::new(),
        blocking: Blocking::new(&config)?,
        memory: Memory::new(),
        clock: Clock::start(),
        wake_began: CachePadded::default(),
        outside_wakes: Counter::default(),
        panics: Counter::default(),
        refused: Counter::default(),
        start_failures: Counter::default(),
        config: Quiet::new(config),
    });
    Ok((shared, processors))
}

/// Where workers say how binding went, when that matters.
#[derive(Default)]
struct Pins {
    results: Mutex<Vec<Result<(), (usize, PinError)>>>,
    changed: Condvar,
}

impl Pins {
    fn report(&self, result: Result<(), (usize, PinError)>) {
        self.results
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(result);
        self.changed.notify_all();
    }

    /// Waits for so many workers; the first failure.
    fn wait_for(&self, count: usize) -> Result<(), (usize, PinError)> {
        let mut results = self
            .results
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        while results.len() < count {
            results = self
                .changed
                .wait(results)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        results.drain(..).collect()
    }
}

fn start(
    shared: Arc<Shared>,
    processors: Vec<Processor>,
    seats: Vec<Option<Seat>>,
) -> Result<Assembled, BuildError> {
    let wanted = processors.len();
    let pins = Arc::new(Pins::default());
    let mut threads = Vec::new();
    let mut failure = None;
    for (processor, seat) in processors.into_iter().zip(seats) {
        let index = processor.index;
        let name = format!("{}-{index}", shared.config.name);
        let (own, own_pins) = (Arc::clone(&shared), Arc::clone(&pins));
        let body = Box::new(move || {
            own_pins.report(take_seat(index, seat.as_ref()));
            worker::run(own, processor);
        });
        shared.life.worker_joins();
        match shared
            .config
            .starter
            .start(name, shared.config.stack_size, body)
        {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                shared.life.worker_failed();
                shared.start_failures.add_shared(1);
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
        let error = failure.unwrap_or_else(|| std::io::Error::other("no worker was asked for"));
        return Err(BuildError::NoThread { wanted, error });
    }
    if shared.config.on_pin_failure == PinFailure::Refuse
        && let Err((worker, error)) = pins.wait_for(threads.len())
    {
        shared.life.close(&shared);
        join_all(threads);
        return Err(BuildError::Pin { worker, error });
    }
    threads.extend(schedtrace::start(&shared));
    Ok(Assembled { shared, threads })
}

/// Waits for threads that end.
pub(crate) fn join_all(threads: Vec<ThreadHandle<()>>) {
    for thread in threads {
        // A worker that panicked (in a queue of the user's) has left in good order.
        if let Err(panic) = thread.join() {
            dispose(panic);
        }
    }
}

/// Binds the calling thread, before it touches the memory it will work on.
fn take_seat(worker: usize, seat: Option<&Seat>) -> Result<(), (usize, PinError)> {
    let Some(seat) = seat else { return Ok(()) };
    match seat.take() {
        Ok(_pinned) => Ok(()),
        Err(error) => {
            tell(|| tracing::warn!(worker, %error, "the worker could not be bound to its CPUs"));
            Err((worker, error))
        }
    }
}
