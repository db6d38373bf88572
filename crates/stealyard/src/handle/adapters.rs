//! Other crates' traits for spawning, each behind a feature of its name.
//!
//! Everything else needs no adapter: a future that is woken by a `Waker` works on any scheduler,
//! those of the `async-*` crates of smol with their own reactor among them. A library that asks for
//! a tokio runtime gets one lent: `examples/tokio_library.rs`.

use crate::handle::Handle;

#[cfg(feature = "futures")]
impl futures_task::Spawn for Handle {
    /// # Errors
    /// Shutdown, if the scheduler has ended or is being drained and the caller is outside.
    fn spawn_obj(
        &self,
        future: futures_task::FutureObj<'static, ()>,
    ) -> Result<(), futures_task::SpawnError> {
        match self.status() {
            Ok(()) => self.spawn_detached(future),
            // A panic of its destructor is not the caller's.
            Err(error) => {
                self.shared.drop_unwanted(future);
                return Err(error);
            }
        }
        Ok(())
    }

    fn status(&self) -> Result<(), futures_task::SpawnError> {
        if crate::handle::takes_new(&self.shared) {
            Ok(())
        } else {
            Err(futures_task::SpawnError::shutdown())
        }
    }
}

#[cfg(feature = "hyper")]
impl<F> hyper::rt::Executor<F> for Handle
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.spawn_detached(future);
    }
}
