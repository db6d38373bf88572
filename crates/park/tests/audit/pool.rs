//! Programs of the thread pool.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use stealyard_park::pool::{OsThreads, PoolStats, RefusedReason, ShutdownResult, Start};
use stealyard_park::{PoolConfig, ThreadPool};
use stealyard_sync::seed::Rng;

use crate::support::{Bomb, HANG, Ledger, Planned, planned_panic};

/// A starter that starts threads or does something else, as a seed determines.
struct Moody {
    pool: Arc<OnceLock<Weak<ThreadPool>>>,
    seed: AtomicU64,
    /// The number of calls.
    asked: Arc<AtomicUsize>,
}

impl Start for Moody {
    fn start(
        &self,
        name: String,
        stack_size: Option<usize>,
        body: Box<dyn FnOnce() + Send>,
    ) -> io::Result<JoinHandle<()>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut rng = Rng::new(self.seed.fetch_add(1, Ordering::Relaxed));
        if let Some(pool) = self.pool.get().and_then(Weak::upgrade) {
            let _looked = (pool.stats(), format!("{pool:?}"));
            if rng.below(4) == 0 {
                _ = pool.run_now(|| ()).map_err(drop);
            }
        }
        match rng.below(12) {
            0 => Err(io::Error::other("no thread")),
            1 => {
                planned_panic();
                unreachable!("it panics, or the thread is unwinding")
            }
            2 => {
                drop(body);
                Ok(std::thread::spawn(|| ()))
            }
            3 => {
                // The body runs or not: the new thread and this one race.
                drop(OsThreads.start(name, stack_size, body));
                Err(io::Error::other("said too much"))
            }
            _ => OsThreads.start(name, stack_size, body),
        }
    }
}

/// Panics with a payload that is harmless or not.
fn planned_panic_or_bomb(rng: &mut Rng) {
    if rng.below(2) == 0 {
        planned_panic();
    }
    resume_unwind(Box::new(Bomb));
}

struct Jobs {
    pool: Arc<ThreadPool>,
    ledger: Arc<Ledger>,
    ran: AtomicUsize,
    /// The jobs that were taken by the pool, or run by their caller.
    owed: AtomicUsize,
    panicked: Arc<AtomicU64>,
    me: Weak<Self>,
}

impl Jobs {
    fn job(&self, rng: &mut Rng, depth: u32) -> impl FnOnce() + Send + 'static {
        let (me, entry) = (self.me.upgrade().expect("it lives"), self.ledger.entry());
        let mut rng = Rng::new(rng.next_u64());
        move || {
            let _entry = entry;
            me.ran.fetch_add(1, Ordering::Relaxed);
            if depth > 0 && rng.below(3) == 0 {
                me.step(&mut rng, depth - 1);
            }
            if rng.below(8) == 0 {
                me.panicked.fetch_add(1, Ordering::Relaxed);
                planned_panic_or_bomb(&mut rng);
            }
        }
    }

    fn step(&self, rng: &mut Rng, depth: u32) {
        let pool = &self.pool;
        match rng.below(16) {
            0..8 => self.give(rng, depth, true),
            8..12 => self.give(rng, depth, false),
            12 => {
                let stats = pool.stats();
                assert!(
                    stats.idle <= stats.threads && stats.threads <= 3,
                    "{stats:?}"
                );
            }
            13 => _ = format!("{pool:?}"),
            14 => std::thread::yield_now(),
            _ if rng.below(40) == 0 => _ = pool.shutdown(Duration::from_micros(10)),
            _ if rng.below(40) == 0 => pool.close(),
            _ => {}
        }
    }

    fn give(&self, rng: &mut Rng, depth: u32, may_queue: bool) {
        let job = self.job(rng, depth);
        let placed = if may_queue {
            self.pool.run(job)
        } else {
            self.pool.run_now(job)
        };
        match placed {
            Ok(_) => _ = self.owed.fetch_add(1, Ordering::Relaxed),
            Err(refused) => {
                assert!(!matches!(refused.reason(), RefusedReason::Forked));
                // The caller runs the job or drops it. Its panic is not counted as a job's.
                if rng.below(2) == 0 {
                    self.owed.fetch_add(1, Ordering::Relaxed);
                    let job = refused.into_job();
                    let panicked = Arc::clone(&self.panicked);
                    if let Err(payload) = catch_unwind(AssertUnwindSafe(job)) {
                        panicked.fetch_sub(1, Ordering::Relaxed);
                        assert!(payload.is::<Planned>() || payload.is::<Bomb>());
                        std::mem::forget(payload);
                    }
                }
            }
        }
    }
}

pub(crate) fn pool(rng: &mut Rng) {
    let (cell, asked, panicked) = (
        Arc::<OnceLock<_>>::default(),
        Arc::default(),
        Arc::default(),
    );
    let hook = |rng: &mut Rng| {
        let seed = AtomicU64::new(rng.next_u64());
        let (cell, panicked): (Arc<OnceLock<Weak<ThreadPool>>>, Arc<AtomicU64>) =
            (Arc::clone(&cell), Arc::clone(&panicked));
        Box::new(move |_: usize| {
            let mut rng = Rng::new(seed.fetch_add(1, Ordering::Relaxed));
            if let Some(pool) = cell.get().and_then(Weak::upgrade) {
                _ = (pool.stats(), pool.shutdown(Duration::ZERO));
                _ = pool.run(|| ()).map_err(drop);
            }
            if rng.below(3) == 0 {
                panicked.fetch_add(1, Ordering::Relaxed);
                planned_panic_or_bomb(&mut rng);
            }
        })
    };
    let config = PoolConfig {
        threads_max: rng.below(3) as usize + 1,
        keep_alive: [Duration::ZERO, Duration::from_micros(50), HANG][rng.below(3) as usize],
        on_start: (rng.below(8) == 0).then(|| hook(rng) as _),
        on_stop: (rng.below(2) == 0).then(|| hook(rng) as _),
        ..PoolConfig::default()
    };
    let starter = Moody {
        pool: Arc::clone(&cell),
        seed: AtomicU64::new(rng.next_u64()),
        asked: Arc::clone(&asked),
    };
    let pool = Arc::new(ThreadPool::with_starter(config, starter).expect("a sound configuration"));
    cell.set(Arc::downgrade(&pool)).expect("set once");
    let jobs = Arc::new_cyclic(|me| Jobs {
        pool: Arc::clone(&pool),
        ledger: Arc::default(),
        ran: AtomicUsize::new(0),
        owed: AtomicUsize::new(0),
        panicked: Arc::clone(&panicked),
        me: me.clone(),
    });
    std::thread::scope(|scope| {
        for _ in 0..rng.below(3) + 1 {
            let mut rng = Rng::new(rng.next_u64());
            let jobs = &jobs;
            scope.spawn(move || (0..60).for_each(|_| jobs.step(&mut rng, 2)));
        }
    });
    assert_eq!(pool.shutdown(HANG), ShutdownResult::Complete);
    jobs.ledger.assert_settled();
    assert_eq!(
        jobs.ran.load(Ordering::Relaxed),
        jobs.owed.load(Ordering::Relaxed)
    );
    let stats = pool.stats();
    let expected = PoolStats {
        threads: 0,
        idle: 0,
        queued: 0,
        panics: panicked.load(Ordering::Relaxed),
        started: asked.load(Ordering::Relaxed) as u64 - stats.start_failures,
        ..stats
    };
    assert_eq!(stats, expected);
}
