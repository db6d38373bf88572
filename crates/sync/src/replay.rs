//! Runs a scenario under many seeded schedules, and any one of them again.
//!
//! A schedule has a short name: `random-SEED` or `pct-SEED-STEPS`, hexadecimal. The name decides
//! which thread runs at every step, and which number [`pick`] returns. So the same name is the same
//! execution, as long as the code is the same. When an execution fails, its name is printed with
//! the command that runs it again.
//!
//! There are two kinds of schedule:
//! - *random*: each step runs any thread that can run, all of them equally likely.
//! - *PCT* (probabilistic concurrency testing): every thread has a random priority, and the thread
//!   with the highest one runs, of those that can. At a few random steps, and when it yields, the
//!   running thread falls to the lowest priority. This finds bugs that need one thread to stand
//!   still for long, which random walks hardly ever find. `STEPS` is the expected length of an
//!   execution; the places of the falls are drawn from it.
//!
//! | variable              | meaning                                               |
//! |-----------------------|-------------------------------------------------------|
//! | `STEALYARD_SCHEDULES` | schedules per scenario, half of them random, half PCT |
//! | `STEALYARD_SEED`      | the number that all seeds are made from (default 0)   |
//! | `STEALYARD_REPLAY`    | `SCENARIO:SCHEDULE`: runs this and no other           |
//!
//! # Invariants
//! - **RP1** *A schedule repeats.* Each scenario first runs one schedule of each kind twice, and
//!   the chosen threads must be the same. A scenario that reads the clock, addresses or the
//!   environment fails here, and not only when its replay is needed.
//!
//! # Why not …
//! - *shuttle's own PCT scheduler*: it learns the length of an execution from the executions
//!   before. So a single execution cannot be repeated from a seed, only from a recording of every
//!   step.
//!
//! # References
//! S. Burckhardt, P. Kothari, M. Musuvathi, S. Nagarakatte, *A randomized scheduler with
//! probabilistic guarantees of finding bugs*, ASPLOS 2010.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::str::FromStr;
use std::rc::Rc;
use std::sync::{Arc, Once};

use shuttle::rand::RngCore;
use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, FailurePersistence, Runner};

use crate::seed::Rng;

/// The number of falls in one execution, beside those of threads that yield.
const PCT_FALLS: usize = 3;
/// The stack of a thread: debug builds of a scheduler inside a scheduler have deep frames.
const STACK_BYTES: usize = 512 * 1024;

/// The name of one execution; see the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Random { seed: u64 },
    Pct { seed: u64, steps: u64 },
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random { seed } => write!(f, "random-{seed:x}"),
            Self::Pct { seed, steps } => write!(f, "pct-{seed:x}-{steps:x}"),
        }
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hex = |word: &str| u64::from_str_radix(word, 16).ok();
        let words: Vec<&str> = text.split('-').collect();
        let name = match words[..] {
            ["random", seed] => hex(seed).map(|seed| Self::Random { seed }),
            ["pct", seed, steps] => hex(seed)
                .zip(hex(steps))
                .map(|(seed, steps)| Self::Pct { seed, steps }),
            _ => None,
        };
        name.ok_or_else(|| {
            format!("{text:?} is no schedule: random-SEED or pct-SEED-STEPS, in hexadecimal")
        })
    }
}

thread_local! {
    /// The scenario and the schedule that run on this thread now, for the panic hook.
    static NOW: RefCell<Option<(String, Name)>> = const { RefCell::new(None) };
}

/// Runs `body` under `schedules` schedules. `STEALYARD_SCHEDULES` overrides the number, and
/// `STEALYARD_REPLAY` selects one schedule.
///
/// # Panics
/// Panics if an execution panics or deadlocks, after printing its name, and if one does not repeat
/// (RP1).
pub fn check(scenario: &str, schedules: usize, body: impl Fn() + Send + Sync + 'static) {
    print_names_of_failures();
    // The mode is chosen once in a process. The first execution must not differ from the others by
    // that (RP1).
    crate::asymmetric::mode();
    let body: Arc<dyn Fn() + Send + Sync> = Arc::new(body);
    let once = |name: Name| run(scenario, &body, Source::one(name));
    if let Ok(wanted) = std::env::var("STEALYARD_REPLAY") {
        let Some((wanted_scenario, name)) = wanted.split_once(':') else {
            panic!("STEALYARD_REPLAY is SCENARIO:SCHEDULE, not {wanted:?}");
        };
        if wanted_scenario == scenario {
            let seen = once(name.parse().unwrap_or_else(|error| panic!("{error}")));
            eprintln!("{wanted} passes, with {} choices", seen.longest);
        }
        return;
    }
    let schedules = number("STEALYARD_SCHEDULES").map_or(schedules, |count| count as usize);
    let mut seeds = Rng::new(number("STEALYARD_SEED").unwrap_or(0));
    let mut steps = 0;
    for pct in [false, true] {
        let seed = seeds.next_u64();
        let name = if pct {
            Name::Pct { seed, steps }
        } else {
            Name::Random { seed }
        };
        let (first, second) = (once(name), once(name));
        assert_eq!(
            first, second,
            "RP1: {scenario}:{name} does not repeat: something beside the schedule decides"
        );
        steps = first.longest;
    }
    let seen = run(
        scenario,
        &body,
        Source::many(seeds, schedules.max(2), steps),
    );
    eprintln!(
        "{scenario}: {schedules} schedules, at most {} choices in one",
        seen.longest
    );
}

/// Returns a number below `bound` that the schedule decides. It is the same in every replay.
///
/// # Panics
/// Panics outside of [`check`], and if `bound` is zero.
pub fn pick(bound: usize) -> usize {
    assert!(bound > 0, "the bound is 0: no number is below it");
    let drawn = shuttle::rand::thread_rng().next_u64();
    (drawn % bound as u64) as usize
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{variable} is a number, not {text:?}"),
    }
}

fn run(scenario: &str, body: &Arc<dyn Fn() + Send + Sync>, mut source: Source) -> Seen {
    let seen = Rc::new(Cell::new(Seen::default()));
    source.seen = Rc::clone(&seen);
    source.scenario = scenario.to_owned();
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.failure_persistence = FailurePersistence::None;
    config.silence_warnings = true;
    let body = Arc::clone(body);
    Runner::new(source, config).run(move || body());
    NOW.set(None);
    seen.get()
}

/// Makes the first panic of an execution print the name of the execution, also where the panic ends
/// the process.
fn print_names_of_failures() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let outer = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if let Some((scenario, name)) = NOW.take() {
                eprintln!(
                    "\n=== {scenario}:{name} fails; again with:\n    cargo xtask verify --replay {scenario}:{name}\n"
                );
            }
            outer(panic);
        }));
    });
}

/// A summary of the executions of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// A hash of every chosen thread.
    trace: u64,
    /// The largest number of choices between several threads in one execution.
    longest: u64,
}

/// The source of executions, one after the other, for shuttle.
struct Source {
    scenario: String,
    only: Option<Name>,
    seeds: Rng,
    /// The number of executions that are still to run.
    remaining: usize,
    now: Execution,
    seen: Rc<Cell<Seen>>,
}

impl Source {
    fn one(name: Name) -> Self {
        let mut source = Self::many(Rng::new(0), 1, 0);
        source.only = Some(name);
        source
    }

    fn many(seeds: Rng, count: usize, longest: u64) -> Self {
        let mut now = Execution::new(Name::Random { seed: 0 });
        now.choices = longest;
        Self {
            scenario: String::new(),
            only: None,
            seeds,
            remaining: count,
            now,
            seen: Rc::default(),
        }
    }

    /// Adds the present execution to the summary.
    fn note(&self) {
        let seen = self.seen.get();
        self.seen.set(Seen {
            trace: self.now.trace,
            longest: seen.longest.max(self.now.choices),
        });
    }
}

impl Scheduler for Source {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.note();
        if self.remaining == 0 {
            return None;
        }
        self.remaining -= 1;
        let seed = self.seeds.next_u64();
        let name = match self.only {
            Some(name) => name,
            None if self.remaining.is_multiple_of(2) => Name::Random { seed },
            None => Name::Pct {
                seed,
                steps: self.seen.get().longest,
            },
        };
        NOW.set(Some((self.scenario.clone(), name)));
        crate::imp::moving::restart();
        self.now = Execution::new(name);
        Some(Schedule::new(seed))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let chosen = self.now.choose(runnable, current, is_yielding)?;
        self.now.trace =
            (self.now.trace ^ usize::from(chosen) as u64).wrapping_mul(0x100_0000_01B3);
        Some(chosen)
    }

    fn next_u64(&mut self) -> u64 {
        self.now.rng.next_u64()
    }
}

/// One execution under way.
struct Execution {
    rng: Rng,
    priorities: Option<Priorities>,
    choices: u64,
    trace: u64,
}

impl Execution {
    fn new(name: Name) -> Self {
        let (seed, steps) = match name {
            Name::Random { seed } => (seed, None),
            Name::Pct { seed, steps } => (seed, Some(steps)),
        };
        let mut rng = Rng::new(seed);
        Self {
            priorities: steps.map(|steps| Priorities::new(&mut rng, steps)),
            rng,
            choices: 0,
            trace: 0xCBF2_9CE4_8422_2325,
        }
    }

    fn choose(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let several = runnable.len() > 1;
        self.choices += u64::from(several);
        match &mut self.priorities {
            Some(priorities) => {
                if let Some(current) = current
                    && several
                    && (is_yielding || priorities.falls.contains(&self.choices))
                {
                    priorities.fall(usize::from(current), &mut self.rng);
                }
                let priority = |task: &&&Task| priorities.of(usize::from(task.id()), &mut self.rng);
                Some(runnable.iter().max_by_key(priority)?.id())
            }
            None => {
                let bound = u32::try_from(runnable.len()).ok()?;
                let at = self.rng.below(bound) as usize;
                Some(runnable.get(at)?.id())
            }
        }
    }
}

/// The priorities of a PCT execution.
struct Priorities {
    of: Vec<u64>,
    /// The choices at which the running thread falls.
    falls: [u64; PCT_FALLS],
    /// The last priority that a thread fell to. The next thread falls below it.
    lowest: u64,
}

impl Priorities {
    fn new(rng: &mut Rng, steps: u64) -> Self {
        let bound = u32::try_from(steps).unwrap_or(u32::MAX).max(1);
        Self {
            of: Vec::new(),
            falls: core::array::from_fn(|_| u64::from(rng.below(bound)) + 1),
            lowest: u64::MAX / 2,
        }
    }

    /// Returns the priority of `thread`. A new thread gets a random one, above those of all threads
    /// that have fallen.
    fn of(&mut self, thread: usize, rng: &mut Rng) -> u64 {
        while self.of.len() <= thread {
            self.of.push(u64::MAX / 2 + 1 + rng.next_u64() / 2);
        }
        self.of[thread]
    }

    fn fall(&mut self, thread: usize, rng: &mut Rng) {
        self.of(thread, rng);
        self.lowest -= 1;
        self.of[thread] = self.lowest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_name_is_parsed_as_it_is_printed() {
        for name in [
            Name::Random { seed: u64::MAX },
            Name::Pct {
                seed: 17,
                steps: 300,
            },
        ] {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        for bad in ["", "random", "random-xyz", "pct-1", "other-1"] {
            assert!(bad.parse::<Name>().unwrap_err().contains("random-SEED"));
        }
    }

    #[test]
    fn both_kinds_of_schedule_find_a_race_of_two_threads() {
        for pct in [false, true] {
            let body: Arc<dyn Fn() + Send + Sync> = Arc::new(|| {
                let cell = Arc::new(crate::atomic::AtomicUsize::new(0));
                let add = |cell: &crate::atomic::AtomicUsize| {
                    // Ordering: Relaxed; shuttle is sequentially consistent.
                    let seen = cell.load(crate::atomic::Ordering::Relaxed);
                    // Ordering: Relaxed; as above.
                    cell.store(seen + 1, crate::atomic::Ordering::Relaxed);
                };
                let other = Arc::clone(&cell);
                let thread = crate::thread::spawn(move || add(&other));
                add(&cell);
                thread.join().unwrap();
                // Ordering: Relaxed; as above.
                assert_eq!(cell.load(crate::atomic::Ordering::Relaxed), 2);
            });
            let found = (0..200).any(|seed| {
                let name = if pct {
                    Name::Pct { seed, steps: 8 }
                } else {
                    Name::Random { seed }
                };
                let again = || {
                    let body = Arc::clone(&body);
                    let run = move || run("race", &body, Source::one(name));
                    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err()
                };
                let failed = again();
                assert_eq!(failed, again(), "the same name is the same execution");
                failed
            });
            assert!(found, "pct: {pct}");
        }
    }
}
