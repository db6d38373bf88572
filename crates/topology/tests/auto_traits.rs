//! Goal: what may cross threads, panics and moves (O16). Method: a table of every public type,
//! decided at compile time. None of them is generic or borrows anything, so there is no variance
//! and no drop check to pin.

use std::panic::{RefUnwindSafe, UnwindSafe};

use stealyard_topology::{
    Bind, Cache, CacheKind, Change, Cluster, Core, CoreKind, Cpu, CpuListError, CpuSet,
    CpusetLimit, Die, Distances, Error, KindSource, Limits, Matrix, MemoryKind, Node, Note,
    Package, Parallelism, ParsePlacementError, PidLimit, PinError, Pinned, PlaceList, Placement,
    PlacementError, Places, PlacesError, Plan, Quota, Reason, Refreshed, Seat, Source, Topology,
};

/// Plain values may do everything.
fn plain<T: Send + Sync + UnwindSafe + RefUnwindSafe + Unpin>() {}

macro_rules! plain {
    ($($type:ty)*) => {
        $(plain::<$type>();)*
    };
}

#[test]
fn o16_each_type_has_the_documented_auto_traits() {
    plain!(Bind Cache CacheKind Cluster Core CoreKind Cpu CpuListError CpuSet CpusetLimit Die);
    plain!(Distances Error Limits Matrix Node Package Parallelism ParsePlacementError PinError);
    plain!(Pinned PlaceList Placement PlacementError Places PlacesError Plan Quota Reason Seat);
    plain!(Source Topology Note KindSource PidLimit MemoryKind Change Refreshed);
}
