//! Runs a model and prints the number of interleavings that it explored.
//!
//! A model that explored one interleaving has modelled nothing. The usual cause is that the code
//! under test did not go through this crate. So a single interleaving is a failure here, not a
//! pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The largest number of steps of one execution.
const BRANCHES_MAX: usize = 2_000;
/// The time limit of a deep run. The models of whole schedulers would take days with three
/// preemptions.
const DEEP_MAX: Duration = Duration::from_secs(600);

/// Explores `body` as [`check`] does, with no load of an atomic hidden from loom.
///
/// This is for a protocol in which a thread loads an atomic twice and acts by both values, against
/// threads that load before they write. `imp/watched.rs` describes what is hidden otherwise, and
/// the price.
///
/// # Panics
/// Panics as [`check`] does.
pub fn check_every_look(
    preemptions: impl Into<Option<usize>>,
    body: impl Fn() + Send + Sync + 'static,
) {
    crate::imp::watched::watching(|| check(preemptions, body));
}

/// Explores `body` with at most `preemptions` preemptions in an execution.
///
/// This is loom's bound: 2 finds nearly every known bug, 3 the rest, and `None` is unbounded.
/// `STEALYARD_PREEMPTIONS` in the environment overrides it for deep runs. A deep run ends after ten
/// minutes if it has not explored everything.
///
/// # Panics
/// Panics if any interleaving fails, or if there was only one.
pub fn check(preemptions: impl Into<Option<usize>>, body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = match std::env::var("STEALYARD_PREEMPTIONS") {
        Ok(bound) => {
            builder.max_duration = Some(DEEP_MAX);
            Some(bound.parse().expect("STEALYARD_PREEMPTIONS is a number"))
        }
        Err(_) => preemptions.into(),
    };
    // A scheduler of two workers takes just over the default of a thousand. A loop without end
    // exceeds any number.
    builder.max_branches = builder.max_branches.max(BRANCHES_MAX);
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    builder.check(move || {
        // Ordering: Relaxed; loom runs the executions one after the other on one thread.
        count.fetch_add(1, Ordering::Relaxed);
        body();
    });
    // Ordering: Relaxed; as above.
    let interleavings = seen.load(Ordering::Relaxed);
    let name = std::thread::current().name().unwrap_or("model").to_owned();
    eprintln!("{name}: {interleavings} interleavings");
    assert!(
        interleavings > 1,
        "{name} explored a single interleaving: it models nothing"
    );
}
