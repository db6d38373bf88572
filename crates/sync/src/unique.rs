//! Numbers that no two callers in this process share.

use core::num::NonZero;
// Not the model's atomic: a model's executions share the process, and no code depends on the
// numbers.
use core::sync::atomic::{AtomicU64, Ordering};

/// Returns a number that was never returned before in this process. After a fork, parent and child
/// go on from the same number.
///
/// It is wait-free: one read-modify-write of a word that all threads share.
pub fn number() -> NonZero<u64> {
    static LAST: AtomicU64 = AtomicU64::new(0);
    // Ordering: Relaxed; the value publishes nothing else. Unmodelled: the atomic is not the
    // model's.
    let last = LAST.fetch_add(1, Ordering::Relaxed);
    // At one number a nanosecond an overflow takes 584 years.
    NonZero::new(last + 1).unwrap_or(NonZero::<u64>::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_comes_twice() {
        let draw = || (0..10_000).map(|_| number()).collect::<Vec<_>>();
        let mut all: Vec<_> = std::thread::scope(|threads| {
            let drawing: Vec<_> = (0..4).map(|_| threads.spawn(draw)).collect();
            drawing
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
                .collect()
        });
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 40_000);
    }
}
