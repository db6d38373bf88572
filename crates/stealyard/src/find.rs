//! Where a worker without work looks, in order.
//!
//! ```text
//!   run-next slot ─ own queue ─ (global queue every so many tasks)      processor.rs
//!        │ nothing
//!   what is bound to this thread, its mail               place.rs
//!        │ nothing
//!   global queue, a share
//!        │ nothing
//!   become a searcher; if enough search already,
//!   wait for that as long as a sleep and a wake cost
//!        │ yes                                          │ no
//!   passes over the others by the steal policy;         │
//!   the run-next slots and the mail in the last;        │
//!   then the global queue; again, for as long           │
//!   as a sleep and a wake cost, where that pays         │
//!        │ nothing                                      │
//!   say that we will sleep ◀────────────────────────────┘
//!   look at everything once more, if nobody else will
//!        │ nothing
//!   sleep until woken, then from the top
//! ```
//!
//! - **D1** The last look covers every place that is announced (V1): the global queue, all queues and all mail.
//! - **D2** Whoever moves more than one task into its own queue announces: while they were in its hands,
//!   nobody could see them.
//! - **D3** *A worker that has something of its own does not sleep.* Hooks and policies run after the looks and may put
//!   something into its slot, which is announced to nobody; so it looks there last.

use stealyard_deque::Steal;
use stealyard_park::SpinWait;
use stealyard_park::idle::{Active, Recheck, Searching, Sleeping, Woken};
use stealyard_sync::atomic::Ordering;
use stealyard_sync::hint::spin_loop;
use stealyard_sync::time::Instant;

use crate::metrics::DISTANCES;
use crate::place;
use crate::policy::{StealAmount, Turn};
use crate::processor::{Processor, Remote};
use crate::shared::Shared;
use crate::task::Task;
use crate::task::running::Code;
use crate::wake;
use crate::watch;

/// At most this many tasks are taken from the global queue at once: half a ring of the usual size.
const GLOBAL_BATCH_MAX: usize = 128;
/// How often a thief tries a victim again where somebody else was quicker.
const RETRIES: u32 = 3;
/// Pauses between two rounds of looking.
const PAUSES: u32 = 16;

/// How the search ended.
#[derive(Debug)]
#[must_use = "a task that was found must be run"]
pub(crate) enum Found {
    /// With this task.
    Task(Active, Task),
    /// With this task, which is bound to this worker's thread.
    Bound(Active, Task),
    /// The scheduler is closed.
    Closed,
}

/// Looks for a task until there is one, or the scheduler is closed.
#[cold]
pub(crate) fn find(shared: &Shared, processor: &Processor, active: Active) -> Found {
    let mut state = Woken::Active(active);
    // Ordering: Relaxed; a view of the moment, for who ends the scheduler.
    processor.remote.idle.store(true, Ordering::Relaxed);
    loop {
        if shared.life.is_closed() {
            settle(state);
            return Found::Closed;
        }
        if let Some(task) = place::take_bound(processor) {
            return Found::Bound(awake(shared, processor, state), task);
        }
        // What hooks and policies made; there was none when the worker came here.
        if let Some(task) = processor.next_local() {
            return found(shared, processor, state, task);
        }
        if let Some(task) = processor.remote.mail.pop() {
            return found(shared, processor, state, task);
        }
        if let Some(task) = take_share(shared, processor) {
            return found(shared, processor, state, task);
        }
        let mut wait = None;
        let searching = match state {
            Woken::Searching(searching) => Ok(searching),
            Woken::Active(active) => wait_to_search(shared, processor, active, &mut wait),
        };
        let parking = match searching {
            Ok(searching) => match search(shared, processor, &searching, &mut wait) {
                Search::Task(task) => {
                    end_wait(processor, wait, true);
                    return found(shared, processor, Woken::Searching(searching), task);
                }
                Search::Own => {
                    end_wait(processor, wait, true);
                    state = Woken::Searching(searching);
                    continue;
                }
                Search::Nothing => {
                    end_wait(processor, wait, false);
                    ask_everybody(shared, processor);
                    searching.park()
                }
            },
            Err(active) if has_own(processor) => {
                end_wait(processor, wait, true);
                state = Woken::Active(active);
                continue;
            }
            Err(active) => {
                end_wait(processor, wait, false);
                ask_everybody(shared, processor);
                active.park()
            }
        };
        let began = Instant::now();
        let look = || {
            processor.barrier_took(began.elapsed());
            look_everywhere(shared, processor)
        };
        match parking.recheck_with(look, || shared.any_work()) {
            Recheck::Work(active, task) => {
                // Whoever stamped it saw a sleeper that had not gone to sleep.
                let _not_measured = shared.wake_began.take();
                return found(shared, processor, Woken::Active(active), task);
            }
            Recheck::Nothing(sleeping) => match sleep(shared, processor, sleeping) {
                (woken, Some(task)) => return found(shared, processor, woken, task),
                (woken, None) => state = woken,
            },
        }
    }
}

/// Passes on what the search owes: a successor if there is more, and an announcement (D2).
fn found(shared: &Shared, processor: &Processor, state: Woken, task: Task) -> Found {
    let active = awake(shared, processor, state);
    if let Some(woken) = processor.woken_at.take() {
        let began = shared.wake_began.take();
        if let Some(began) = began.filter(|&began| began <= woken) {
            let recorder = &processor.counters().wake_to_run;
            recorder.record(shared.clock.elapsed().saturating_sub(began));
        }
    }
    if !processor.queue.is_empty() {
        wake::announce(shared, processor, 1);
        shared.watch.wanted(shared);
    }
    Found::Task(active, task)
}

/// Has found something to run: searches no more, and passes on that it was a searcher, or watched.
fn awake(shared: &Shared, processor: &Processor, state: Woken) -> Active {
    let active = match state {
        Woken::Active(active) => active,
        Woken::Searching(searching) => searching.found_with(|| shared.any_work()),
    };
    shared.watch.left(shared, processor.index);
    // Ordering: Relaxed; a view of the moment, for who ends the scheduler.
    processor.remote.idle.store(false, Ordering::Relaxed);
    active
}

/// Gives up searching without having found anything, because the scheduler is closed.
fn settle(state: Woken) {
    // Dropping a searcher passes its duty on, and leaves the protocol.
    drop(state);
}

/// Takes a worker's share of the global queue: one task to run, the others to its own queue.
pub(crate) fn take_share(shared: &Shared, processor: &Processor) -> Option<Task> {
    let lane = processor.remote.lane;
    let mut first = shared.global.pop_far(lane, processor.next_look());
    if first.is_some() {
        processor.looked_at_global();
        count_injected(processor, 1);
        return first;
    }
    let room = processor.queue.room();
    let max = GLOBAL_BATCH_MAX.min(room + 1);
    let count = shared
        .global
        .pop_batch(lane, max, shared.remotes.len(), |task| {
            if first.is_none() {
                first = Some(task);
            } else {
                wake::push_quietly(shared, processor, task);
            }
        });
    if count > 0 {
        processor.looked_at_global();
        count_injected(processor, count);
    }
    first
}

/// Tasks came out of the global queue at once.
fn count_injected(processor: &Processor, count: usize) {
    processor.counters().injector_takes.add(1);
    processor.counters().tasks_injected.add(count as u64);
}

/// Takes one task from the global queue, when it is its turn.
#[cold]
pub(crate) fn take_one(shared: &Shared, processor: &Processor) -> Option<Task> {
    let lane = processor.remote.lane;
    let far = shared.global.pop_far(lane, processor.next_look());
    let task = far.or_else(|| shared.global.pop(lane))?;
    count_injected(processor, 1);
    Some(task)
}

/// How many workers neither sleep nor search. A guess, of three words one after the other.
fn running(shared: &Shared) -> usize {
    let idle = &shared.idle;
    idle.joined()
        .saturating_sub(idle.sleeping() + idle.searching())
}

/// The wait is over, if there was one; the worker has found something, or sleeps now.
fn end_wait(processor: &Processor, wait: Option<SpinWait>, found: bool) {
    let Some(wait) = wait else { return };
    if wait.spins() {
        let counters = processor.counters();
        counters.spins.add(1);
        counters.spins_in_vain.add(u64::from(!found));
    }
    processor.parker.end_spin_wait(wait, found);
}

/// Becomes a searcher, waiting for that as long as a sleep and a wake would cost if enough search already.
///
/// Not for the search, which the others do, but for what is saved: the steps to sleep begin with a barrier that
/// interrupts every core which runs this process, and two workers that take turns at short tasks would do
/// nothing else.
fn wait_to_search(
    shared: &Shared,
    processor: &Processor,
    active: Active,
    wait: &mut Option<SpinWait>,
) -> Result<Searching, Active> {
    let mut active = match active.search() {
        Ok(searching) => return Ok(searching),
        Err(active) => active,
    };
    // This worker is none of those that run, though it does not search.
    let others = || running(shared).saturating_sub(1);
    let wait = wait.get_or_insert_with(|| processor.wait_for_work(others()));
    // What comes for this worker alone no other finds.
    let wanted = || has_own(processor) || shared.life.is_closed();
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

/// How a search ended.
enum Search {
    /// With this task.
    Task(Task),
    /// Something came that is meant for this worker (`place.rs`).
    Own,
    /// Without anything.
    Nothing,
}

/// Whether something waits that is meant for this worker (`place.rs`).
fn has_own(processor: &Processor) -> bool {
    !processor.remote.bound.is_empty() || !processor.remote.mail.is_empty()
}

/// Searches for as long as going to sleep and a wake would cost, where that pays (`Spin` of `stealyard-park`).
fn search(
    shared: &Shared,
    processor: &Processor,
    _token: &Searching,
    wait: &mut Option<SpinWait>,
) -> Search {
    let counters = processor.counters();
    counters.searches.add(1);
    let began = Instant::now();
    let passes = shared.config.steal_passes;
    let own = || has_own(processor);
    let outcome = loop {
        let mut pass = 0;
        let found = loop {
            let found = steal_pass(shared, processor, pass, passes);
            pass += 1;
            // The passes look at nothing but others' queues.
            let ends = pass == passes || own() || shared.life.is_closed();
            if found.is_some() || ends || !shared.global.is_empty() {
                break found;
            }
        };
        if let Some(task) = found.or_else(|| take_share(shared, processor)) {
            break Search::Task(task);
        }
        if own() {
            break Search::Own;
        }
        let wait = wait.get_or_insert_with(|| processor.wait_for_work(running(shared)));
        if shared.life.is_closed() || !wait.look() {
            break Search::Nothing;
        }
        for _ in 0..PAUSES {
            spin_loop();
        }
    };
    let spent = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    counters.search_ns.add(spent);
    outcome
}

/// Goes through the victims that the policy names.
fn steal_pass(shared: &Shared, processor: &Processor, pass: u32, passes: u32) -> Option<Task> {
    let policy = &*shared.config.steal_policy;
    let remotes = &shared.remotes;
    let mut memory = processor.policy_memory.get();
    let mut rng = processor.rng.borrow_mut();
    let len_of = |worker: usize| remotes.get(worker).map_or(0, |remote| remote.stealer.len());
    let mut turn = Turn {
        pass,
        ..Turn::new(
            processor.index,
            &processor.remote.others,
            &mut rng,
            &mut memory,
            &len_of,
        )
    };
    let mut found = None;
    while turn.step <= 2 * remotes.len() {
        let victim = shared.call_user(Code::Policy, || policy.victim(&mut turn));
        let Some(victim) = victim.flatten() else {
            break;
        };
        turn.step += 1;
        let Some(remote) = remotes.get(victim).filter(|_| victim != processor.index) else {
            continue;
        };
        let before = processor.queue.len();
        let amount = shared.call_user(Code::Policy, || policy.amount());
        let amount = amount.unwrap_or(StealAmount::Half);
        found = steal_from(processor, remote, amount.limit()).or_else(|| ask_for_a_job(remote));
        if found.is_none() && pass + 1 == passes {
            found = steal_slot(shared, processor, remote).or_else(|| remote.mail.pop());
        }
        let took = found.iter().count() + processor.queue.len().saturating_sub(before);
        let _told = shared.call_user(Code::Policy, || policy.outcome(turn.memory, victim, took));
        if found.is_some() {
            count_steal(processor, victim, took);
            break;
        }
    }
    drop(rng);
    processor.policy_memory.set(memory);
    found
}

fn steal_from(processor: &Processor, victim: &Remote, limit: usize) -> Option<Task> {
    processor.counters().steals_tried.add(1);
    for _ in 0..RETRIES {
        match victim.stealer.steal(&processor.queue, limit) {
            Steal::Success(task) => return Some(task),
            Steal::Empty => return None,
            Steal::Retry => spin_loop(),
        }
    }
    None
}

/// Takes the task in a run-next slot if its owner does not get to it within the grace time.
#[cold]
fn steal_slot(shared: &Shared, processor: &Processor, victim: &Remote) -> Option<Task> {
    if victim.slot.is_empty() {
        return None;
    }
    let run = victim.counters.tasks_run.get();
    let began = Instant::now();
    while !stealyard_sync::MODELLED && began.elapsed() < shared.config.slot_grace {
        if victim.counters.tasks_run.get() != run || shared.life.is_closed() {
            return None; // its owner is busy with short tasks, and will get to it
        }
        if victim.slot.is_empty() {
            return None;
        }
        spin_loop();
    }
    let task = victim.slot.steal()?;
    processor.counters().slots_stolen.add(1);
    Some(task)
}

/// Takes the half of a join that the victim offers, or asks it to offer one.
fn ask_for_a_job(victim: &Remote) -> Option<Task> {
    let job = victim.jobs.steal();
    if job.is_none() {
        victim.jobs.want();
    }
    job
}

/// Has everybody offer the next join (J16): who sleeps can't ask, and may have come here without a search, or with
/// a policy that did not name them.
fn ask_everybody(shared: &Shared, processor: &Processor) {
    for &(other, _) in &processor.remote.others {
        shared.remotes[other].jobs.want();
    }
}

fn count_steal(processor: &Processor, victim: usize, took: usize) {
    let counters = processor.counters();
    counters.steals_done.add(1);
    counters.tasks_stolen.add(took.max(1) as u64);
    let others = &processor.remote.others;
    if let Some(&(_, rank)) = others.iter().find(|&&(worker, _)| worker == victim) {
        counters.stolen_by_distance[usize::from(rank).min(DISTANCES - 1)].add(1);
    }
}

/// The look before sleeping: everywhere that is announced, whatever the policy says (D1).
fn look_everywhere(shared: &Shared, processor: &Processor) -> Option<Task> {
    if let Some(task) = take_share(shared, processor) {
        return Some(task);
    }
    if let Some(task) = processor.remote.mail.pop() {
        return Some(task);
    }
    for &(victim, _) in &processor.remote.others {
        let remote = &shared.remotes[victim];
        if let Some(task) = remote.mail.pop() {
            return Some(task);
        }
        loop {
            match force(processor, victim, remote) {
                Steal::Success(task) => return Some(task),
                Steal::Empty => break,
                Steal::Retry => spin_loop(),
            }
        }
    }
    None
}

/// Takes by force what a long task of the victim keeps private, in its queue or its joins.
pub(crate) fn force(processor: &Processor, victim: usize, remote: &Remote) -> Steal<Task> {
    processor.counters().steals_tried.add(1);
    let before = processor.queue.len();
    let stolen = match remote.stealer.force(&processor.queue, usize::MAX) {
        Steal::Empty => match remote.jobs.force() {
            Some(job) => Steal::Success(job),
            None => Steal::Empty,
        },
        stolen => stolen,
    };
    if matches!(stolen, Steal::Success(_)) {
        let took = 1 + processor.queue.len().saturating_sub(before);
        count_steal(processor, victim, took);
    }
    stolen
}

/// Sleeps until woken; the watcher may bring a task with it.
fn sleep(shared: &Shared, processor: &Processor, sleeping: Sleeping) -> (Woken, Option<Task>) {
    shared.call_hook(Code::OnPark, processor.index);
    if processor.has_own() {
        // The hook made work, or a policy did: nobody else need know of it, so the sleep is over before it begins.
        shared.idle.wake_worker(processor.index);
    }
    processor.counters().parks.add(1);
    let mut task = None;
    let woken = sleeping.sleep(|| task = watch::sleep(shared, processor));
    if matches!(woken, Woken::Searching(_)) {
        processor.counters().woken_to_search.add(1);
        processor.woken_at.set(Some(shared.clock.elapsed()));
    }
    shared.call_hook(Code::OnUnpark, processor.index);
    (woken, task)
}
