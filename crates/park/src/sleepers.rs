//! The set of workers that sleep: one bit for each worker, 64 to a word.
//!
//! # Operations
//! RMW is a read-modify-write. A *word* holds the bits of 64 workers.
//!
//! | operation   | caller            | progress  | cost                                       |
//! |-------------|-------------------|-----------|--------------------------------------------|
//! | `enter`     | the worker itself | wait-free | two RMWs                                   |
//! | `leave`     | the worker itself | wait-free | one RMW                                    |
//! | `claim`     | any thread        | wait-free | a load, perhaps one RMW                    |
//! | `is_empty`  | any thread        | wait-free | a load per word                            |
//! | `claim_any` | any thread        | lock-free | a load per word, an RMW for each lost race |
//!
//! # Invariants
//! - **S1** Only a worker sets its own bit, and only while the bit is clear. Any thread may clear
//!   it. The thread that finds the bit set at the moment of clearing it is the only one that does:
//!   either one waker has claimed the worker, or the worker has left by itself, never both and
//!   never two.
//! - **S2** A worker's stamp is written before its bit is set. The stamp only helps to choose. A
//!   stale stamp picks another sleeper, never a wrong one, because the claim decides.
//!
//! # Orderings
//! | label | operation                       | partner | publishes                              |
//! |-------|---------------------------------|---------|----------------------------------------|
//! | SO1   | `claim`: clears a bit, Release  | SO2     | what the waker did before it woke      |
//! | SO2   | `leave`: clears a bit, Acquire  | SO1     | –                                      |
//!
//! The orderings that make a *set* bit visible to the threads that must see it belong to the idle
//! protocol: IO1 to IO6 of `idle.rs`.

use stealyard_sync::MODELLED;
use stealyard_sync::atomic::{AtomicU64, Ordering};

/// The number of workers to a word.
///
/// In a model each worker has a word of its own. In a shared word, coherence alone would show every
/// earlier bit, and hide what the protocol owes to workers of different words.
const BITS: usize = if MODELLED { 1 } else { u64::BITS as usize };

#[derive(Debug)]
pub(crate) struct Sleepers {
    words: Box<[AtomicU64]>,
    stamps: Box<[AtomicU64]>,
    clock: AtomicU64,
}

impl Sleepers {
    pub(crate) fn new(workers: usize) -> Self {
        let zeros = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self {
            words: zeros(workers.div_ceil(BITS)),
            stamps: zeros(workers),
            clock: AtomicU64::new(0),
        }
    }

    /// Marks the worker as asleep (S1, S2).
    pub(crate) fn enter(&self, index: usize) {
        // Ordering: Relaxed; the clock only has to give different numbers.
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        // Ordering: Relaxed; a hint (S2).
        self.stamps[index].store(now, Ordering::Relaxed);
        // Ordering: Relaxed; the parking worker's next step on the number of searchers publishes
        // the bit (IO1 of `idle.rs`).
        let before = self.words[index / BITS].fetch_or(bit(index), Ordering::Relaxed);
        debug_assert_eq!(before & bit(index), 0, "S1: worker {index} sleeps twice");
    }

    /// Takes the worker's own bit back. Returns false if a waker has claimed the worker (S1).
    pub(crate) fn leave(&self, index: usize) -> bool {
        // Ordering: Acquire (SO2); if a waker cleared the bit, what the waker did before is
        // visible.
        let before = self.words[index / BITS].fetch_and(!bit(index), Ordering::Acquire);
        before & bit(index) != 0
    }

    /// Claims the sleeper `index` for a wake. Returns false if it does not sleep, or no longer
    /// (S1).
    pub(crate) fn claim(&self, index: usize) -> bool {
        if !self.contains(index) {
            return false;
        }
        // Ordering: Release (SO1); a worker that finds itself claimed sees what we did before.
        let before = self.words[index / BITS].fetch_and(!bit(index), Ordering::Release);
        before & bit(index) != 0
    }

    /// Claims the sleeper with the lowest number. Returns `None` only if each word was seen empty.
    pub(crate) fn claim_any(&self) -> Option<usize> {
        for (at, word) in self.words.iter().enumerate() {
            loop {
                // Ordering: Relaxed; the claim decides.
                let seen = word.load(Ordering::Relaxed);
                if seen == 0 {
                    break;
                }
                let index = at * BITS + seen.trailing_zeros() as usize;
                if self.claim(index) {
                    return Some(index);
                }
            }
        }
        None
    }

    pub(crate) fn contains(&self, index: usize) -> bool {
        // Ordering: Relaxed; a hint, or read by the only thread that can set the bit.
        self.words
            .get(index / BITS)
            .is_some_and(|word| word.load(Ordering::Relaxed) & bit(index) != 0)
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        // Ordering: Relaxed; each caller has passed a light fence (IO4 of `idle.rs`) or an Acquire
        // on the number of searchers (IO2, IO3 of `idle.rs`), which shows the bits that matter.
        self.words
            .iter()
            .all(|word| word.load(Ordering::Relaxed) == 0)
    }

    pub(crate) fn count(&self) -> usize {
        // Ordering: Relaxed; a snapshot for a bound that need not be exact.
        self.words
            .iter()
            .map(|word| word.load(Ordering::Relaxed).count_ones() as usize)
            .sum()
    }

    /// Iterates over the sleepers and their stamps, in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, u64)> {
        self.words.iter().enumerate().flat_map(move |(at, word)| {
            // Ordering: Relaxed; the claim decides.
            let mut bits = word.load(Ordering::Relaxed);
            core::iter::from_fn(move || {
                if bits == 0 {
                    return None;
                }
                let index = at * BITS + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                // Ordering: Relaxed; a hint (S2).
                Some((index, self.stamps[index].load(Ordering::Relaxed)))
            })
        })
    }
}

const fn bit(index: usize) -> u64 {
    1 << (index - index / BITS * BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_has_its_own_bit_beyond_one_word() {
        let sleepers = Sleepers::new(200);
        assert!(sleepers.is_empty());
        for index in [0, 63, 64, 130, 199] {
            sleepers.enter(index);
        }
        assert_eq!(sleepers.count(), 5);
        let found: Vec<usize> = sleepers.iter().map(|(index, _)| index).collect();
        assert_eq!(found, [0, 63, 64, 130, 199]);
        assert!(sleepers.claim(64));
        assert!(!sleepers.claim(64), "S1: claimed once");
        assert!(!sleepers.leave(64), "S1: it was claimed");
        assert!(sleepers.leave(63));
        assert!(!sleepers.claim(1_000), "out of range is not asleep");
        assert_eq!(sleepers.claim_any(), Some(0));
        assert_eq!(sleepers.claim_any(), Some(130));
        assert_eq!(sleepers.claim_any(), Some(199));
        assert_eq!(sleepers.claim_any(), None);
    }
}
