#![doc = include_str!("../README.md")]

mod affinity;
mod bounded;
mod cpu_set;
mod detect;
mod distance;
mod error;
#[cfg(feature = "hwloc")]
mod hwloc;
mod limits;
mod mempolicy;
mod note;
mod pin;
mod placement;
mod refresh;
mod synthetic;
mod sysfs;
mod topology;

pub use affinity::{current_cpu, mask};
pub use cpu_set::{CpuListError, CpuSet};
pub use distance::{Distances, Matrix};
pub use error::Error;
pub use limits::{
    CpusetLimit, Limits, Parallelism, PidLimit, Quota, Reason, available_parallelism,
};
pub use mempolicy::prefer_memory_of;
pub use note::Note;
pub use pin::{PinError, Pinned, pin};
pub use placement::{
    Bind, ParsePlacementError, PlaceList, Placement, PlacementError, Places, PlacesError, Plan,
    Seat,
};
pub use refresh::{Change, Refreshed};
pub use topology::{
    Cache, CacheKind, Cluster, Core, CoreKind, Cpu, Die, KindSource, MemoryKind, Node, Package,
    Source, Topology,
};
