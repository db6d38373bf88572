//! A thread pool by hand, on `Idle` and `Parker`: one shared queue, workers that search, sleep and
//! wake each other. The pool itself takes fewer than 60 lines.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, mpsc};

use stealyard_park::idle::{Active, Recheck, Woken};
use stealyard_park::{Idle, Parker};

type Job = Box<dyn FnOnce() + Send>;

struct Pool {
    queue: Mutex<VecDeque<Option<Job>>>, // None tells one worker to stop
    idle: Idle,
}

impl Pool {
    fn start(workers: usize) -> (Arc<Self>, Vec<std::thread::JoinHandle<()>>) {
        let parkers: Vec<Parker> = (0..workers).map(|_| Parker::new()).collect();
        let idle = Idle::new(parkers.iter().map(Parker::unparker));
        let queue = Mutex::default();
        let pool = Arc::new(Self { queue, idle });
        let start = |(index, parker)| {
            let pool = Arc::clone(&pool);
            let active = pool.idle.join(index).expect("each number is taken once");
            std::thread::spawn(move || pool.work(active, &parker))
        };
        let threads = parkers.into_iter().enumerate().map(start).collect();
        (pool, threads)
    }

    fn submit(&self, job: Option<Job>) {
        self.queue.lock().unwrap().push_back(job);
        let _ = self.idle.announce(1); // after the push, always
    }

    fn pop(&self) -> Option<Option<Job>> {
        self.queue.lock().unwrap().pop_front()
    }

    fn work(&self, active: Active, parker: &Parker) {
        let mut state = Woken::Active(active);
        loop {
            let (active, entry) = match (state, self.pop()) {
                (Woken::Active(active), Some(entry)) => (active, entry),
                (Woken::Searching(searching), Some(entry)) => (searching.found(), entry),
                (waiting, None) => match waiting.park().recheck(|| self.pop()) {
                    Recheck::Work(active, entry) => (active, entry),
                    Recheck::Nothing(sleeping) => {
                        state = sleeping.sleep(|| parker.park());
                        continue;
                    }
                },
            };
            let Some(job) = entry else { return }; // dropping the token leaves the protocol
            job();
            state = Woken::Active(active);
        }
    }
}

fn main() {
    let (pool, threads) = Pool::start(3);
    let (sender, receiver) = mpsc::channel();
    for number in 0..1000_u64 {
        let sender = sender.clone();
        pool.submit(Some(Box::new(move || {
            sender.send(number * number).unwrap()
        })));
    }
    let sum: u64 = receiver.iter().take(1000).sum();
    let expected: u64 = (0..1000).map(|number| number * number).sum();
    assert_eq!(sum, expected);
    for _ in &threads {
        pool.submit(None);
    }
    for thread in threads {
        thread.join().unwrap();
    }
    eprintln!("1000 jobs, sum of squares {sum}; {:?}", pool.idle);
}
