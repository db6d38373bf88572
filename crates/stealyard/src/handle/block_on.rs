//! Running a future on a thread that is no worker.

use stealyard_park::SpinConfig;
use stealyard_sync::Arc;
use stealyard_task::wait_for;

use crate::machine::current::{self, Context, Role};
use crate::state::SchedulerState;
use crate::user_code::{NoBlocking, refuse};

/// Polls `future` on this thread until it is ready, asleep in between, as a guest of the scheduler.
#[track_caller]
pub(crate) fn block_on<F: Future>(shared: &Arc<SchedulerState>, future: F) -> F::Output {
    if let Some(here) = NoBlocking::here() {
        shared.drop_unwanted(future);
        refuse((), here.message("block_on", "`.await` the future"));
    }
    let context = Context::new(Arc::clone(shared), Role::Guest);
    let _entered = current::enter(&context);
    wait_for(future, shared.config.spin.unwrap_or(SpinConfig::OFF))
}
