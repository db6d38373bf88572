//! Goal: in every schedule, two schedulers that end at once, while destructors of the one's tasks
//! wake, spawn and abort tasks of the other, drop every task once and answer every handle; and a
//! worker that finds nothing to do runs what its hooks make.
//!
//! Method: tasks of each that hold a waker, a handle and a join handle of the other, in a ledger;
//! what is forgotten leaves a thread that waits for it, a deadlock to shuttle.

use core::future::poll_fn;
use core::task::{Poll, Waker};

use stealyard::{Handle, JoinHandle, Shutdown, SpinConfig};
use stealyard_sync::atomic::{AtomicUsize, Ordering};
use stealyard_sync::replay::{check, pick};
use stealyard_sync::time::Duration;
use stealyard_sync::{Arc, Mutex, thread};

use crate::ledger::{EVERY_DAY, Entry, Ledger, any};

/// What a destructor does to the other scheduler.
struct Meddles {
    waker: Arc<Mutex<Option<Waker>>>,
    aborts: Option<JoinHandle<()>>,
    spawns: Option<(Handle, Entry)>,
}

impl Drop for Meddles {
    fn drop(&mut self) {
        let waker = self.waker.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
        if let Some(handle) = self.aborts.take() {
            handle.abort();
        }
        if let Some((handle, entry)) = self.spawns.take() {
            handle.spawn_detached(async move { entry.ran() });
        }
    }
}

/// A task that leaves its waker, and sleeps for ever.
async fn asleep(place: Arc<Mutex<Option<Waker>>>, held: (Entry, Meddles)) {
    poll_fn(move |context| {
        *place.lock().unwrap() = Some(context.waker().clone());
        Poll::<()>::Pending
    })
    .await;
    drop(held);
}

#[test]
fn two_ends() {
    check("two_ends", EVERY_DAY, || {
        let ledger = Ledger::new(5);
        let (one, two) = (any(1).build().unwrap(), any(1).build().unwrap());
        let slots: [Arc<Mutex<Option<Waker>>>; 2] = [Arc::default(), Arc::default()];
        let entry = ledger.entry(0);
        let aborted = two.spawn(async move {
            core::future::pending::<()>().await;
            entry.ran();
        });
        let meddles = Meddles {
            waker: Arc::clone(&slots[1]),
            aborts: Some(aborted),
            spawns: Some((two.handle().clone(), ledger.entry(1))),
        };
        let first = one.spawn(asleep(Arc::clone(&slots[0]), (ledger.entry(2), meddles)));
        let meddles = Meddles {
            waker: Arc::clone(&slots[0]),
            aborts: None,
            spawns: Some((one.handle().clone(), ledger.entry(3))),
        };
        let second = two.spawn(asleep(Arc::clone(&slots[1]), (ledger.entry(4), meddles)));
        // Or they are cancelled before they are polled.
        let wait = pick(2) == 0;
        while wait && slots.iter().any(|slot| slot.lock().unwrap().is_none()) {
            thread::yield_now();
        }
        let other = thread::spawn(move || drop(two));
        drop(one);
        assert!(first.join().is_err());
        assert!(second.join().is_err());
        other.join().unwrap();
        ledger.wait();
        ledger.settle();
    });
}

/// Work that hooks make before a sleep and after it is run, however the workers take turns.
#[test]
fn hooks() {
    check("hooks", EVERY_DAY, || {
        let ledger = Ledger::new(4);
        let left = Arc::new(AtomicUsize::new(0));
        let (own, entries) = (Arc::clone(&left), ledger.clone());
        let makes = move |_worker: usize| {
            // Ordering: Relaxed; shuttle is sequentially consistent.
            let place = own.fetch_add(1, Ordering::Relaxed);
            if place < 4 {
                let entry = entries.entry(place);
                match pick(3) {
                    0 => stealyard::spawn_detached(async move { entry.ran() }),
                    1 => drop(stealyard::spawn(async move { entry.ran() })),
                    _ => drop(stealyard::spawn_local(async move { entry.ran() })),
                }
            }
        };
        let builder = any(1 + pick(2)).watch(Duration::MAX, Duration::MAX);
        let park = pick(2) == 0;
        let builder = match park {
            true => builder.on_park(makes),
            false => builder.on_unpark(makes),
        };
        let scheduler = builder.spin(SpinConfig::OFF).build().unwrap();
        for _ in 0..3 {
            scheduler.spawn(async {}).join().unwrap();
        }
        // A worker with nothing to do makes work, until it has made all; one that is not woken does
        // not.
        // Ordering: Relaxed; as above.
        while park && left.load(Ordering::Relaxed) < 4 {
            thread::yield_now();
        }
        // Ordering: Relaxed; as above.
        let before = left.load(Ordering::Relaxed).min(4);
        let _report = scheduler.shutdown(Shutdown::Drain);
        // What a hook makes when the scheduler is closed, which wakes the workers, is cancelled.
        let ran = ledger.settle();
        assert!(ran >= before, "{ran} of {before} ran");
    });
}
