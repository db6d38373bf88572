//! Goal: the idle protocol as an algorithm, with more workers than loom can hold: three and four
//! workers, one and two submitters, wakes for no reason, tasks that never end.
//!
//! Method: an abstract model of `idle.rs` with one transition for each access to shared memory. It
//! is explored exhaustively, breadth first. A push goes into a store buffer that empties at any
//! later time, so that the fences matter:
//! - a light fence empties the buffer (fences on both sides) or does not (membarrier);
//! - a heavy fence empties the buffers of all threads (membarrier).
//!
//! Two things hold in every reachable state. No counter goes below zero. And if every announcement
//! has ended and no worker is between two steps, then no item waits beside a sleeping worker, even
//! if no running task ever ends (I5 of `idle.rs`; risks W1, W4). Then each step of the protocol is
//! left out in turn, and the exploration must find the harm, which shows that it can.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

use std::collections::{HashSet, VecDeque};

/// A step that is left out or done in the wrong order. Labels are those of `idle.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// A parking worker does not look again (PL).
    NoRecheck,
    /// A parking worker looks first and counts itself out afterwards.
    RecheckBeforeCount,
    /// A parking worker counts itself out before it sets its bit (I2).
    CountBeforeBit,
    /// The last searcher to find work wakes no other, against its duty (I3).
    FoundWakesNone,
    /// A worker that finds work in the look after parking wakes no other, against its duty (I3).
    RecheckWakesNone,
    /// A waker that claimed no worker counts itself out and does not look at the sleepers again
    /// (I3).
    UndoWithoutLook,
    /// There is no heavy fence before the look (IO5).
    NoHeavy,
    /// A submitter passes no light fence after the push (IO4), and no full one before it relies on
    /// a searcher (IO9).
    NoLight,
    /// A submitter passes no full fence before it relies on a searcher (IO9).
    NoFence,
    /// A worker that relies on a searcher when it parks does not set the reliance bit (I6).
    NoRelianceBit,
    /// `found_with` never passes a heavy fence, even if another worker relies on it (IO6).
    MoreWithoutHeavy,
    /// `found` clears the reliance bit, although it does not look (I6).
    FoundClearsBit,
    /// A worker that wakes by itself does not check whether it has been claimed (I2).
    WithdrawUnchecked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Barrier {
    /// A light fence empties the thread's own buffer, and so does a heavy one.
    Fences,
    /// A light fence does nothing, and a heavy one empties every buffer.
    Membarrier,
}

#[derive(Clone, Copy, Debug)]
struct Setting {
    workers: usize,
    /// For each submitter, the sizes of its batches.
    batches: &'static [&'static [u8]],
    barrier: Barrier,
    /// Workers may use `found_with` as well as `found`, and use `recheck_with`.
    looks_for_more: bool,
    /// Workers may wake for no reason.
    spurious: bool,
    fault: Fault,
}

/// The step that a thread takes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum At {
    // Workers.
    Look,
    Running,
    SearchLook,
    FoundCountOut,
    FoundMore,
    FoundHeavy,
    SetBit { searched: bool },
    Count { searched: bool },
    Heavy { last: bool },
    Recheck { last: bool },
    Withdraw { last: bool },
    Sleep,
    Awake,
    // Threads that wake.
    SeeSleepers,
    CountIn,
    Claim,
    Unpark,
    Undo,
    LookAtSleepers,
    // Submitters.
    Push,
    Light,
    Fence,
    SeeSearching,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Worker {
    at: At,
    bit: bool,
    /// The worker is claimed, and the waker has not unparked it yet.
    coming: bool,
    token: bool,
}

#[derive(Clone, Copy, Debug)]
struct Submitter {
    at: At,
    batch: u8,
    woken: u8,
    buffer: u8,
}

#[derive(Clone, Debug)]
struct State {
    queue: u8,
    searching: u8,
    /// The reliance bit: a worker parked and left the look to a searcher.
    relied: bool,
    workers: Vec<Worker>,
    submitters: Vec<Submitter>,
}

impl At {
    /// Returns a number for each place, below 64.
    fn code(self) -> u64 {
        match self {
            Self::Look => 0,
            Self::Running => 1,
            Self::SearchLook => 2,
            Self::FoundCountOut => 3,
            Self::FoundMore => 4,
            Self::FoundHeavy => 5,
            Self::Fence => 6,
            Self::Sleep => 7,
            Self::Awake => 8,
            Self::SeeSleepers => 9,
            Self::CountIn => 10,
            Self::Claim => 11,
            Self::Unpark => 12,
            Self::Undo => 13,
            Self::LookAtSleepers => 14,
            Self::Push => 15,
            Self::Light => 16,
            Self::SeeSearching => 17,
            Self::Done => 18,
            Self::SetBit { searched } => 20 + u64::from(searched),
            Self::Count { searched } => 22 + u64::from(searched),
            Self::Heavy { last } => 24 + u64::from(last),
            Self::Recheck { last } => 26 + u64::from(last),
            Self::Withdraw { last } => 28 + u64::from(last),
        }
    }
}

/// The harm that was found.
type Harm = String;

impl State {
    fn first(setting: &Setting) -> Self {
        let worker = Worker {
            at: At::Look,
            bit: false,
            coming: false,
            token: false,
        };
        let submitter = Submitter {
            at: At::Push,
            batch: 0,
            woken: 0,
            buffer: 0,
        };
        Self {
            queue: 0,
            searching: 0,
            relied: false,
            workers: vec![worker; setting.workers],
            submitters: vec![submitter; setting.batches.len()],
        }
    }

    /// Packs the whole state into one word, so that millions fit: 5 bits of place and 3 of flags
    /// for each worker, 5 and 6 for each submitter, 4 for each counter, and one for the reliance
    /// bit.
    fn key(&self) -> u64 {
        let mut key = u64::from(self.queue) << 4 | u64::from(self.searching);
        key = key << 1 | u64::from(self.relied);
        assert!(self.queue < 16 && self.searching < 16);
        for worker in &self.workers {
            let flags = [worker.bit, worker.coming, worker.token];
            key = key << 5 | worker.at.code();
            key = flags
                .iter()
                .fold(key, |key, &flag| key << 1 | u64::from(flag));
        }
        for submitter in &self.submitters {
            key = key << 5 | submitter.at.code();
            for small in [submitter.batch, submitter.woken, submitter.buffer] {
                assert!(small < 4);
                key = key << 2 | u64::from(small);
            }
        }
        key
    }

    fn has_sleeper(&self) -> bool {
        self.workers.iter().any(|worker| worker.bit)
    }

    fn flush_all(&mut self) {
        for submitter in &mut self.submitters {
            self.queue += submitter.buffer;
            submitter.buffer = 0;
        }
    }

    fn flush(&mut self, submitter: usize) {
        self.queue += self.submitters[submitter].buffer;
        self.submitters[submitter].buffer = 0;
    }

    fn count_out(&mut self) -> Result<bool, Harm> {
        match self.searching.checked_sub(1) {
            Some(remaining) => {
                self.searching = remaining;
                Ok(remaining == 0)
            }
            None => Err("searching goes below zero".to_owned()),
        }
    }

    fn take(&mut self) -> bool {
        let some = self.queue > 0;
        self.queue -= u8::from(some);
        some
    }

    /// Checks that no work waits beside a sleeper (I5) where no operation is under way. A running
    /// task counts as one that never ends.
    fn harm(&self) -> Option<Harm> {
        let announced = self
            .submitters
            .iter()
            .all(|submitter| submitter.at == At::Done && submitter.buffer == 0);
        let at_rest = self.workers.iter().all(|worker| match worker.at {
            At::Running => true,
            At::Sleep => !worker.token && !worker.coming,
            _ => false,
        });
        if announced && at_rest && self.queue > 0 && self.has_sleeper() {
            return Some("an item waits beside a sleeper".to_owned());
        }
        if announced && at_rest && self.searching > 0 {
            return Some("a searcher is counted and there is none".to_owned());
        }
        None
    }
}

/// Returns every state that one step leads to.
fn successors(state: &State, setting: &Setting) -> Result<Vec<State>, Harm> {
    let mut next = Vec::new();
    for index in 0..state.submitters.len() {
        if state.submitters[index].buffer > 0 {
            let mut flushed = state.clone();
            flushed.flush(index);
            next.push(flushed);
        }
        submitter_steps(state, index, setting, &mut next)?;
    }
    for index in 0..state.workers.len() {
        worker_steps(state, index, setting, &mut next)?;
    }
    Ok(next)
}

fn submitter_steps(
    state: &State,
    index: usize,
    setting: &Setting,
    next: &mut Vec<State>,
) -> Result<(), Harm> {
    let submitter = state.submitters[index];
    let batches = setting.batches[index];
    let target = batches
        .get(usize::from(submitter.batch))
        .copied()
        .unwrap_or(0);
    let over = At::Done;
    let mut found = Vec::new();
    let mut special = Vec::new();
    let mut go = |change: &dyn Fn(&mut State), at: At| {
        let mut after = state.clone();
        change(&mut after);
        submitter_moves(&mut after.submitters[index], at, batches.len());
        found.push(after);
    };
    match submitter.at {
        At::Push => go(&|s| s.submitters[index].buffer += target, At::Light),
        At::Light => {
            let mut after = state.clone();
            if setting.barrier == Barrier::Fences && setting.fault != Fault::NoLight {
                after.flush(index);
            }
            after.submitters[index].at = At::SeeSleepers;
            special.push(after);
        }
        At::SeeSleepers | At::LookAtSleepers if !state.has_sleeper() => go(&|_| (), over),
        At::SeeSleepers => go(&|_| (), At::Fence),
        At::Fence if [Fault::NoFence, Fault::NoLight].contains(&setting.fault) => {
            go(&|_| (), At::SeeSearching);
        }
        At::Fence => go(&|s| s.flush(index), At::SeeSearching),
        At::SeeSearching if state.searching >= target => go(&|_| (), over),
        At::SeeSearching | At::LookAtSleepers => go(&|_| (), At::CountIn),
        At::CountIn if state.searching >= target || submitter.woken >= target => {
            go(&|s| s.flush(index), over);
        }
        At::CountIn => go(&|s| count_in(s, index), At::Claim),
        At::Claim => match sleepers(state) {
            none if none.is_empty() => go(&|_| (), At::Undo),
            some => {
                for sleeper in some {
                    go(&|s| claim(s, sleeper), At::Unpark);
                }
            }
        },
        At::Unpark => {
            for coming in claimed(state) {
                let mut after = state.clone();
                unpark(&mut after, coming);
                after.submitters[index].woken += 1;
                after.submitters[index].at = At::CountIn;
                special.push(after);
            }
        }
        At::Undo => {
            let last = state.clone().count_out()?;
            let look = last && setting.fault != Fault::UndoWithoutLook;
            let then = if look { At::LookAtSleepers } else { over };
            go(&|s| s.searching -= 1, then);
        }
        At::Done => {}
        other => unreachable!("a submitter is never at {other:?}"),
    }
    next.append(&mut found);
    next.append(&mut special);
    Ok(())
}

/// Moves the submitter to its next step, or to its next batch.
fn submitter_moves(own: &mut Submitter, at: At, batches: usize) {
    own.at = at;
    if at == At::Done {
        own.batch += 1;
        own.woken = 0;
        if usize::from(own.batch) < batches {
            own.at = At::Push;
        }
    }
}

/// Counts one searcher in. A read-modify-write empties the buffer as well.
fn count_in(state: &mut State, submitter: usize) {
    state.flush(submitter);
    state.searching += 1;
}

fn sleepers(state: &State) -> Vec<usize> {
    (0..state.workers.len())
        .filter(|&index| state.workers[index].bit)
        .collect()
}

/// Returns the claimed workers. Wakers are alike, so which of them unparks which worker makes no
/// difference.
fn claimed(state: &State) -> Vec<usize> {
    (0..state.workers.len())
        .filter(|&index| state.workers[index].coming)
        .collect()
}

fn claim(state: &mut State, sleeper: usize) {
    state.workers[sleeper].bit = false;
    state.workers[sleeper].coming = true;
}

fn unpark(state: &mut State, sleeper: usize) {
    state.workers[sleeper].coming = false;
    state.workers[sleeper].token = true;
}

/// Adds the steps of a worker that looks, runs and searches.
fn worker_steps(
    state: &State,
    index: usize,
    setting: &Setting,
    next: &mut Vec<State>,
) -> Result<(), Harm> {
    let worker = state.workers[index];
    let mut go = |change: &dyn Fn(&mut State), at: At| {
        let mut after = state.clone();
        change(&mut after);
        after.workers[index].at = at;
        next.push(after);
    };
    let set_bit = |searched| match setting.fault {
        Fault::CountBeforeBit => At::Count { searched },
        Fault::RecheckBeforeCount => At::Heavy { last: searched },
        _ => At::SetBit { searched },
    };
    match worker.at {
        At::Running => go(&|_| (), At::Look),
        At::Look if state.queue > 0 => go(&|s| s.queue -= 1, At::Running),
        At::Look => {
            go(&|s| s.searching += 1, At::SearchLook); // the bound may let it search …
            go(&|_| (), set_bit(false)); // … or not
        }
        At::SearchLook if state.queue > 0 => go(&|s| s.queue -= 1, At::FoundCountOut),
        At::SearchLook => go(&|_| (), set_bit(true)),
        At::FoundCountOut => found_steps(state, index, setting, next)?,
        At::FoundHeavy => go(&|s| heavy(s, setting), At::FoundMore),
        At::FoundMore if state.queue > 0 => go(&|_| (), At::SeeSleepers),
        At::FoundMore => go(&|_| (), At::Running),
        At::SeeSleepers | At::LookAtSleepers if !state.has_sleeper() => go(&|_| (), At::Running),
        At::SeeSleepers | At::LookAtSleepers => go(&|_| (), At::CountIn),
        At::CountIn if state.searching > 0 => go(&|_| (), At::Running),
        At::CountIn => go(&|s| s.searching += 1, At::Claim),
        At::Claim => match sleepers(state) {
            none if none.is_empty() => go(&|_| (), At::Undo),
            some => {
                for sleeper in some {
                    go(&|s| claim(s, sleeper), At::Unpark);
                }
            }
        },
        At::Unpark => {
            for coming in claimed(state) {
                go(&|s| unpark(s, coming), At::Running);
            }
        }
        At::Undo => {
            let last = state.clone().count_out()?;
            let look = last && setting.fault != Fault::UndoWithoutLook;
            let then = if look {
                At::LookAtSleepers
            } else {
                At::Running
            };
            go(&|s| s.searching -= 1, then);
        }
        _ => parking_steps(state, index, setting, next)?,
    }
    Ok(())
}

/// Adds the steps of a searcher that found work and counts itself out: by `found`, which always
/// wakes the next one, or by `found_with`, which looks first.
fn found_steps(
    state: &State,
    index: usize,
    setting: &Setting,
    next: &mut Vec<State>,
) -> Result<(), Harm> {
    for looks in [false, true] {
        if looks && !setting.looks_for_more {
            continue;
        }
        let mut after = state.clone();
        let last = after.count_out()?;
        let duty = last && setting.fault != Fault::FoundWakesNone;
        let relied = state.relied && setting.fault != Fault::MoreWithoutHeavy;
        after.relied &= !(last && (looks || setting.fault == Fault::FoundClearsBit));
        after.workers[index].at = match (duty, looks) {
            (false, _) => At::Running,
            (true, true) if relied => At::FoundHeavy,
            (true, true) => At::FoundMore,
            (true, false) => At::SeeSleepers,
        };
        next.push(after);
    }
    Ok(())
}

fn heavy(state: &mut State, setting: &Setting) {
    if setting.barrier == Barrier::Membarrier && setting.fault != Fault::NoHeavy {
        state.flush_all();
    }
}

/// Adds the steps of a worker that parks, sleeps and wakes.
fn parking_steps(
    state: &State,
    index: usize,
    setting: &Setting,
    next: &mut Vec<State>,
) -> Result<(), Harm> {
    let worker = state.workers[index];
    let mut after = state.clone();
    let then = match worker.at {
        At::SetBit { searched } => {
            after.workers[index].bit = true;
            match setting.fault {
                Fault::CountBeforeBit => At::Sleep,
                _ => At::Count { searched },
            }
        }
        At::Count { searched } => {
            if searched {
                after.count_out()?;
            }
            let no_searcher = after.searching == 0;
            after.relied &= !(no_searcher && searched);
            after.relied |= !no_searcher && setting.fault != Fault::NoRelianceBit;
            match setting.fault {
                // In this fault the bit comes last, so the look is ordered with nothing.
                Fault::CountBeforeBit if no_searcher => At::Heavy { last: searched },
                Fault::CountBeforeBit => At::SetBit { searched },
                Fault::NoRecheck | Fault::RecheckBeforeCount => At::Sleep,
                _ if no_searcher => At::Heavy { last: searched },
                _ => At::Sleep,
            }
        }
        At::Heavy { last } => {
            heavy(&mut after, setting);
            At::Recheck { last }
        }
        At::Recheck { last } => match (after.take(), setting.fault) {
            (true, Fault::RecheckBeforeCount) if last => At::FoundCountOut,
            (true, Fault::RecheckBeforeCount | Fault::CountBeforeBit) => At::Running,
            (true, _) => At::Withdraw { last },
            (false, Fault::RecheckBeforeCount | Fault::CountBeforeBit) => {
                At::SetBit { searched: last }
            }
            (false, _) => At::Sleep,
        },
        At::Withdraw { last } => {
            let own = core::mem::replace(&mut after.workers[index].bit, false);
            let pass_on = last && setting.fault != Fault::RecheckWakesNone;
            match (own, pass_on) {
                (false, _) => At::FoundCountOut,
                (true, true) if !setting.looks_for_more || state.queue > 0 => At::SeeSleepers,
                (true, _) => At::Running,
            }
        }
        At::Sleep if worker.token => {
            after.workers[index].token = false;
            At::Awake
        }
        At::Sleep if setting.spurious => At::Awake,
        At::Sleep => return Ok(()),
        At::Awake => {
            let own = core::mem::replace(&mut after.workers[index].bit, false);
            if own || setting.fault == Fault::WithdrawUnchecked {
                At::Look
            } else {
                At::SearchLook
            }
        }
        other => unreachable!("a worker is never at {other:?}"),
    };
    after.workers[index].at = then;
    next.push(after);
    Ok(())
}

/// Explores every state. Returns the number of states, or the first harm with the number of steps
/// to it.
fn explore(setting: &Setting) -> Result<usize, Harm> {
    let mut seen = HashSet::new();
    let mut open = VecDeque::new();
    let first = State::first(setting);
    seen.insert(first.key());
    open.push_back((first, 0));
    while let Some((state, steps)) = open.pop_front() {
        if let Some(harm) = state.harm() {
            return Err(format!("{harm}, after {steps} steps: {state:?}"));
        }
        let after = successors(&state, setting)
            .map_err(|harm| format!("{harm}, after {steps} steps: {state:?}"))?;
        for mut next in after {
            // Workers are alike, so their order makes no difference.
            next.workers.sort_unstable();
            if seen.insert(next.key()) {
                open.push_back((next, steps + 1));
            }
        }
    }
    Ok(seen.len())
}

const SOUND: Setting = Setting {
    workers: 3,
    batches: &[&[1, 1]],
    barrier: Barrier::Membarrier,
    looks_for_more: false,
    spurious: true,
    fault: Fault::None,
};

fn assert_sound(setting: &Setting) {
    match explore(setting) {
        Ok(states) => {
            eprintln!("{states} states: {setting:?}");
            assert!(states > 500, "too few states to mean anything");
        }
        Err(harm) => panic!("{harm}\n{setting:?}"),
    }
}

#[test]
fn w1_three_workers_lose_no_item() {
    for (barrier, looks_for_more) in [(Barrier::Membarrier, true), (Barrier::Fences, false)] {
        assert_sound(&Setting {
            barrier,
            looks_for_more,
            ..SOUND
        });
    }
}

#[test]
fn w1_two_workers_and_two_submitters_lose_no_item() {
    for looks_for_more in [false, true] {
        assert_sound(&Setting {
            workers: 2,
            batches: &[&[1], &[1]],
            looks_for_more,
            ..SOUND
        });
    }
}

#[test]
fn w1_three_workers_lose_no_item_of_a_batch() {
    assert_sound(&Setting {
        batches: &[&[2]],
        ..SOUND
    });
}

#[test]
fn w4_four_workers_lose_no_item_though_tasks_never_end() {
    assert_sound(&Setting {
        workers: 4,
        batches: &[&[1]],
        spurious: false,
        ..SOUND
    });
}

#[test]
#[ignore = "soak: cargo xtask verify"]
fn w1_four_workers_and_two_submitters_lose_no_item() {
    const LONGER: [&[&[u8]]; 2] = [&[&[3]], &[&[1, 1]]];
    for batches in LONGER {
        assert_sound(&Setting {
            workers: 4,
            batches,
            spurious: false,
            ..SOUND
        });
    }
    for looks_for_more in [false, true] {
        assert_sound(&Setting {
            workers: 4,
            batches: &[&[1], &[1]],
            looks_for_more,
            spurious: false,
            ..SOUND
        });
        for barrier in [Barrier::Membarrier, Barrier::Fences] {
            assert_sound(&Setting {
                batches: &[&[1], &[1]],
                barrier,
                looks_for_more,
                ..SOUND
            });
        }
    }
}

/// Each step is needed: without it, the exploration finds an item that waits beside a sleeper, or a
/// count below zero.
#[test]
fn every_step_that_is_left_out_is_found() {
    let two: &[&[u8]] = &[&[1], &[1]];
    let three: &[&[u8]] = &[&[1], &[1, 1]];
    let cases = [
        (Fault::NoRecheck, Barrier::Membarrier, false, two),
        (Fault::RecheckBeforeCount, Barrier::Membarrier, false, two),
        (Fault::CountBeforeBit, Barrier::Fences, false, two),
        (Fault::FoundWakesNone, Barrier::Fences, false, two),
        (Fault::RecheckWakesNone, Barrier::Fences, false, two),
        (Fault::UndoWithoutLook, Barrier::Fences, false, two),
        (Fault::NoHeavy, Barrier::Membarrier, false, two),
        (Fault::NoLight, Barrier::Fences, false, two),
        (Fault::NoFence, Barrier::Membarrier, true, two),
        (Fault::NoRelianceBit, Barrier::Membarrier, true, two),
        (Fault::MoreWithoutHeavy, Barrier::Membarrier, true, two),
        (Fault::FoundClearsBit, Barrier::Membarrier, true, three),
        (Fault::WithdrawUnchecked, Barrier::Fences, false, two),
    ];
    for (fault, barrier, looks_for_more, batches) in cases {
        let setting = Setting {
            barrier,
            looks_for_more,
            batches,
            fault,
            ..SOUND
        };
        match explore(&setting) {
            Err(harm) => eprintln!("{fault:?}: {harm}"),
            Ok(states) => panic!("{fault:?} does no harm in {states} states: {setting:?}"),
        }
    }
}
