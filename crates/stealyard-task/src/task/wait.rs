//! Blocking a thread on a future.
//!
//! The waker is the standard library's, made of an `Arc` of the thread's unparker. The parker and
//! the waker are kept for the thread's next wait, so a wait allocates nothing but the first time.

use core::cell::Cell;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
// `Wake` is implemented for the standard library's, whatever the model's is.
use std::sync::Arc as StdArc;
use std::task::Wake;

use stealyard_park::{Parker, SpinConfig, Unparker};
use stealyard_sync::const_thread_local;

use super::trampoline;

struct Unpark(Unparker);

impl Wake for Unpark {
    fn wake(self: StdArc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &StdArc<Self>) {
        self.0.unpark();
    }
}

/// What a thread waits with; kept for its next wait.
struct Waiting {
    parker: Parker,
    waker: Waker,
    spin: SpinConfig,
}

/// How many are kept. A thread that waits for several schedulers in turns learns to spin for each.
const KEPT_MAX: usize = 4;

const_thread_local! {
    static KEPT: Cell<Vec<Waiting>> = Cell::new(Vec::new());
}

impl Waiting {
    fn new(spin: SpinConfig) -> Self {
        let parker = Parker::with_spin(spin);
        let waker = Waker::from(StdArc::new(Unpark(parker.unparker())));
        Self {
            parker,
            waker,
            spin,
        }
    }

    /// Takes the one that is kept for this spin, or makes one: a wait further out may use the kept
    /// one, and the thread's locals may be gone.
    fn take(spin: SpinConfig) -> Self {
        let take = |kept: &Cell<Vec<Self>>| {
            let mut all = kept.take();
            let fits = all.iter().position(|waiting| waiting.spin == spin);
            let waiting = fits.map(|at| all.remove(at));
            kept.set(all);
            waiting
        };
        let kept = KEPT.try_with(take).ok().flatten();
        kept.unwrap_or_else(|| Self::new(spin))
    }

    /// Keeps it for the thread's next wait.
    fn keep(self) {
        // A thread whose locals are gone waits no more.
        let _ = KEPT.try_with(|kept| {
            let mut all = kept.take();
            all.truncate(KEPT_MAX - 1);
            all.insert(0, self);
            kept.set(all);
        });
    }
}

/// Polls `future` on this thread until it is ready. In between the thread spins as `spin` says, and
/// then sleeps. It does not look whether the thread may block; [`NoBlocking::here`] does.
///
/// A waker that was given out by a past wait may still leave a token, which costs one poll more.
///
/// [`NoBlocking::here`]: crate::user_code::NoBlocking::here
///
/// # Examples
/// ```
/// use stealyard_park::SpinConfig;
///
/// assert_eq!(stealyard_task::wait_for(async { 6 * 7 }, SpinConfig::OFF), 42);
/// ```
pub fn wait_for<F: Future>(future: F, spin: SpinConfig) -> F::Output {
    let mut future = pin!(future);
    let waiting = Waiting::take(spin);
    let mut context = Context::from_waker(&waiting.waker);
    let output = loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            break output;
        }
        // This thread may wait for something that it has put off (`trampoline.rs`, TR4).
        if !trampoline::catch_up() {
            waiting.parker.park();
        }
    };
    waiting.keep();
    output
}
