//! rayon.

use super::ForkJoin;

/// A pool of its own.
pub(crate) struct Rayon(rayon::ThreadPool);

impl ForkJoin for Rayon {
    const NAME: &'static str = "rayon";

    fn start(workers: usize) -> Self {
        Self(
            rayon::ThreadPoolBuilder::new()
                .num_threads(workers)
                .build()
                .expect("threads start"),
        )
    }

    fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.0.install(work)
    }

    #[inline]
    fn join<A: Send, B: Send>(
        a: impl FnOnce() -> A + Send,
        b: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        rayon::join(a, b)
    }
}
