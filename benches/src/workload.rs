//! The workloads, each written once, and the cases made of them.

pub(crate) mod contended;
pub(crate) mod fork_join;
pub(crate) mod gauge;
pub(crate) mod granularity;
pub(crate) mod injector;
pub(crate) mod park;
pub(crate) mod queue;
pub(crate) mod scheduler;
pub(crate) mod wake;

use crate::harness::Case;

/// Returns every case, in the order in which they are shown.
pub(crate) fn all(workers: usize) -> Vec<Case> {
    let mut cases = queue::cases();
    cases.extend(injector::cases());
    cases.extend(park::cases());
    cases.extend(scheduler::cases(workers));
    cases.extend(granularity::cases(workers));
    cases.extend(fork_join::cases(workers));
    cases.extend(wake::cases(workers));
    cases.extend(contended::cases(workers));
    cases.extend(gauge::cases(workers));
    cases
}
