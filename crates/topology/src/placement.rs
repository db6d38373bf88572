//! The seats of workers: n of them on the allowed CPUs of a machine.
//!
//! # The policies
//! | policy | a worker's set | workers next to each other | at most |
//! |--------|----------------|----------------------------|---------|
//! | `None` | every allowed CPU, not bound | – | any number |
//! | `Compact` | one CPU | fill a core, then its L2, L3, node | CPUs |
//! | `Spread` | one CPU | as far apart as can be, threads of used cores last | CPUs |
//! | `Balanced` | one CPU | the CPUs of `Spread`, numbered so that neighbours are near | CPUs |
//! | `OnePerCore` | a core | in order of nearness | cores |
//! | `PerNode` | a node | share a node, nodes filled by their CPUs | any number |
//! | `Explicit` | what is given | as given | sets given |
//! | `Places` | a place | by its [`Bind`] | any number |
//! | `PerformanceCores` | as the policy within | on performance cores alone | – |
//! | `LocalMemory` | as the policy within | – | – |
//!
//! Names are those of OpenMP, KMP and HPX users. A request that can't be met is an error that says
//! what was asked, what there is and why; nothing is dropped or doubled in silence.
//!
//! # Invariants
//! - **P1** Every set is not empty and lies within the allowed CPUs.
//! - **P2** `Compact`, `Spread`, `Balanced` and `OnePerCore` give disjoint sets.
//! - **P3** The answer is a function of the topology, the policy and the number: no randomness.
//!
//! How nearness becomes an order, whatever contains what, is told in `placement/order.rs`.

mod order;
mod places;
mod text;

pub use places::{Bind, PlaceList, Places, PlacesError};
pub use text::ParsePlacementError;

use crate::{CpuSet, Distances, Matrix, PinError, Pinned, Topology, pin, prefer_memory_of};
use core::cmp::Reverse;
use core::fmt;
use std::collections::BinaryHeap;

/// A policy for binding workers to CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Placement {
    /// Bind nothing; the system moves threads as it likes.
    #[default]
    None,
    /// One CPU each, close together: for workers that share data.
    Compact,
    /// One CPU each, far apart: for workers that each want memory bandwidth and cache.
    Spread,
    /// As many cores, caches and nodes as `Spread` uses, with neighbouring workers near each other.
    Balanced,
    /// One physical core each, free to move between its hardware threads.
    OnePerCore,
    /// One NUMA node each, free to move within it: locality without the cost of a busy CPU.
    PerNode,
    /// These sets, worker 0 the first.
    Explicit(Vec<CpuSet>),
    /// Places and binding as in OpenMP's `OMP_PLACES` and `OMP_PROC_BIND`.
    Places(Places),
    /// A policy on the performance cores alone.
    PerformanceCores(Box<Placement>),
    /// A policy whose workers also prefer the memory of their node, wherever a page is first
    /// touched.
    LocalMemory(Box<Placement>),
}

/// Where one worker goes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Seat {
    /// The CPUs the worker may run on.
    pub cpus: CpuSet,
    /// The node, by index, if all of them are on one.
    pub node: Option<usize>,
    /// Whether the worker is to be bound to them.
    pub bound: bool,
    /// The node, by the kernel's number, that the worker's memory is to come from, if it is to be
    /// bound too; the nearest one with memory.
    pub memory: Option<u32>,
}

impl Seat {
    /// Binds the calling thread to this seat, and its memory if [`Seat::memory`] says so; does
    /// nothing for a seat that is not bound.
    ///
    /// # Errors
    /// [`PinError`], as [`pin`](fn@crate::pin).
    pub fn take(&self) -> Result<Option<Pinned>, PinError> {
        let pinned = match self.bound {
            true => Some(pin(&self.cpus)?),
            false => None,
        };
        if let Some(node) = self.memory
            && let Err(error) = prefer_memory_of(Some(node))
        {
            if let Some(pinned) = &pinned {
                let _ = pin(&pinned.before);
            }
            return Err(PinError::Memory { node, error });
        }
        Ok(pinned)
    }
}

/// Where every worker goes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Plan {
    seats: Vec<Seat>,
    notes: Vec<String>,
}

impl Plan {
    /// Returns what the policy could not do on this machine though it was met, one sentence each:
    /// that `performance:` restricts nothing, for instance.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns the seats, worker 0 first.
    #[must_use]
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// Returns the nearness between the workers, by the farthest CPUs of their sets.
    #[must_use]
    pub fn matrix(&self, distances: &Distances) -> Matrix {
        let sets: Vec<CpuSet> = self.seats.iter().map(|seat| seat.cpus.clone()).collect();
        distances.matrix(&sets)
    }
}

/// A request that can't be met.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlacementError {
    /// More workers than the policy has room for.
    TooManyWorkers {
        /// The policy's name.
        policy: &'static str,
        /// How many workers were asked for.
        workers: usize,
        /// How many it has room for.
        room: usize,
        /// What each needs one of.
        unit: &'static str,
        /// The CPUs the process may use.
        allowed: CpuSet,
    },
    /// A set that was given is empty.
    EmptySet {
        /// Its position in the list.
        position: usize,
    },
    /// A set that was given names a CPU that is not online.
    NotOnline {
        /// Its position in the list.
        position: usize,
        /// The CPU.
        cpu: usize,
        /// Whether the machine has it, switched off.
        offline: bool,
        /// The CPUs that are online.
        online: CpuSet,
    },
    /// A set that was given names a CPU this process may not use.
    NotAllowed {
        /// Its position in the list.
        position: usize,
        /// The CPU.
        cpu: usize,
        /// The CPUs it may use.
        allowed: CpuSet,
    },
    /// Performance cores were asked for and this process may use none.
    NoPerformanceCore {
        /// The CPUs it may use.
        allowed: CpuSet,
    },
}

impl fmt::Display for PlacementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyWorkers {
                policy,
                workers,
                room,
                unit,
                allowed,
            } => write!(
                f,
                "{policy} cannot place {workers} workers: each needs a {unit} of its own and there \
                 are {room} (allowed CPUs: {allowed})"
            ),
            Self::EmptySet { position } => write!(f, "set {position} has no CPU in it"),
            Self::NotOnline {
                position,
                cpu,
                offline: true,
                online,
            } => {
                write!(
                    f,
                    "set {position} names CPU {cpu}, which is offline; online are {online}"
                )
            }
            Self::NotOnline {
                position,
                cpu,
                offline: false,
                online,
            } => {
                write!(
                    f,
                    "set {position} names CPU {cpu}, which does not exist; online are {online}"
                )
            }
            Self::NotAllowed {
                position,
                cpu,
                allowed,
            } => write!(
                f,
                "set {position} names CPU {cpu}, which this process may not use; it may use {allowed}"
            ),
            Self::NoPerformanceCore { allowed } => {
                write!(
                    f,
                    "of the allowed CPUs ({}) none is on a performance core",
                    allowed.in_words()
                )
            }
        }
    }
}

impl core::error::Error for PlacementError {}

impl Placement {
    /// Restricts this policy to the performance cores of a hybrid machine alone; elsewhere no
    /// change, because all cores count as such.
    #[must_use]
    pub fn on_performance_cores(self) -> Self {
        match self {
            Self::PerformanceCores(_) => self,
            other => Self::PerformanceCores(Box::new(other)),
        }
    }

    /// Makes the workers of this policy also prefer the memory of their node (`set_mempolicy`, on
    /// Linux). First touch puts pages there anyway, unless a worker's node has no memory, or a page
    /// was touched elsewhere first.
    #[must_use]
    pub fn with_local_memory(self) -> Self {
        match self {
            Self::LocalMemory(_) => self,
            other => Self::LocalMemory(Box::new(other)),
        }
    }

    /// Seats `workers` workers on the allowed CPUs of `topology`.
    ///
    /// ```
    /// use stealyard_topology::{Placement, Topology};
    /// let machine = Topology::synthetic("pack:2 [numa] core:2 pu:2")?;
    /// let plan = Placement::Spread.plan(&machine, 3)?;
    /// let cpus: Vec<String> = plan.seats().iter().map(|seat| seat.cpus.to_string()).collect();
    /// assert_eq!(cpus, ["0", "4", "2"]);
    /// let error = Placement::OnePerCore.plan(&machine, 5).unwrap_err();
    /// assert!(error.to_string().contains("each needs a core of its own and there are 4"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PlacementError`], which says which request can't be met and why.
    pub fn plan(&self, topology: &Topology, workers: usize) -> Result<Plan, PlacementError> {
        self.plan_within(topology, topology.allowed(), workers)
    }

    fn plan_within(
        &self,
        topology: &Topology,
        allowed: &CpuSet,
        workers: usize,
    ) -> Result<Plan, PlacementError> {
        let room = |policy, unit, sets: Vec<CpuSet>, room: usize| {
            if workers > room {
                let allowed = allowed.clone();
                return Err(PlacementError::TooManyWorkers {
                    policy,
                    workers,
                    room,
                    unit,
                    allowed,
                });
            }
            Ok(sets)
        };
        let one = |cpu: usize| CpuSet::from([cpu]);
        let sets = match self {
            Self::None => vec![allowed.clone(); workers],
            Self::Compact => {
                let order = order::compact(topology, allowed);
                let sets = order.into_iter().take(workers).map(one).collect();
                room("Compact", "CPU", sets, allowed.len())?
            }
            Self::Spread => {
                let order = order::spread(topology, allowed);
                let sets = order.into_iter().take(workers).map(one).collect();
                room("Spread", "CPU", sets, allowed.len())?
            }
            Self::Balanced => {
                let order = order::balanced(topology, allowed, workers);
                let room_for = allowed.len();
                let sets = order.into_iter().map(one).collect();
                room("Balanced", "CPU", sets, room_for)?
            }
            Self::OnePerCore => {
                let cores = order::cores(topology, allowed);
                let count = cores.len();
                room("OnePerCore", "core", cores, count)?
            }
            Self::PerNode => per_node(topology, allowed, workers),
            Self::Explicit(sets) => {
                check_sets(topology, allowed, sets)?;
                room("Explicit", "set", sets.clone(), sets.len())?
            }
            Self::Places(places) => places.assign(topology, allowed, workers)?,
            Self::PerformanceCores(policy) => {
                return policy.plan_on_performance_cores(topology, allowed, workers);
            }
            Self::LocalMemory(policy) => {
                return policy.plan_with_local_memory(topology, allowed, workers);
            }
        };
        // Even without binding, a worker that is to keep to performance cores has to be bound to
        // them.
        let bound = !matches!(self, Self::None) || allowed != topology.allowed();
        let seat = |cpus: CpuSet| Seat {
            node: node_of(topology, &cpus),
            cpus,
            bound,
            memory: None,
        };
        Ok(Plan {
            seats: sets.into_iter().take(workers).map(seat).collect(),
            notes: Vec::new(),
        })
    }
}

impl Placement {
    fn plan_on_performance_cores(
        &self,
        topology: &Topology,
        allowed: &CpuSet,
        workers: usize,
    ) -> Result<Plan, PlacementError> {
        let fast = &topology.performance_cpus() & allowed;
        if fast.is_empty() {
            return Err(PlacementError::NoPerformanceCore {
                allowed: allowed.clone(),
            });
        }
        let mut plan = self.plan_within(topology, &fast, workers)?;
        plan.notes
            .extend(restricts_nothing(topology, allowed, &fast));
        Ok(plan)
    }

    fn plan_with_local_memory(
        &self,
        topology: &Topology,
        allowed: &CpuSet,
        workers: usize,
    ) -> Result<Plan, PlacementError> {
        let mut plan = self.plan_within(topology, allowed, workers)?;
        for seat in &mut plan.seats {
            let near = seat.node.and_then(|node| topology.memory_near(node));
            seat.memory = near.map(|node| topology.nodes()[node].id);
        }
        Ok(plan)
    }
}

/// Returns a note if there is nothing that performance cores are told from.
fn restricts_nothing(topology: &Topology, allowed: &CpuSet, fast: &CpuSet) -> Option<String> {
    match topology.kind_source() {
        _ if fast != allowed => None,
        Some(source) => Some(format!(
            "performance: restricts nothing, because all allowed CPUs ({}) are on performance cores by {source}",
            allowed.in_words()
        )),
        None => Some(
            "performance: restricts nothing, because nothing tells the cores of this machine apart: not \
             devices/cpu_atom, cpu_capacity, acpi_cppc/highest_perf or cpufreq/base_frequency"
                .into(),
        ),
    }
}

/// Returns the index of the node that holds all of `cpus`.
fn node_of(topology: &Topology, cpus: &CpuSet) -> Option<usize> {
    let node = topology.cpu(cpus.first()?)?.node;
    cpus.is_subset(&topology.nodes()[node].cpus).then_some(node)
}

/// Chooses a node for each worker: every node once, then always the one with the most CPUs per
/// worker. The workers of a node are next to each other.
fn per_node(topology: &Topology, allowed: &CpuSet, workers: usize) -> Vec<CpuSet> {
    let of_node = |node: &crate::Node| &node.cpus & allowed;
    let nodes: Vec<CpuSet> = topology
        .nodes()
        .iter()
        .map(of_node)
        .filter(|set| !set.is_empty())
        .collect();
    // Workers per CPU, in units that keep all fractions of such sizes apart.
    let crowded =
        |seats: usize, node: usize| ((seats as u128 + 1) << 64) / nodes[node].len() as u128;
    let next = |seats: usize, node: usize| Reverse((seats > 0, crowded(seats, node), node));
    let mut seats = vec![0usize; nodes.len()];
    let mut waiting: BinaryHeap<_> = (0..nodes.len()).map(|node| next(0, node)).collect();
    for _ in 0..workers {
        let Some(Reverse((_, _, best))) = waiting.pop() else {
            break;
        };
        seats[best] += 1;
        waiting.push(next(seats[best], best));
    }
    nodes
        .into_iter()
        .zip(seats)
        .flat_map(|(set, count)| vec![set; count])
        .collect()
}

/// Sets that a user wrote: not empty, online, allowed.
fn check_sets(
    topology: &Topology,
    allowed: &CpuSet,
    sets: &[CpuSet],
) -> Result<(), PlacementError> {
    for (position, set) in sets.iter().enumerate() {
        if set.is_empty() {
            return Err(PlacementError::EmptySet { position });
        }
        let online = topology.online();
        if let Some(cpu) = (set - online).first() {
            let (offline, online) = (topology.offline().contains(cpu), online.clone());
            return Err(PlacementError::NotOnline {
                position,
                cpu,
                offline,
                online,
            });
        }
        if let Some(cpu) = (set - allowed).first() {
            return Err(PlacementError::NotAllowed {
                position,
                cpu,
                allowed: allowed.clone(),
            });
        }
    }
    Ok(())
}
