//! What the scheduler counts, and how it is read.
//!
//! A counter has one writer: the worker that holds the P adds with a load and a store, which costs
//! no more than to add to a plain variable, and the reader sums. A sum over workers is therefore
//! not the state of one moment; each single counter only grows. Events that belong to no worker and
//! are rare (panics, threads that could not be started) are counted by read-modify-writes.
//!
//! Metrics are read, never relied on: counts that a protocol needs are fields of their own
//! (`processor/remote.rs`), which metrics read.

pub(crate) mod counter;
pub(crate) mod histogram;
pub(crate) mod wake_timer;

use counter::Counter;
use histogram::{Histogram, Recorder};

/// Counts that belong to no worker and are rare: written by read-modify-writes.
#[derive(Debug, Default)]
pub(crate) struct SharedCounts {
    /// Sleeping workers that threads outside woke.
    pub(crate) outside_wakes: Counter,
    /// Panics of the user's code that were caught.
    pub(crate) panics: Counter,
    /// Tasks that were cancelled when they were spawned.
    pub(crate) refused: Counter,
    /// Threads that could not be started.
    pub(crate) start_failures: Counter,
}

/// Distances are counted apart up to this rank; farther ones are counted with it.
pub const DISTANCES: usize = 10;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One worker's counters; written by the worker that holds the P.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
            pub(crate) stolen_by_distance: [Counter; DISTANCES],
            pub(crate) poll_time: Recorder,
            pub(crate) wake_to_run: Recorder,
        }

        /// The counts of one worker since the scheduler began, or the sum over all of them.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct WorkerMetrics {
            /// Times a task was run: to its end or until it waited.
            pub tasks_run: u64,
            /// Times the worker slept.
            pub parks: u64,
            $($(#[$doc])* pub $name: u64,)*
            /// Successful steals by the distance of the victim; see `stealyard_topology::Matrix`.
            pub stolen_by_distance: [u64; DISTANCES],
            /// How long tasks ran until they ended or waited; one in each interval of
            /// `Config::global_interval` is measured.
            pub poll_time: Histogram,
            /// How long it took from a submission from outside, which woke this sleeping worker,
            /// until it had a task. Where several are woken at once, only one of them is counted.
            pub wake_to_run: Histogram,
            /// Tasks in the worker's queue now, its run-next slot included.
            pub queue_depth: usize,
        }

        impl Counters {
            /// Reads the counters, beside those that belong to protocols and are kept elsewhere
            /// (`processor/remote.rs`).
            pub(crate) fn read(&self, queue_depth: usize, tasks_run: u64, parks: u64) -> WorkerMetrics {
                WorkerMetrics {
                    tasks_run,
                    parks,
                    $($name: self.$name.get(),)*
                    stolen_by_distance: core::array::from_fn(|rank| self.stolen_by_distance[rank].get()),
                    poll_time: self.poll_time.read(),
                    wake_to_run: self.wake_to_run.read(),
                    queue_depth,
                }
            }
        }

        impl WorkerMetrics {
            fn add(&mut self, other: &Self) {
                self.tasks_run = self.tasks_run.wrapping_add(other.tasks_run);
                self.parks = self.parks.wrapping_add(other.parks);
                $(self.$name = self.$name.wrapping_add(other.$name);)*
                for (sum, one) in self.stolen_by_distance.iter_mut().zip(other.stolen_by_distance) {
                    *sum = sum.wrapping_add(one);
                }
                self.poll_time.add(&other.poll_time);
                self.wake_to_run.add(&other.wake_to_run);
                self.queue_depth += other.queue_depth;
            }
        }
    };
}

counters! {
    /// Tasks taken from the run-next slot.
    slot_hits,
    /// Tasks spawned on the worker.
    spawned,
    /// Attempts to steal.
    steals_tried,
    /// Attempts that brought something.
    steals_done,
    /// Tasks that steals brought.
    tasks_stolen,
    /// Tasks taken from others' run-next slots.
    slots_stolen,
    /// Times the queue was full and gave half to the global queue.
    overflows,
    /// Tasks that the worker gave to the global queue: by overflows, or because they yielded and
    /// its own queue is last in, first out.
    tasks_overflowed,
    /// Times the worker went on looking after it had found nothing, instead of going to sleep at
    /// once.
    spins,
    /// Those of them that found nothing.
    spins_in_vain,
    /// Times the worker took tasks from the global queue.
    injector_takes,
    /// Tasks so taken.
    tasks_injected,
    /// Times it was woken to search.
    woken_to_search,
    /// Sleeping workers that it woke.
    wakes,
    /// Times it began to search.
    searches,
    /// Nanoseconds spent searching.
    search_ns,
}

/// A scheduler's state and history, read without stopping any thread.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// Each worker.
    pub workers: Vec<WorkerMetrics>,
    /// Tasks in the global queue now.
    pub injector_depth: usize,
    /// Tasks that threads outside have put into the global queue; worked out from the other counts,
    /// so it is exact at rest only.
    pub pushed_from_outside: u64,
    /// Sleeping workers that threads outside woke for what they put there.
    pub wakes_from_outside: u64,
    /// Workers that search for work now.
    pub searching: usize,
    /// Workers that sleep now.
    pub sleeping: usize,
    /// Threads for blocking calls now, idle ones included.
    pub blocking_threads: usize,
    /// Of these, idle ones.
    pub blocking_idle: usize,
    /// Blocking calls that wait for a thread now.
    pub blocking_queued: usize,
    /// Threads that could not be started so far, workers' and blocking ones'.
    pub thread_start_failures: u64,
    /// Panics caught so far: of tasks, of joiners' wakers, of hooks and policies, and of
    /// destructors of outputs that no handle took or whose handle was dropped.
    pub panics: u64,
    /// Tasks that were cancelled when they were spawned, because the scheduler had ended, was being
    /// drained and the caller outside, or was the copy in a forked child.
    pub refused: u64,
}

impl Metrics {
    /// Returns the sum over all workers.
    #[must_use]
    pub fn total(&self) -> WorkerMetrics {
        let mut total = WorkerMetrics::default();
        for worker in &self.workers {
            total.add(worker);
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_the_sum() {
        let counters = Counters::default();
        counters.spawned.add(3);
        counters.stolen_by_distance[2].add(2);
        let metrics = Metrics {
            workers: vec![counters.read(4, 5, 7), counters.read(1, 5, 7)],
            ..Metrics::default()
        };
        let total = metrics.total();
        assert_eq!((total.spawned, total.queue_depth), (6, 5));
        assert_eq!((total.tasks_run, total.parks), (10, 14));
        assert_eq!(total.stolen_by_distance[2], 4);
    }

    #[test]
    fn t14_a_sum_of_counters_goes_on_at_zero() {
        let counters = Counters::default();
        counters.spawned.add(u64::MAX);
        let near_end = || counters.read(0, u64::MAX, u64::MAX);
        let metrics = Metrics {
            workers: vec![near_end(), near_end()],
            ..Metrics::default()
        };
        let total = metrics.total();
        assert_eq!(total.spawned, u64::MAX - 1);
        assert_eq!((total.tasks_run, total.parks), (u64::MAX - 1, u64::MAX - 1));
    }
}
