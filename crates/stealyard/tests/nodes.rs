//! Goal: with several nodes, work stays on its node while that node has a worker for it: tasks that
//! are spawned on a node, and tasks that overflow from the queue of one of its workers. Method: a
//! synthetic machine of 4 nodes of 2 workers. Once all workers are held but one, which takes all
//! tasks in an order that is noted; and once all sleep, past their last look, so that one must be
//! woken.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

#[path = "support/common.rs"]
mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stealyard::{
    Builder, GlobalInterval, JoinHandle, LocalQueue, Nearest, Place, Placement, Scheduler,
};
use support::{four_node_machine, wait_until, worker};

const NODES: usize = 4;
const WORKERS: usize = 8;

/// Worker `w` is on node `w / 2`. Whatever disturbs the order of the lanes is off.
fn four_nodes() -> Builder {
    Builder::new()
        .topology(four_node_machine())
        .placement(Placement::Compact)
        .parallelism(WORKERS)
        .steal_policy(Nearest)
        .local_queue(LocalQueue::Ring { capacity: 4 })
        .global_interval(GlobalInterval::Tasks(1 << 16))
        .watch(Duration::MAX, Duration::MAX)
}

/// Every worker runs a task that holds it until it is let go.
struct Held {
    free: Arc<[AtomicBool]>,
    tasks: Vec<JoinHandle<()>>,
}

impl Held {
    /// Each holding task calls `first` with its worker's number when all workers are held.
    fn all(scheduler: &Scheduler, first: impl Fn(usize) + Send + Sync + 'static) -> Self {
        let free: Arc<[AtomicBool]> = (0..WORKERS).map(|_| AtomicBool::new(false)).collect();
        let (arrived, ready) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let first = Arc::new(first);
        let hold = |_| {
            let (free, first) = (Arc::clone(&free), Arc::clone(&first));
            let (arrived, ready) = (Arc::clone(&arrived), Arc::clone(&ready));
            scheduler.spawn(async move {
                arrived.fetch_add(1, Ordering::SeqCst);
                // Each worker has one of these tasks when all have begun.
                while arrived.load(Ordering::SeqCst) < WORKERS {
                    std::thread::yield_now();
                }
                first(worker());
                ready.fetch_add(1, Ordering::SeqCst);
                while !free[worker()].load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_micros(50));
                }
            })
        };
        let tasks = (0..WORKERS).map(hold).collect();
        let all_ready = || ready.load(Ordering::SeqCst) == WORKERS;
        wait_until(all_ready, || format!("{:?}", scheduler.metrics()));
        Self { free, tasks }
    }

    fn let_go(&self, worker: usize) {
        self.free[worker].store(true, Ordering::SeqCst);
    }

    fn end(mut self) {
        (0..WORKERS).for_each(|worker| self.let_go(worker));
        for task in self.tasks.drain(..) {
            task.join().unwrap();
        }
    }
}

/// A test that fails must not leave workers that hang.
impl Drop for Held {
    fn drop(&mut self) {
        (0..WORKERS).for_each(|worker| self.let_go(worker));
    }
}

/// Where each task ran: the node that it belongs to, and the worker that ran it.
type Order = Arc<Mutex<Vec<(usize, usize)>>>;

fn note(order: &Order, node: usize) -> impl Future<Output = ()> + Send + use<> {
    let order = Arc::clone(order);
    async move { order.lock().unwrap().push((node, worker())) }
}

/// Lets one worker go, and waits until it has run so many tasks; their nodes, in order.
fn nodes_run_by(held: &Held, only: usize, order: &Order, count: usize) -> Vec<usize> {
    held.let_go(only);
    let ran = || order.lock().unwrap().len();
    wait_until(|| ran() == count, || format!("{} of {count}", ran()));
    let order = order.lock().unwrap();
    assert!(order.iter().all(|&(_, worker)| worker == only), "{order:?}");
    order.iter().map(|&(node, _)| node).collect()
}

/// How far the nodes are from `node`, in the order given.
fn ranks(node: usize, nodes: &[usize]) -> Vec<u8> {
    let distances = four_node_machine().distances();
    let rank = |&to: &usize| distances.node_rank(node, to);
    nodes.iter().map(rank).collect()
}

/// How many of them are where they belong, if nearer ones come before farther ones.
fn in_order(ranks: &[u8]) -> usize {
    let mut longest = vec![1; ranks.len()];
    for at in 0..ranks.len() {
        let before = (0..at).filter(|&before| ranks[before] <= ranks[at]);
        longest[at] = 1 + before.map(|before| longest[before]).max().unwrap_or(0);
    }
    longest.into_iter().max().unwrap_or(0)
}

/// Every fourth look begins with another node's lane (GL1); all else is taken near before far.
fn assert_near_before_far(nodes: &[usize], node: usize) {
    let ranks = ranks(node, nodes);
    let far_turns = nodes.len().div_ceil(4);
    assert!(
        in_order(&ranks) >= nodes.len() - far_turns,
        "{nodes:?} {ranks:?}"
    );
}

#[test]
fn a_task_spawned_on_a_node_is_taken_by_its_worker_first() {
    for node in 0..NODES {
        let scheduler = four_nodes().build().unwrap();
        let held = Held::all(&scheduler, |_| ());
        let order = Order::default();
        for to in (0..3 * NODES).map(|number| number % NODES) {
            let place = Place::Node(to);
            drop(scheduler.spawn_on(place, note(&order, to)).unwrap());
        }
        let nodes = nodes_run_by(&held, 2 * node + 1, &order, 3 * NODES);
        let own = nodes[..4].iter().filter(|&&of| of == node).count();
        assert_eq!(own, 3, "{nodes:?}");
        assert_near_before_far(&nodes, node);
        held.end();
    }
}

#[test]
fn a_task_on_a_node_wakes_a_worker_of_that_node() {
    let parked = Arc::new(AtomicUsize::new(0));
    let (parks, unparks) = (Arc::clone(&parked), Arc::clone(&parked));
    let scheduler = four_nodes()
        .on_park(move |_| {
            parks.fetch_add(1, Ordering::SeqCst);
        })
        .on_unpark(move |_| {
            unparks.fetch_sub(1, Ordering::SeqCst);
        })
        .build()
        .unwrap();
    for round in 0..50 {
        let node = round % NODES;
        // All have had their last look, and none is on its way back.
        let all_sleep =
            || parked.load(Ordering::SeqCst) == WORKERS && scheduler.idle().searching() == 0;
        wait_until(all_sleep, || format!("{:?}", scheduler.metrics()));
        let task = scheduler.spawn_on(Place::Node(node), async { worker() / 2 });
        assert_eq!(task.unwrap().join().unwrap(), node, "round {round}");
    }
}

#[test]
fn an_overflow_goes_to_the_lane_of_its_own_node() {
    for node in 0..NODES {
        let scheduler = four_nodes().build().unwrap();
        let (order, tasks) = (Order::default(), 12);
        let own = Arc::clone(&order);
        let held = Held::all(&scheduler, move |worker| {
            let spawns = if worker == 2 * node { tasks } else { 0 };
            (0..spawns).for_each(|_| stealyard::spawn_detached(note(&own, node)));
        });
        let overflowed = scheduler.metrics().total().tasks_overflowed as usize;
        assert!((2..tasks).contains(&overflowed), "{overflowed}");
        for to in (0..NODES).filter(|&to| to != node) {
            let place = Place::Node(to);
            drop(scheduler.spawn_on(place, note(&order, to)).unwrap());
        }
        // A task that is still with the worker that spawned it comes when all lanes are empty.
        let count = tasks + NODES - 1;
        let nodes = nodes_run_by(&held, 2 * node + 1, &order, count);
        // One in four of the first looks may have brought something else.
        let first = &nodes[..(overflowed + overflowed.div_ceil(3)).min(overflowed + NODES - 1)];
        let own = first.iter().filter(|&&of| of == node).count();
        assert!(own >= overflowed - 1, "{overflowed}: {nodes:?}");
        assert_near_before_far(&nodes[..overflowed + NODES - 1], node);
        held.end();
    }
}
