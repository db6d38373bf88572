//! Numbers that no two callers in this process share.

use core::num::NonZero;
// Not the model's: a model's executions share the process, and nothing hangs on which number comes next.
use core::sync::atomic::{AtomicU64, Ordering};

/// A number that was never given before in this process. After a fork, parent and child go on with the same.
///
/// Wait-free: one read-modify-write of a word that all threads share.
pub fn number() -> NonZero<u64> {
    static LAST: AtomicU64 = AtomicU64::new(0);
    // Ordering: Relaxed; the value is the whole message. Unmodelled: it is not the model's.
    let last = LAST.fetch_add(1, Ordering::Relaxed);
    // One a nanosecond takes 584 years.
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
