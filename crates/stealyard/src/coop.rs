//! Cooperation: yielding, and the budget that makes a task yield.
//!
//! A future that is always ready, because the channel it reads is never empty, would hold its worker for
//! ever. So each time a task runs it gets a budget of operations (`Config::budget`). A source of readiness
//! asks [`poll_proceed`] first; when the budget is used up, that wakes the task and says `Pending`, the
//! task goes to the back of the queue, and the others have their turn. A loop of the user's own calls
//! [`consume_budget`].

use core::pin::Pin;
use core::task::{Context as PollContext, Poll};

use crate::current;

/// Lets the other tasks of this worker run first: the task goes to the back of the queue.
///
/// ```
/// # let scheduler = stealyard::Builder::new().parallelism(1).build()?;
/// scheduler.block_on(async {
///     stealyard::spawn(async { stealyard::yield_now().await }).await
/// }).unwrap();
/// # Ok::<(), stealyard::BuildError>(())
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// The future of [`yield_now`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut PollContext<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Uses up one operation of the running task's budget. `Pending` if there is none left: the task has been
/// woken, and should return `Pending` as well. Always `Ready` where no task of a scheduler runs.
pub fn poll_proceed(context: &mut PollContext<'_>) -> Poll<()> {
    let proceed = current::with(|current| {
        let processor = current.and_then(|current| current.processor_of(current.shared()));
        let Some(processor) = processor else {
            return true;
        };
        let left = processor.budget.get();
        processor.budget.set(left.saturating_sub(1));
        left > 0
    });
    if proceed {
        return Poll::Ready(());
    }
    context.waker().wake_by_ref();
    Poll::Pending
}

/// Uses up one operation of the running task's budget, and yields if there is none left.
pub async fn consume_budget() {
    core::future::poll_fn(poll_proceed).await;
}
