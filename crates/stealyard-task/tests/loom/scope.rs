//! Goal: a job of a scope is run although the thread that opened the scope waits for it in the
//! scope's body, and there are always fewer tickets than workers, under every interleaving of a
//! spawn with a ticket that finds nothing and leaves.
//!
//! Method: the opener blocks until each job has run, and the other worker sleeps until there is a
//! task in the queue, so a job of which no worker is told is a deadlock that loom reports.

use std::collections::VecDeque;

use stealyard_sync::{Arc, Condvar, Mutex, model, thread};
use stealyard_task::fork_join::{Boards, JoinHost, JoinStack};
use stealyard_task::{Ran, Scope, Task, scope};

struct Crew {
    boards: Arc<Boards>,
    stacks: [JoinStack; 2],
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    most: usize,
    closed: bool,
}

// SAFETY: 1. no method unwinds; 2. the boards are a field, and the numbers are below what they were
// made for.
unsafe impl JoinHost for Crew {
    fn announce_offer(&self) {}

    fn has_idle_worker(&self) -> bool {
        false
    }

    fn push(&self, task: Task) {
        let mut queue = self.queue.lock().unwrap();
        queue.tasks.push_back(task);
        queue.most = queue.most.max(queue.tasks.len());
        drop(queue);
        self.changed.notify_one();
    }

    fn boards(&self) -> &Arc<Boards> {
        &self.boards
    }

    fn index(&self) -> usize {
        0
    }
}

impl Crew {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            boards: Arc::new(Boards::new(2)),
            stacks: [JoinStack::new(), JoinStack::new()],
            queue: Mutex::new(Queue::default()),
            changed: Condvar::new(),
        })
    }

    /// Worker 1: runs what comes, and sleeps in between.
    fn helper(crew: &Arc<Self>) -> thread::JoinHandle<()> {
        let crew = Arc::clone(crew);
        thread::spawn(move || {
            // SAFETY: 1. the only thread that enters it; 2. dropped below; 3. the `Arc` is shared
            // by both threads, and the model joins them before it ends.
            let entered = unsafe { crew.stacks[1].enter(&*crew) };
            loop {
                let mut queue = crew.queue.lock().unwrap();
                let task = loop {
                    match queue.tasks.pop_front() {
                        Some(task) => break Some(task),
                        None if queue.closed => break None,
                        None => queue = crew.changed.wait(queue).unwrap(),
                    }
                };
                drop(queue);
                let Some(task) = task else { break };
                assert!(matches!(task.run(), Ran::Done));
            }
            drop(entered);
        })
    }

    /// Worker 0 runs `f`, then everything ends.
    fn install(crew: &Arc<Self>, f: impl FnOnce()) {
        let helper = Self::helper(crew);
        // SAFETY: 1. the only thread that enters it; 2. dropped below; 3. as in `helper`.
        let entered = unsafe { crew.stacks[0].enter(&**crew) };
        f();
        drop(entered);
        crew.queue.lock().unwrap().closed = true;
        crew.changed.notify_one();
        helper.join().unwrap();
    }

    fn most_queued(&self) -> usize {
        self.queue.lock().unwrap().most
    }
}

/// A place where a thread waits for a job.
struct Bell(Mutex<usize>, Condvar);

impl Bell {
    fn new() -> Self {
        Self(Mutex::new(0), Condvar::new())
    }

    fn ring(&self) {
        *self.0.lock().unwrap() += 1;
        self.1.notify_one();
    }

    fn wait_for(&self, rings: usize) {
        let mut rung = self.0.lock().unwrap();
        while *rung < rings {
            rung = self.1.wait(rung).unwrap();
        }
    }
}

/// Spawns a job and waits until it has run, so often.
fn pipeline<'scope>(scope: &Scope<'scope>, bell: &'scope Bell, jobs: core::ops::Range<usize>) {
    for job in jobs {
        scope.spawn(move |_| bell.ring());
        bell.wait_for(job + 1);
    }
}

#[test]
fn sc5_each_job_runs_while_the_opener_waits_for_it() {
    model::check(3, || {
        let crew = Crew::new();
        Crew::install(&crew, || {
            let bell = Bell::new();
            scope(|s| pipeline(s, &bell, 0..2));
        });
    });
}

/// The first scope's ticket is on its way out, or still queued, when the second scope needs one.
#[test]
fn sc5_a_ticket_of_an_ended_scope_serves_the_next() {
    model::check(2, || {
        let crew = Crew::new();
        Crew::install(&crew, || {
            let bell = Bell::new();
            scope(|s| s.spawn(|_| ()));
            scope(|s| pipeline(s, &bell, 0..1));
        });
        assert_eq!(crew.most_queued(), 1, "fewer tickets than workers");
    });
}

/// A thread that is no worker spawns the job that the opener waits for.
#[test]
fn sc5_a_job_that_a_foreign_thread_spawns_is_told_of() {
    model::check(2, || {
        let crew = Crew::new();
        Crew::install(&crew, || {
            let bell = Arc::new(Bell::new());
            let rung = Arc::clone(&bell);
            scope(|s: &Scope<'static>| {
                // SAFETY: 1. only the lifetime changes, and the thread is joined before the body
                // ends.
                let s =
                    unsafe { core::mem::transmute::<&Scope<'static>, &'static Scope<'static>>(s) };
                let foreign = thread::spawn(move || s.spawn(move |_| rung.ring()));
                bell.wait_for(1);
                foreign.join().unwrap();
            });
        });
    });
}
