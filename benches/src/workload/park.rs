//! A thread's sleep: the time from the wake until the thread runs, the waker's own part, and round
//! trips.

use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::{Duration, Instant};

use stealyard_topology::CpuSet;

use crate::harness::{Case, Kind, Run, Subject, timed};
use crate::subject::parking::{
    Listening, OurEvent, Ours, Parking, RawFutex, Spinning, Staring, Std,
};
use crate::subject::{Sleep, Wake};

/// The pause before a wake, long enough for the sleeper to fall asleep.
const ASLEEP: Duration = Duration::from_micros(300);

/// Returns one workload on every sleep that makes a system call, ours first.
macro_rules! sleeps {
    ($workload:ident $(, $argument:expr)*) => {
        vec![
            $workload::<Ours>($($argument),*),
            $workload::<Std>($($argument),*),
            $workload::<Parking>($($argument),*),
            $workload::<RawFutex>($($argument),*),
        ]
    };
}

/// Returns the cases of this layer. Those across cores are only there where there are two cores.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("wake to run, asleep".to_owned(), "wake", || {
            sleeps!(asleep, |sent, _, ran| ran - sent)
        }),
        case("what the waker pays, asleep".to_owned(), "wake", || {
            sleeps!(asleep, |sent, back, _| back - sent)
        }),
        case("unpark, nobody sleeps".to_owned(), "unpark", || {
            vec![unneeded::<Ours>(), unneeded::<Std>(), unneeded::<Parking>()]
        }),
        case("unpark and park, one thread".to_owned(), "pair", || {
            vec![paired::<Ours>(), paired::<Std>(), paired::<Parking>()]
        }),
        case("notify, nobody waits".to_owned(), "notification", || {
            vec![unneeded::<OurEvent>(), unneeded::<Listening>()]
        }),
    ];
    let usable = stealyard_topology::Limits::read().usable_cpus();
    let cpus: Vec<usize> = usable.iter().take(2).collect();
    let mut places = Vec::new();
    if let [first, ..] = cpus[..] {
        places.push(("on one core", [first, first]));
    }
    if let [first, second] = cpus[..] {
        places.push(("across cores", [first, second]));
    }
    for (place, cpus) in places {
        cases.push(case(
            format!("ping-pong {place}"),
            "round trip",
            move || sleeps!(ping_pong, cpus),
        ));
        cases.push(case(
            format!("ping-pong {place}, condition elsewhere"),
            "round trip",
            move || vec![ping_pong::<OurEvent>(cpus), ping_pong::<Listening>(cpus)],
        ));
        if cpus[0] != cpus[1] {
            cases.push(case(
                format!("ping-pong {place}, with the spin"),
                "round trip",
                move || {
                    let mut subjects = vec![ping_pong::<Spinning>(cpus)];
                    subjects.extend(sleeps!(ping_pong, cpus));
                    subjects.push(ping_pong::<Staring>(cpus));
                    subjects
                },
            ));
        }
    }
    cases
}

fn case(
    name: String,
    operation: &'static str,
    subjects: impl Fn() -> Vec<Subject> + 'static,
) -> Case {
    Case {
        layer: "park",
        name,
        operation,
        kind: Kind::Time,
        subjects: Box::new(subjects),
    }
}

fn subject<S: Sleep>(run: impl FnMut(u64) -> Run + 'static) -> Subject {
    Subject {
        name: S::NAME,
        run: Box::new(run),
    }
}

/// Measures wakes. `span` takes the measured time from three moments: of the wake, of the return
/// from it, and of the sleeper's run.
fn asleep<S: Sleep>(span: fn(Instant, Instant, Instant) -> Duration) -> Subject {
    subject::<S>(move |repetitions| {
        // The pauses in between are not counted, so a few samples are a run.
        let samples = repetitions.clamp(1, 32);
        let (give, given) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let sleeper = std::thread::spawn(move || {
            let (sleep, wake) = S::new();
            give.send(wake).expect("the waker waits for it");
            for _ in 0..samples {
                sleep.sleep();
                tell.send(Instant::now()).expect("the waker waits for it");
            }
        });
        let wake = given.recv().expect("the sleeper started");
        let mut time = Duration::ZERO;
        for _ in 0..samples {
            std::thread::sleep(ASLEEP);
            let sent = Instant::now();
            wake.wake();
            let back = Instant::now();
            time += span(sent, back, told.recv().expect("the sleeper runs"));
        }
        sleeper.join().expect("the sleeper ends");
        Run::took(time, samples)
    })
}

/// Wakes a thread that is awake and has a token already.
fn unneeded<S: Sleep>() -> Subject {
    subject::<S>(|repetitions| {
        let (sleep, wake) = S::new();
        let run = timed(repetitions, || {
            for _ in 0..repetitions {
                wake.wake();
            }
        });
        sleep.sleep();
        run
    })
}

/// One thread wakes itself and then sleeps, which returns at once.
fn paired<S: Sleep>() -> Subject {
    subject::<S>(|repetitions| {
        let (sleep, wake) = S::new();
        timed(repetitions, || {
            for _ in 0..repetitions {
                wake.wake();
                sleep.sleep();
            }
        })
    })
}

/// Two threads on these CPUs wake each other in turns.
fn ping_pong<S: Sleep>(cpus: [usize; 2]) -> Subject {
    subject::<S>(move |repetitions| {
        let table = Arc::new(Table {
            wakes: Mutex::new([None, None]),
            laid: Barrier::new(2),
        });
        let player = |number: usize| {
            let table = Arc::clone(&table);
            std::thread::spawn(move || {
                let one: CpuSet = [cpus[number]].into_iter().collect();
                let _ = stealyard_topology::pin(&one).expect("a CPU that we may use");
                let (sleep, wake) = S::new();
                let other = table.exchange(number, wake);
                timed(repetitions, || {
                    for _ in 0..repetitions {
                        if number == 0 {
                            other.wake();
                            sleep.sleep();
                        } else {
                            sleep.sleep();
                            other.wake();
                        }
                    }
                })
            })
        };
        let (first, second) = (player(0), player(1));
        second.join().expect("the second ends");
        first.join().expect("the first ends")
    })
}

/// The place where two threads exchange the ends that wake them. It is no channel: a channel's
/// receiver may sleep by `std::thread::park`, and would take or leave a token that belongs to the
/// workload.
struct Table<W> {
    wakes: Mutex<[Option<W>; 2]>,
    laid: Barrier,
}

impl<W> Table<W> {
    fn exchange(&self, number: usize, mine: W) -> W {
        let lock = || self.wakes.lock().expect("nobody panics while it is locked");
        lock()[number] = Some(mine);
        self.laid.wait();
        lock()[1 - number].take().expect("both have laid theirs")
    }
}
