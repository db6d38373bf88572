//! What other code's memory safety depends on cannot be done by accident.

use std::sync::Arc;

use stealyard_task::fork_join::{Boards, JoinHost, JoinStack};
use stealyard_task::{LocalMemory, Schedule, StackJob, Task, TaskMemory, Why, spawn_unchecked};

/// It could be used with two schedulers.
fn local_memory() -> LocalMemory {
    LocalMemory::new()
}

/// It could be left before its joins end.
fn join_stack(stack: &JoinStack, host: &dyn JoinHost) {
    let _guard = stack.enter(host);
}

/// The job could be gone when it is run.
fn stack_job(job: &StackJob) -> Task {
    Task::from_job(job.into())
}

fn unchecked<S: Schedule>(home: &Arc<S>) {
    drop(spawn_unchecked(home, None, async {}));
}

struct Host;

/// It could panic in the middle of a join.
impl JoinHost for Host {
    fn announce_offer(&self) {}

    fn has_idle_worker(&self) -> bool {
        false
    }

    fn push(&self, task: Task) {
        drop(task);
    }

    fn boards(&self) -> &Arc<Boards> {
        panic!()
    }

    fn index(&self) -> usize {
        0
    }
}

struct Home;

/// It could lend another's memory.
impl Schedule for Home {
    fn schedule(&self, task: Task, _why: Why) {
        drop(task);
    }

    fn memory(&self) -> &TaskMemory<Self> {
        panic!()
    }

    fn with_local<R>(&self, f: impl FnOnce(Option<&LocalMemory>) -> R) -> R {
        f(None)
    }
}

fn main() {}
