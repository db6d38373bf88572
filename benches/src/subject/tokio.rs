//! tokio, multi-threaded.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Handle};

use super::{Guest, Runtime, Spawner};

/// A multi-threaded runtime.
pub(crate) struct Tokio(tokio::runtime::Runtime);

impl Runtime for Tokio {
    const NAME: &'static str = "tokio";
    type Spawner = Handle;

    fn start(workers: usize) -> Self {
        Self(
            Builder::new_multi_thread()
                .worker_threads(workers)
                .build()
                .expect("threads start"),
        )
    }

    fn spawner(&self) -> Handle {
        self.0.handle().clone()
    }
}

impl Guest for Tokio {
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}

/// A handle whose task does not fail.
pub(crate) struct Join<T>(tokio::task::JoinHandle<T>);

impl<T> Future for Join<T> {
    type Output = T;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|result| result.expect("the task ends"))
    }
}

impl Spawner for Handle {
    type Join<T: Send + 'static> = Join<T>;

    #[inline]
    fn spawn<F>(&self, future: F) -> Join<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        Join(Self::spawn(self, future))
    }

    #[inline]
    fn spawn_detached<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(Self::spawn(self, future));
    }
}
