//! Where a worker without work looks, in order.
//!
//! ```text
//!   run-next slot ─ own queue ─ (global queue every so many tasks)      processor/order.rs
//!        │ nothing
//!   local tasks, own inbox                                              machine/local_tasks.rs
//!        │ nothing
//!   global queue, a share                                               search/share.rs
//!        │ nothing
//!   become a searcher; if enough search already,
//!   wait for that as long as a sleep and a wake cost
//!        │ yes                                          │ no
//!   passes over the others by the steal policy;         │               search/steal.rs
//!   the run-next slots and the inboxes in the last;     │
//!   then the global queue; again, for as long           │
//!   as a sleep and a wake cost, where that pays         │
//!        │ nothing                                      │
//!   say that we will sleep ◀────────────────────────────┘
//!   look at everything once more, if no other worker will
//!        │ nothing
//!   sleep until woken, then from the top                                search/monitor.rs
//! ```
//!
//! # Invariants
//! - **FT1** *The last look covers every place that is announced* (`search/ready.rs`, RD1): the
//!   global queue, all queues and all inboxes.
//! - **FT2** *A worker that moves more than one task into its own queue announces*: while they were
//!   in its hands, no worker could see them.
//! - **FT3** *A worker that has something of its own does not sleep.* Hooks and policies run after
//!   the looks and may put something into its slot, which is not announced; so it looks there last.

use core::ops::ControlFlow::{self, Break, Continue};

use stealyard_deque::Steal;
use stealyard_park::SpinWait;
use stealyard_park::idle::{Active, Parking, Recheck, Searching, Sleeping, Woken};
use stealyard_sync::hint::spin_loop;
use stealyard_sync::time::Instant;
use stealyard_task::Task;
use stealyard_task::running::Code;

use crate::machine::local_tasks;
use crate::metrics::counter::as_ns;
use crate::search::{Worker, monitor, ready, share, steal};
use crate::state::SchedulerState;

/// Pauses between two rounds of looking.
const PAUSES: u32 = 16;

/// How a worker's look for a task ended.
#[derive(Debug)]
#[must_use = "a task that was found must be run"]
pub(crate) enum Outcome {
    /// With this task.
    Task(Active, Task),
    /// With this local task of this worker's thread.
    Local(Active, Task),
    /// The scheduler is closed.
    Closed,
}

/// Looks for a task until there is one, or the scheduler is closed.
#[cold]
pub(crate) fn find_task(worker: Worker<'_>, active: Active) -> Outcome {
    worker.machine.remote.set_idle(true);
    let mut state = Woken::Active(active);
    loop {
        state = match worker.look_around(state) {
            Continue(state) => state,
            Break(outcome) => return outcome,
        };
    }
}

/// How a search ended.
enum Search {
    /// With this task.
    Task(Task),
    /// Something came that is meant for this worker.
    Own,
    /// Without anything.
    Nothing,
}

/// One step: it ends the whole, or goes on with this.
type Step<T> = ControlFlow<Outcome, T>;

impl Worker<'_> {
    /// Looks once in every place, in order, and sleeps if there is nothing. Goes on when woken.
    fn look_around(self, state: Woken) -> Step<Woken> {
        let state = self.look_near(state)?;
        match self.look_at_others(state)? {
            Ok(parking) => self.look_again_and_sleep(parking),
            Err(state) => Continue(state),
        }
    }

    /// Looks in this worker's own queues, and in the global one.
    fn look_near(self, state: Woken) -> Step<Woken> {
        let Worker {
            shared,
            machine,
            processor,
        } = self;
        if shared.lifecycle.is_closed() {
            // A searcher that is dropped passes its duty on, and leaves the protocol.
            drop(state);
            return Break(Outcome::Closed);
        }
        if let Some(task) = local_tasks::take(machine) {
            return Break(Outcome::Local(self.stop_searching(state), task));
        }
        // In the slot and the queue is what hooks and policies made; there was none when the worker
        // came here.
        let task = processor
            .next_local()
            .or_else(|| processor.remote.inbox.pop())
            .or_else(|| share::take_share(shared, processor));
        match task {
            Some(task) => Break(self.has_found(state, task)),
            None => Continue(state),
        }
    }

    /// Becomes a searcher, if that is possible, and searches. If that brings nothing, says that the
    /// worker will sleep; or goes back to the top, with the state in `Err`, because something came
    /// that is meant for this worker.
    fn look_at_others(self, state: Woken) -> Step<Result<Parking, Woken>> {
        let mut wait = None;
        let searching = match state {
            Woken::Searching(searching) => Ok(searching),
            Woken::Active(active) => self.wait_to_search(active, &mut wait),
        };
        let outcome = match &searching {
            Ok(searching) => self.search(searching, &mut wait),
            Err(_) if self.has_own() => Search::Own,
            Err(_) => Search::Nothing,
        };
        self.end_wait(wait, !matches!(outcome, Search::Nothing));
        let state = match searching {
            Ok(searching) => Woken::Searching(searching),
            Err(active) => Woken::Active(active),
        };
        match outcome {
            Search::Task(task) => Break(self.has_found(state, task)),
            Search::Own => Continue(Err(state)),
            Search::Nothing => {
                steal::ask_every_worker(self.shared, self.processor);
                Continue(Ok(match state {
                    Woken::Searching(searching) => searching.park(),
                    Woken::Active(active) => active.park(),
                }))
            }
        }
    }

    /// Looks at everything once more, if no other worker will, and sleeps if there is nothing.
    fn look_again_and_sleep(self, parking: Parking) -> Step<Woken> {
        let began = Instant::now();
        let look = || {
            self.machine.barrier_took(began.elapsed());
            self.look_everywhere()
        };
        match parking.recheck_with(look, || self.shared.any_work()) {
            Recheck::Work(active, task) => {
                // The submitter that stamped it saw a sleeper that had not gone to sleep.
                self.shared.wake_timer.cancel();
                Break(self.has_found(Woken::Active(active), task))
            }
            Recheck::Nothing(sleeping) => match self.sleep(sleeping) {
                (woken, Some(task)) => Break(self.has_found(woken, task)),
                (woken, None) => Continue(woken),
            },
        }
    }

    /// Passes on what the search owes: a successor if there is more, and an announcement (FT2).
    fn has_found(self, state: Woken, task: Task) -> Outcome {
        let Worker {
            shared,
            machine,
            processor,
        } = self;
        let active = self.stop_searching(state);
        if let Some(woken) = machine.woken_at.take() {
            let recorder = &processor.counters().wake_to_run;
            shared.wake_timer.ended(woken, recorder);
        }
        if !processor.queue.is_empty() {
            ready::announce(shared, processor, 1);
            monitor::wanted(shared);
        }
        Outcome::Task(active, task)
    }

    /// Passes on that the worker was a searcher, or the monitor: it has found something to run.
    fn stop_searching(self, state: Woken) -> Active {
        let active = match state {
            Woken::Active(active) => active,
            Woken::Searching(searching) => searching.found_with(|| self.shared.any_work()),
        };
        monitor::worker_left(self.shared, self.processor.index);
        self.machine.remote.set_idle(false);
        active
    }

    /// Ends a wait, if there was one: the worker has found something, or sleeps now.
    fn end_wait(self, wait: Option<SpinWait>, found: bool) {
        let Some(wait) = wait else { return };
        if wait.spins() {
            let counters = self.processor.counters();
            counters.spins.add(1);
            counters.spins_in_vain.add(u64::from(!found));
        }
        self.machine.parker.end_spin_wait(wait, found);
    }

    /// Becomes a searcher, waiting for that as long as a sleep and a wake would cost if enough
    /// search already.
    ///
    /// Waiting does not help the search, which others are doing; it avoids the path to sleep, whose
    /// barrier interrupts every core that runs this process. Two workers that take turns at short
    /// tasks would otherwise pay for it on every task.
    fn wait_to_search(
        self,
        active: Active,
        wait: &mut Option<SpinWait>,
    ) -> Result<Searching, Active> {
        let mut active = match active.search() {
            Ok(searching) => return Ok(searching),
            Err(active) => active,
        };
        // This worker is none of those that run, though it does not search.
        let others = || running(self.shared).saturating_sub(1);
        let wait = wait.get_or_insert_with(|| self.machine.wait_for_work(others()));
        // No other worker finds what comes for this one alone.
        let wanted = || self.has_own() || self.shared.lifecycle.is_closed();
        while !wanted() && wait.look() {
            for _ in 0..PAUSES {
                spin_loop();
            }
            active = match active.search() {
                Ok(searching) => return Ok(searching),
                Err(active) => active,
            };
        }
        Err(active)
    }

    /// Searches for as long as going to sleep and a wake would cost, where that pays (`Spin` of
    /// `stealyard-park`).
    fn search(self, _token: &Searching, wait: &mut Option<SpinWait>) -> Search {
        let counters = self.processor.counters();
        counters.searches.add(1);
        let began = Instant::now();
        let outcome = loop {
            let found = self.steal_in_passes();
            if let Some(task) = found.or_else(|| share::take_share(self.shared, self.processor)) {
                break Search::Task(task);
            }
            if self.has_own() {
                break Search::Own;
            }
            let wait = wait.get_or_insert_with(|| self.machine.wait_for_work(running(self.shared)));
            if self.shared.lifecycle.is_closed() || !wait.look() {
                break Search::Nothing;
            }
            for _ in 0..PAUSES {
                spin_loop();
            }
        };
        counters.search_ns.add(as_ns(began.elapsed()));
        outcome
    }

    /// Goes through the others as often as configured, or until something else asks for attention:
    /// the passes look at nothing but others' queues.
    fn steal_in_passes(self) -> Option<Task> {
        let passes = self.shared.config.steal_passes;
        let mut pass = 0;
        loop {
            let found = steal::steal_pass(self.shared, self.processor, pass, passes);
            pass += 1;
            let ends = pass == passes || self.has_own() || self.shared.lifecycle.is_closed();
            if found.is_some() || ends || !self.shared.global.is_empty() {
                return found;
            }
        }
    }

    /// Takes a task, before the worker sleeps, from any place that is announced, whatever the
    /// policy says (FT1).
    fn look_everywhere(self) -> Option<Task> {
        let Worker {
            shared, processor, ..
        } = self;
        if let Some(task) = share::take_share(shared, processor) {
            return Some(task);
        }
        if let Some(task) = processor.remote.inbox.pop() {
            return Some(task);
        }
        for &(victim, _) in &processor.remote.others {
            if let Some(task) = shared.remotes[victim].inbox.pop() {
                return Some(task);
            }
            loop {
                match steal::force(shared, processor, victim) {
                    Steal::Success(task) => return Some(task),
                    Steal::Empty => break,
                    Steal::Retry => spin_loop(),
                }
            }
        }
        None
    }

    /// Sleeps until woken; the monitor may bring a task with it.
    fn sleep(self, sleeping: Sleeping) -> (Woken, Option<Task>) {
        let Worker {
            shared,
            machine,
            processor,
        } = self;
        shared.call_hook(Code::OnPark, processor.index);
        if self.has_tasks() {
            // The hook made work, or a policy did. No other worker need know of it, so the sleep is
            // over before it begins (FT3).
            shared.wake_worker(processor.index);
        }
        processor.remote.counts.sleeps.begin();
        let mut task = None;
        let woken = sleeping.sleep(|| task = monitor::sleep(self));
        if matches!(woken, Woken::Searching(_)) {
            processor.counters().woken_to_search.add(1);
            machine.woken_at.set(Some(shared.wake_timer.now()));
        }
        shared.call_hook(Code::OnUnpark, processor.index);
        (woken, task)
    }
}

/// Returns how many workers neither sleep nor search. A guess, of three words one after the other.
fn running(shared: &SchedulerState) -> usize {
    let idle = &shared.idle;
    idle.joined()
        .saturating_sub(idle.sleeping() + idle.searching())
}
