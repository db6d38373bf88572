#![doc = include_str!("../README.md")]

mod affinity;
mod bounded;
mod cpu_set;
mod detect;
mod distance;
mod error;
mod limits;
mod sysfs;
mod topology;

pub use affinity::{PinError, Pinned, current_cpu, mask, pin};
pub use cpu_set::{CpuListError, CpuSet};
pub use distance::{Distances, Matrix};
pub use error::Error;
pub use limits::{CpusetLimit, Limits, Parallelism, Quota, Reason, available_parallelism};
pub use topology::{
    Cache, CacheKind, Cluster, Core, CoreKind, Cpu, Die, Node, Package, Source, Topology,
};
