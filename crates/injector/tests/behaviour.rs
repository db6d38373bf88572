//! Goal: what the variants promise beyond the common suite, and the bugs that peers had (the rows
//! of `risks.md` beside this file). Method: small deterministic cases, canaries that count their
//! drops, and threads with small stacks.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stealyard_injector::{
    FAIR_SWEEP, Injector, LanesError, Linked, Locked, Segmented, Sharded, Stack,
};

/// An item that counts its drops.
struct Canary(Arc<AtomicUsize>);

impl Drop for Canary {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[expect(clippy::vec_box, reason = "the queues hold boxes")]
fn canaries(count: usize) -> (Arc<AtomicUsize>, Vec<Box<Canary>>) {
    let drops = Arc::new(AtomicUsize::new(0));
    let made = (0..count)
        .map(|_| Box::new(Canary(Arc::clone(&drops))))
        .collect();
    (drops, made)
}

fn dropped_once<Q: Injector<Box<Canary>>>(queue: Q) {
    let (drops, made) = canaries(500);
    queue.push_batch(made);
    let mut taken = Vec::new();
    queue.pop_batch(130, 1, |canary| taken.push(canary));
    assert_eq!((taken.len(), drops.load(Ordering::Relaxed)), (130, 0));
    drop(queue);
    assert_eq!(
        drops.load(Ordering::Relaxed),
        370,
        "those left in the queue"
    );
    drop(taken);
    assert_eq!(drops.load(Ordering::Relaxed), 500);
}

#[test]
fn q3_q4_remaining_items_are_dropped_once() {
    dropped_once(Locked::new());
    dropped_once(Segmented::new());
    dropped_once(Sharded::<_, Segmented<_>>::new(2).unwrap());
}

#[test]
fn q3_a_queue_is_dropped_while_consumers_pop() {
    for _ in 0..200 {
        let (drops, made) = canaries(200);
        let queue = Arc::new(Segmented::new());
        queue.push_batch(made);
        let consumers: Vec<_> = (0..2)
            .map(|_| {
                let queue = Arc::clone(&queue);
                std::thread::spawn(move || {
                    queue.pop_batch(70, 1, drop);
                })
            })
            .collect();
        drop(queue); // the last consumer drops it
        consumers
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(drops.load(Ordering::Relaxed), 200);
    }
}

#[test]
fn q5_items_of_every_shape() {
    fn shape<T: Send + PartialEq + std::fmt::Debug + Clone>(item: T) {
        let segmented = Segmented::new();
        let locked = Locked::new();
        for _ in 0..150 {
            segmented.push(item.clone());
            locked.push(item.clone());
        }
        for _ in 0..150 {
            assert_eq!(segmented.pop(), Some(item.clone()));
            assert_eq!(locked.pop(), Some(item.clone()));
        }
        assert_eq!((segmented.pop(), locked.pop()), (None, None));
    }
    shape(());
    shape(&7_u8);
    shape(std::num::NonZeroU64::new(9).unwrap());
    shape("text".to_owned());
    shape([3_u64; 100]);
}

#[test]
fn q7_a_panicking_iterator_leaves_the_queue_as_it_was() {
    fn survives<Q: Injector<u32>>(queue: &Q) {
        queue.push(1);
        for bad in 0..5 {
            let items = (0..5).map(|number| {
                if number == bad {
                    panic!("at {bad}")
                } else {
                    number
                }
            });
            assert!(catch_unwind(AssertUnwindSafe(|| queue.push_batch(items))).is_err());
        }
        assert_eq!(queue.len(), 1);
        assert_eq!((queue.pop(), queue.pop()), (Some(1), None));
    }
    survives(&Locked::new());
    survives(&Segmented::new());
}

#[test]
fn q7_a_panicking_sink_drops_the_rest_of_its_share_only() {
    let (drops, made) = canaries(100);
    let queue = Segmented::new();
    queue.push_batch(made);
    let mut seen = 0;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        queue.pop_batch(40, 1, |_canary| {
            seen += 1;
            assert!(seen < 10, "the tenth is too many");
        });
    }));
    assert!(outcome.is_err());
    // The claimed 40 items are dropped, and the others are still there.
    assert_eq!((drops.load(Ordering::Relaxed), queue.len()), (40, 60));
}

#[test]
fn q13_large_items_on_a_small_stack() {
    let thread = std::thread::Builder::new()
        .stack_size(1024 * 1024)
        .spawn(|| {
            let queue = Segmented::<Box<[u8; 32 * 1024]>>::new();
            queue.push(vec![1; 32 * 1024].into_boxed_slice().try_into().unwrap());
            assert_eq!(queue.pop().unwrap()[5], 1);
            // The items are held by value: a block of them is 2 MiB, twice this stack.
            let inline = Segmented::<[u8; 32 * 1024]>::new();
            inline.push([2; 32 * 1024]);
            assert_eq!(inline.pop().unwrap()[5], 2);
        });
    thread.unwrap().join().unwrap();
}

#[test]
fn q14_a_drained_queue_gives_its_blocks_back() {
    let queue = Segmented::new();
    for round in 0..200_u64 {
        queue.push_batch(round * 1000..(round + 1) * 1000);
        let mut sum = 0;
        while queue.pop_batch(1000, 1, |item| sum += item) > 0 {}
        assert_eq!(sum, (round * 1000..(round + 1) * 1000).sum());
    }
    assert!(queue.is_empty());
}

#[test]
fn q15_debug_in_every_state() {
    let queue = Segmented::new();
    assert_eq!(format!("{queue:?}"), "Segmented { len: 0 }");
    queue.push(1);
    assert_eq!(format!("{queue:?}"), "Segmented { len: 1 }");
    let lanes = Sharded::<u8, Locked<u8>>::new(3).unwrap();
    lanes.push(1, 1);
    assert_eq!(format!("{lanes:?}"), "Sharded { lanes: 3, len: 1 }");
}

#[test]
fn q15_pushes_from_a_thread_local_destructor() {
    struct Last(Arc<Segmented<u8>>);
    impl Drop for Last {
        fn drop(&mut self) {
            self.0.push(7);
        }
    }
    thread_local! {
        static LAST: std::cell::RefCell<Option<Last>> = const { std::cell::RefCell::new(None) };
    }
    let queue = Arc::new(Segmented::new());
    let theirs = Arc::clone(&queue);
    std::thread::spawn(move || {
        LAST.with(|last| *last.borrow_mut() = Some(Last(Arc::clone(&theirs))));
        theirs.push(6);
    })
    .join()
    .unwrap();
    assert_eq!(
        (queue.pop(), queue.pop(), queue.pop()),
        (Some(6), Some(7), None)
    );
}

#[test]
fn locked_keeps_the_order_of_items_pushed_to_the_front() {
    let queue = Locked::new();
    queue.push_batch([5, 6]);
    queue.push_front([1, 2, 3]);
    queue.push_front([0]);
    queue.push(7);
    let mut got = Vec::new();
    queue.pop_batch(100, 1, |item| got.push(item));
    assert_eq!(got, [0, 1, 2, 3, 5, 6, 7]);
}

#[test]
fn lanes_are_looked_at_by_distance() {
    // Lane 2 is nearer to lane 0 than lane 1 is.
    let distances = [vec![0, 20, 10], vec![20, 0, 10], vec![10, 20, 0]];
    let lanes = Sharded::<u32, Locked<u32>>::with_distances(&distances).unwrap();
    for lane in 0..3 {
        lanes.push(lane, lane as u32);
    }
    assert_eq!(lanes.len(), 3);
    assert_eq!(lanes.pop(0), Some(0));
    assert_eq!(lanes.pop(0), Some(2));
    assert_eq!(lanes.pop(0), Some(1));
    assert_eq!(lanes.pop(0), None);
    assert!(lanes.is_empty());
}

#[test]
fn b2_no_lane_waits_longer_than_the_documented_bound() {
    let lanes = Sharded::<u32, Locked<u32>>::new(4).unwrap();
    lanes.push(3, 99);
    // Lane 0's callers always have work in their own lane.
    let bound = FAIR_SWEEP * 4;
    let found = (0..=bound).position(|_| {
        lanes.push(0, 1);
        lanes.pop(0) == Some(99)
    });
    assert!(found.is_some(), "not within {bound} pops");
}

#[test]
fn wrong_numbers_of_lanes_are_errors_that_say_why() {
    let new = Sharded::<u32, Locked<u32>>::new;
    assert_eq!(new(0).unwrap_err(), LanesError::Count(0));
    assert_eq!(
        new(49).unwrap_err().to_string(),
        "49 lanes: take from 1 to 48"
    );
    let uneven = Sharded::<u32, Locked<u32>>::with_distances(&[vec![0, 1], vec![1]]).unwrap_err();
    assert!(uneven.to_string().contains("row 1") && uneven.to_string().contains("2 lanes"));
    assert_eq!(new(48).unwrap().lanes(), 48);
}

/// A task that carries its own link.
struct Node {
    link: *mut Node,
    number: u32,
    _canary: Canary,
}

struct Owned(Box<Node>);

// SAFETY: 1. a node is owned by its box; its link is only used by the stack that holds it.
unsafe impl Send for Owned {}

// SAFETY:
// 1. The pointer is the box's.
// 2. The link is a field that only the stack touches.
// 3. Nothing panics.
unsafe impl Linked for Owned {
    type Node = Node;

    fn into_node(self) -> NonNull<Node> {
        NonNull::from(Box::leak(self.0))
    }

    unsafe fn from_node(node: NonNull<Node>) -> Self {
        // SAFETY: 1. the pointer came from `into_node`, and comes back once.
        Self(unsafe { Box::from_raw(node.as_ptr()) })
    }

    unsafe fn link(node: NonNull<Node>) -> NonNull<*mut Node> {
        // SAFETY: 1. the node is valid.
        let link = unsafe { &raw mut (*node.as_ptr()).link };
        NonNull::new(link).expect("a field of a node")
    }
}

fn node(number: u32, drops: &Arc<AtomicUsize>) -> Owned {
    let _canary = Canary(Arc::clone(drops));
    Owned(Box::new(Node {
        link: std::ptr::null_mut(),
        number,
        _canary,
    }))
}

#[test]
fn t3_a_stack_is_taken_whole_in_the_order_of_the_pushes() {
    let drops = Arc::new(AtomicUsize::new(0));
    let stack = Stack::new();
    stack.push(node(0, &drops));
    stack.push_batch((1..4).map(|number| node(number, &drops)));
    stack.push(node(4, &drops));
    let numbers: Vec<u32> = stack.take_all().map(|item| item.0.number).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
    assert_eq!(drops.load(Ordering::Relaxed), 5);
    assert!(stack.take_all().next().is_none());
    stack.push_batch(std::iter::empty());
    stack.push_batch((0..3).map(|number| node(number, &drops)));
    let mut chain = stack.take_all();
    assert_eq!(chain.next().unwrap().0.number, 0);
    drop(chain);
    stack.push(node(9, &drops));
    drop(stack);
    assert_eq!(
        drops.load(Ordering::Relaxed),
        9,
        "what is left in a chain and a stack is dropped"
    );
}

#[test]
fn q7_a_panicking_iterator_drops_its_batch_and_leaves_the_stack() {
    let drops = Arc::new(AtomicUsize::new(0));
    let stack = Stack::new();
    stack.push(node(0, &drops));
    let items = (1..5).map(|number| {
        if number == 3 {
            panic!("the third")
        } else {
            node(number, &drops)
        }
    });
    assert!(catch_unwind(AssertUnwindSafe(|| stack.push_batch(items))).is_err());
    assert_eq!(drops.load(Ordering::Relaxed), 2);
    assert_eq!(stack.take_all().count(), 1);
}

#[test]
fn q6_queues_of_send_items_are_send_and_sync() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Locked<std::cell::Cell<u8>>>();
    crosses::<Segmented<std::cell::Cell<u8>>>();
    crosses::<Sharded<std::cell::Cell<u8>, Locked<std::cell::Cell<u8>>>>();
    crosses::<Stack<Owned>>();
}
