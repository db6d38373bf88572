//! Under a model: crossbeam-epoch's default collector, which a model makes anew for each execution.

pub(super) use crossbeam_epoch::pin;
