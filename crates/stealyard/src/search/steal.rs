//! Stealing from one victim after the other: from queues, joins, run-next slots and inboxes.

use stealyard_deque::Steal;
use stealyard_sync::Patience;
use stealyard_sync::hint::spin_loop;
use stealyard_task::Task;
use stealyard_task::running::Code;

use crate::metrics::DISTANCES;
use crate::policy::{StealAmount, Turn};
use crate::processor::Processor;
use crate::processor::remote::Remote;
use crate::state::SchedulerState;

/// How often a thief tries a victim again where another thread was quicker.
const RETRIES: u32 = 3;

/// Goes through the victims that the policy names, for the `pass`th time of `passes`.
pub(crate) fn steal_pass(
    shared: &SchedulerState,
    processor: &Processor,
    pass: u32,
    passes: u32,
) -> Option<Task> {
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
        if victim >= remotes.len() || victim == processor.index {
            continue;
        }
        let before = processor.queue.len();
        let amount = shared.call_user(Code::Policy, || policy.amount());
        let amount = amount.unwrap_or(StealAmount::Half);
        found = steal_from(shared, processor, victim, amount.limit());
        if found.is_none() && pass + 1 == passes {
            found = steal_slot_or_inbox(shared, processor, victim);
        }
        let took = found.iter().count() + processor.queue.len().saturating_sub(before);
        // A policy that panics is as if it had returned.
        let _ = shared.call_user(Code::Policy, || policy.outcome(turn.memory, victim, took));
        if found.is_some() {
            count_steal(processor, victim, took);
            break;
        }
    }
    drop(rng);
    processor.policy_memory.set(memory);
    found
}

/// Takes up to `limit` tasks of the victim's queue, or the half of a join that it offers.
fn steal_from(
    shared: &SchedulerState,
    processor: &Processor,
    victim: usize,
    limit: usize,
) -> Option<Task> {
    processor.counters().steals_tried.add(1);
    let stealer = &shared.remotes[victim].stealer;
    for _ in 0..RETRIES {
        match stealer.steal(&processor.queue, limit) {
            Steal::Success(task) => return Some(task),
            Steal::Empty => break,
            Steal::Retry => spin_loop(),
        }
    }
    steal_join(shared, victim)
}

/// Takes the half of a join that the victim offers, or asks it to offer one.
fn steal_join(shared: &SchedulerState, victim: usize) -> Option<Task> {
    let joins = &shared.machines[victim].joins;
    let job = joins.steal();
    if job.is_none() {
        joins.request_offer();
    }
    job
}

/// Takes a task that the victim would run itself if it got to it: from its run-next slot or its
/// inbox.
fn steal_slot_or_inbox(
    shared: &SchedulerState,
    processor: &Processor,
    victim: usize,
) -> Option<Task> {
    let remote = &shared.remotes[victim];
    steal_slot(shared, processor, remote).or_else(|| remote.inbox.pop())
}

/// Takes the task in a run-next slot if its owner does not get to it within the grace time.
#[cold]
fn steal_slot(shared: &SchedulerState, processor: &Processor, victim: &Remote) -> Option<Task> {
    if victim.slot.is_empty() {
        return None;
    }
    let ticks = victim.counts.ticks.now();
    let mut grace = Patience::new(shared.config.slot_grace);
    while grace.pause() {
        if victim.counts.ticks.now() != ticks || shared.lifecycle.is_closed() {
            return None; // its owner is busy with short tasks, and will get to it
        }
        if victim.slot.is_empty() {
            return None;
        }
    }
    let task = victim.slot.steal()?;
    processor.counters().slots_stolen.add(1);
    Some(task)
}

/// Asks every other worker to offer its next join (`stealyard_task::fork_join`). This worker is
/// about to sleep and cannot ask later; it may have come here without searching, or with a steal
/// policy that skipped some workers.
pub(crate) fn ask_every_worker(shared: &SchedulerState, processor: &Processor) {
    for &(other, _) in &processor.remote.others {
        shared.machines[other].joins.request_offer();
    }
}

/// Takes by force what a long task of the victim keeps private, in its queue or its joins.
pub(crate) fn force(shared: &SchedulerState, processor: &Processor, victim: usize) -> Steal<Task> {
    processor.counters().steals_tried.add(1);
    let before = processor.queue.len();
    let stealer = &shared.remotes[victim].stealer;
    let stolen = match stealer.force(&processor.queue, usize::MAX) {
        Steal::Empty => match shared.machines[victim].joins.force() {
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

fn count_steal(processor: &Processor, victim: usize, took: usize) {
    let counters = processor.counters();
    counters.steals_done.add(1);
    counters.tasks_stolen.add(took.max(1) as u64);
    let others = &processor.remote.others;
    if let Some(&(_, rank)) = others.iter().find(|&&(worker, _)| worker == victim) {
        counters.stolen_by_distance[usize::from(rank).min(DISTANCES - 1)].add(1);
    }
}
