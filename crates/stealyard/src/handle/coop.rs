//! Cooperation: yielding, and the budget that makes a task yield.
//!
//! A future that is always ready, because the channel it reads is never empty, would hold its
//! worker for ever. So each time a task runs it gets a budget of operations (`Config::budget`). A
//! source of readiness asks [`poll_proceed`] first. When the budget is used up, that wakes the task
//! and returns `Pending`: the task goes to the back of the queue, and the others have their turn.
//! - A loop of the user's own calls [`consume_budget`].
//! - A future of another crate, which does not ask, is wrapped in [`cooperative`].

use core::pin::{Pin, pin};
use core::task::{Context as PollContext, Poll};

use stealyard_task::running;

use crate::machine::current;

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

/// Uses up one operation of the running task's budget. Returns `Pending` if there is none left: the
/// task has been woken, and should return `Pending` as well. Returns `Ready` wherever no task of a
/// scheduler runs.
pub fn poll_proceed(context: &mut PollContext<'_>) -> Poll<()> {
    if change_budget(|left| left.saturating_sub(1)) > 0 {
        return Poll::Ready(());
    }
    context.waker().wake_by_ref();
    Poll::Pending
}

/// Changes the running task's budget, and returns what it was before. Where no task of a scheduler
/// runs there is always some left.
fn change_budget(change: impl FnOnce(u32) -> u32) -> u32 {
    if !running::is_task() {
        // A hook or a destructor, whatever the last task left.
        return u32::MAX;
    }
    current::with_worker(|machine| {
        let Some(machine) = machine.filter(|machine| machine.processor().is_some()) else {
            return u32::MAX;
        };
        let left = machine.budget.get();
        machine.budget.set(change(left));
        left
    })
}

/// Uses up one operation of the running task's budget, and yields if there is none left.
pub async fn consume_budget() {
    core::future::poll_fn(poll_proceed).await;
}

/// Awaits `future`, which uses up one operation of the running task's budget when it is ready, and
/// yields before it if there is none left: for channels, sockets and timers that know nothing of
/// this scheduler.
///
/// ```
/// # let scheduler = stealyard::Builder::new().parallelism(1).build()?;
/// # let (sender, numbers) = async_channel::unbounded();
/// # (0..1000).for_each(|number| sender.try_send(number).unwrap());
/// # drop(sender);
/// let sum = scheduler.spawn(async move {
///     let mut sum = 0;
///     // However full the channel is, others have their turn after each 128 numbers.
///     while let Ok(number) = stealyard::coop::cooperative(numbers.recv()).await {
///         sum += number;
///     }
///     sum
/// });
/// # assert_eq!(sum.join().unwrap(), 499_500);
/// # Ok::<(), stealyard::BuildError>(())
/// ```
pub async fn cooperative<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    core::future::poll_fn(|context| {
        if poll_proceed(context).is_pending() {
            return Poll::Pending;
        }
        let polled = future.as_mut().poll(context);
        if polled.is_pending() {
            // It waits by itself, which costs nothing.
            change_budget(|left| left.saturating_add(1));
        }
        polled
    })
    .await
}
