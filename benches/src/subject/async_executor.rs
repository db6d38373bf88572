//! async-executor, with threads that run it, as its documentation shows.

use std::sync::Arc;
use std::thread::JoinHandle;

use async_executor::{Executor, Task};

use super::{Guest, Runtime, Spawner};

/// An executor, its threads, and the channel that ends them.
pub(crate) struct AsyncExecutor {
    executor: Arc<Executor<'static>>,
    stop: Option<async_channel::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Runtime for AsyncExecutor {
    const NAME: &'static str = "async-executor";
    type Spawner = Arc<Executor<'static>>;

    fn start(workers: usize) -> Self {
        let executor = Arc::new(Executor::new());
        let (stop, stopped) = async_channel::bounded(1);
        let threads = (0..workers)
            .map(|_| {
                let (executor, stopped) = (Arc::clone(&executor), stopped.clone());
                std::thread::spawn(move || {
                    // The channel closes when `stop` is dropped.
                    let _ = futures_lite::future::block_on(executor.run(stopped.recv()));
                })
            })
            .collect();
        Self {
            executor,
            stop: Some(stop),
            threads,
        }
    }

    fn spawner(&self) -> Arc<Executor<'static>> {
        Arc::clone(&self.executor)
    }
}

impl Guest for AsyncExecutor {
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        // This is what users of an executor with threads of its own do.
        futures_lite::future::block_on(future)
    }
}

impl Drop for AsyncExecutor {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.threads
            .drain(..)
            .for_each(|thread| thread.join().expect("it ends"));
    }
}

impl Spawner for Arc<Executor<'static>> {
    type Join<T: Send + 'static> = Task<T>;

    #[inline]
    fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        Executor::spawn(self, future)
    }

    #[inline]
    fn spawn_detached<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Executor::spawn(self, future).detach();
    }
}
