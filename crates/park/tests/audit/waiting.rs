//! Programs of parkers, one thread beside a model, and of event counts, several threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use stealyard_park::{EventCount, ParkResult, Parker, SpinConfig, Unparker};
use stealyard_sync::seed::Rng;

use crate::support::{HANG, keep, maybe_panic, quietly};

/// Drives a parker from one thread: the token is there if it was left and not taken.
pub(crate) fn parker(rng: &mut Rng) {
    let parker = match rng.below(3) {
        0 => Parker::default(),
        1 => Parker::new(),
        _ => Parker::with_spin(SpinConfig::default()),
    };
    let mut unparkers: Vec<Unparker> = vec![parker.unparker()];
    let mut token = false;
    for _ in 0..rng.below(200) {
        let answer = match rng.below(9) {
            0 => {
                keep(parker.unparker());
                std::mem::forget(parker.unparker());
                continue;
            }
            1 => {
                unparkers.push(unparkers[0].clone());
                assert!(format!("{parker:?}").contains(if token { "NOTIFIED" } else { "EMPTY" }));
                continue;
            }
            2..5 => {
                let at = rng.below(unparkers.len() as u32) as usize;
                unparkers[at].unpark();
                token = true;
                continue;
            }
            5 if token => {
                parker.park();
                ParkResult::Notified
            }
            6 => parker.park_until(Instant::now()),
            7 => parker.park_now(Some(Instant::now() + Duration::from_nanos(1))),
            _ => parker.park_timeout(Duration::from_nanos(u64::from(rng.below(900)))),
        };
        assert_eq!(answer == ParkResult::Notified, token);
        token = false;
    }
}

/// Threads pass a turn round, each waiting for its own. Some waiters cancel, and some are
/// forgotten.
pub(crate) fn event_count(rng: &mut Rng) {
    let (event, turn) = (EventCount::default(), AtomicUsize::new(0));
    let threads = rng.below(3) as usize + 2;
    let turns = 60;
    let forgotten = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for me in 0..threads {
            let mut rng = Rng::new(rng.next_u64());
            let (event, turn, forgotten) = (&event, &turn, &forgotten);
            scope.spawn(move || {
                let is_mine = |seen: usize| seen >= turns || seen % threads == me;
                loop {
                    match rng.below(60) {
                        0 => {
                            std::mem::forget(event.prepare());
                            forgotten.fetch_add(1, Ordering::Relaxed);
                        }
                        1..5 => drop(event.prepare()),
                        5..8 => event.prepare().cancel(),
                        _ => {
                            _ = quietly(|| {
                                let _waiting = event.prepare();
                                maybe_panic(&mut rng, 3);
                            })
                        }
                    }
                    let waiting = event.prepare();
                    let seen = turn.load(Ordering::SeqCst);
                    if !is_mine(seen) {
                        match rng.below(3) {
                            0 => _ = waiting.wait_timeout(Duration::from_micros(50)),
                            1 => _ = waiting.wait_until(Instant::now() + HANG),
                            _ => waiting.wait(),
                        }
                        continue;
                    }
                    drop(waiting);
                    if seen >= turns {
                        return;
                    }
                    turn.store(seen + 1, Ordering::SeqCst);
                    event.notify_all();
                }
            });
        }
    });
    assert_eq!(event.waiters(), forgotten.into_inner());
}
