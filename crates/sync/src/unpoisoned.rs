//! Locks whose poison means nothing.
//!
//! A lock is poisoned when a thread panics while it holds it. Where no code of a user's runs under
//! a lock, and what it guards is whole at every step, a poisoned lock is as good as any other:
//! these functions take it all the same. A lock that a panic can leave half done must not be taken
//! so.

use crate::time::Duration;
use crate::{Condvar, Mutex, MutexGuard};

/// Takes the lock, poisoned or not.
#[inline]
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}

/// Waits until notified, or for no reason; the lock may be poisoned by then.
pub fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    match condvar.wait(guard) {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}

/// Waits until notified, or for no reason, and for `limit` at the most; the lock may be poisoned by
/// then.
pub fn wait_timeout<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    limit: Duration,
) -> MutexGuard<'a, T> {
    match condvar.wait_timeout(guard, limit) {
        Ok((guard, _)) => guard,
        Err(poisoned) => poisoned.into_inner().0,
    }
}

#[cfg(all(test, not(any(stealyard_loom, stealyard_shuttle))))]
mod tests {
    use super::*;
    use crate::{Arc, thread};

    #[test]
    fn a_poisoned_lock_is_taken_and_waited_with() {
        let (lock_of_both, condvar) = (Arc::new(Mutex::new(1)), Condvar::new());
        let theirs = Arc::clone(&lock_of_both);
        let panicked = thread::spawn(move || {
            let _held = theirs.lock();
            std::panic::resume_unwind(Box::new("poison"));
        });
        assert!(panicked.join().is_err());
        assert!(lock_of_both.is_poisoned());
        let guard = lock(&lock_of_both);
        let guard = wait_timeout(&condvar, guard, Duration::from_nanos(1));
        assert_eq!(*guard, 1);
    }
}
