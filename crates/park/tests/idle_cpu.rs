//! Goal: sleeping workers use no processor time that the kernel can see (risk W11).
//!
//! Method: `getrusage` of this process, which runs only this test, around a second in which eight
//! workers sleep. Some of them have parkers that spin.
#![cfg(all(unix, not(stealyard_loom), not(stealyard_shuttle)))]

use std::sync::Barrier;
use std::time::Duration;

use stealyard_park::idle::Recheck;
use stealyard_park::{Idle, Parker, SpinConfig};

fn cpu_time() -> Duration {
    let mut usage = core::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: 1. the pointer is valid for writing one `rusage`.
    let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    assert_eq!(result, 0);
    // SAFETY: 1. the call succeeded, so it has filled the structure.
    let usage = unsafe { usage.assume_init() };
    let of = |time: libc::timeval| {
        let micros = i128::from(time.tv_sec) * 1_000_000 + i128::from(time.tv_usec);
        Duration::from_micros(u64::try_from(micros).expect("no negative time"))
    };
    of(usage.ru_utime) + of(usage.ru_stime)
}

#[test]
fn w11_sleeping_workers_burn_nothing() {
    let parkers: Vec<Parker> = (0..8)
        .map(|index| match index % 2 {
            0 => Parker::new(),
            _ => Parker::with_spin(SpinConfig::default()),
        })
        .collect();
    let idle = Idle::new(parkers.iter().map(Parker::unparker));
    let ready = Barrier::new(9);
    std::thread::scope(|scope| {
        for (index, parker) in parkers.into_iter().enumerate() {
            let (idle, ready) = (&idle, &ready);
            scope.spawn(move || {
                let active = idle.join(index).unwrap();
                let Recheck::Nothing(sleeping) = active.park().recheck(|| None::<()>) else {
                    unreachable!("there is no work");
                };
                ready.wait();
                let _woken = sleeping.sleep(|| parker.park());
            });
        }
        ready.wait();
        std::thread::sleep(Duration::from_millis(100)); // until the last spin is over
        let before = cpu_time();
        std::thread::sleep(Duration::from_secs(1));
        let used = cpu_time() - before;
        idle.wake_all_workers();
        assert!(
            used < Duration::from_millis(20),
            "{used:?} in a second of sleep"
        );
    });
}
