//! Numbers of tasks, given when they are asked for.
//!
//! Most tasks are never asked for their number, so a spawn gives none, and a task has no room for
//! one. The first call that asks takes the next number of the process and puts it into a register
//! of the scheduler, under the task's address. A bit of the task's state says that it is there, so
//! that it is taken out when the task's memory is given back.
//!
//! | operation             | cost                                                            |
//! |-----------------------|-----------------------------------------------------------------|
//! | spawn                 | nothing                                                         |
//! | the end of a task     | a branch on a word that was just read; a lock if it has a number |
//! | `id`, the first time  | a lock, an entry, two RMWs                                      |
//! | `id`, later           | a lock, a look                                                  |
//!
//! - **ID1** *An entry is there if and only if the task is `NAMED`*, when the lock is free and the
//!   task's memory is not being given back. A caller that names a task has a reference to it, so
//!   the address is no other task's.
//!
//! # Why not …
//! - *A number for each spawn, from blocks of numbers that each worker has:* eight bytes more in
//!   each task, which moves some of them to a block of twice the size.
//! - *The address with a count of its uses:* the state has no bits to spare for a count that never
//!   comes back.

use core::fmt;
use core::num::NonZero;
use std::collections::HashMap;

use stealyard_sync::{Mutex, MutexGuard, unique, unpoisoned};

use super::state::State;

/// The number of a task. No two tasks of a process have the same, in whatever scheduler and at
/// whatever time.
///
/// Numbers are given when they are asked for the first time. So their order says which task was
/// asked first, and nothing about when it was spawned; it is there for ordered collections.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(NonZero<u64>);

impl TaskId {
    /// Returns the number, for logs and traces.
    pub fn as_u64(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TaskId").field(&self.0).finish()
    }
}

/// The numbers of one scheduler's tasks that were asked for (ID1).
#[derive(Debug, Default)]
pub(super) struct Ids {
    given: Mutex<HashMap<usize, TaskId>>,
}

impl Ids {
    /// Returns the number of the task at this address. The caller has a reference to it, or runs
    /// it.
    pub(super) fn of(&self, address: NonZero<usize>, state: &State) -> TaskId {
        *self.lock().entry(address.get()).or_insert_with(|| {
            state.name();
            TaskId(unique::number())
        })
    }

    /// Takes the task at this address out of the register, whose memory is given back.
    #[cold]
    pub(super) fn forget(&self, address: NonZero<usize>) {
        let mut given = self.lock();
        let id = given.remove(&address.get());
        debug_assert!(id.is_some(), "ID1: a task that is named has a number");
        let (len, capacity) = (given.len(), given.capacity());
        if capacity > 64 && len < capacity / 8 {
            given.shrink_to(2 * len);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, TaskId>> {
        // A panic under the lock (out of memory) leaves the register whole.
        unpoisoned::lock(&self.given)
    }
}
