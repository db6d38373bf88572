//! Models of `Segmented`. A block has two groups of two slots here, and consumers do not wait
//! before they kill a slot.
//!
//! Where there is one producer, it runs on the model's first thread: loom backtracks from a load to
//! the stores before it, and not from a store to earlier loads.

use stealyard_injector::Segmented;
use stealyard_sync::{Arc, model, thread};

use crate::{Item, item, number};

type Queue = Arc<Segmented<Box<Item>>>;

/// Returns a queue through which `passed` items have gone already, so that calls meet a certain
/// slot.
fn queue_after(passed: usize) -> Queue {
    let queue = Arc::new(Segmented::new());
    for value in 0..passed {
        queue.push(item(value));
        assert_eq!(queue.pop().map(|got| number(&got)), Some(value));
    }
    queue
}

fn pop(queue: &Queue) -> Option<usize> {
    queue.pop().map(|got| number(&got))
}

fn drain(queue: &Queue) -> Vec<usize> {
    let mut seen = Vec::new();
    while let Some(value) = pop(queue) {
        seen.push(value);
    }
    assert!(queue.is_empty(), "G4");
    assert_eq!(queue.len(), 0, "G4");
    seen
}

#[test]
fn s3_a_push_against_pops() {
    model::check(3, || {
        let queue = queue_after(0);
        let theirs = Arc::clone(&queue);
        let consumer = thread::spawn(move || [pop(&theirs), pop(&theirs)]);
        queue.push(item(1));
        queue.push(item(2));
        let mut seen: Vec<usize> = consumer.join().unwrap().into_iter().flatten().collect();
        assert_eq!(queue.len(), 2 - seen.len(), "G4");
        seen.extend(drain(&queue));
        assert_eq!(seen, [1, 2], "S3");
    });
}

#[test]
fn s4_a_batch_against_pops_keeps_its_order() {
    model::check(3, || {
        let queue = queue_after(0);
        let theirs = Arc::clone(&queue);
        let consumer = thread::spawn(move || [pop(&theirs), pop(&theirs)]);
        queue.push_batch([1, 2, 3].map(item));
        let mut seen: Vec<usize> = consumer.join().unwrap().into_iter().flatten().collect();
        assert_eq!(queue.len(), 3 - seen.len(), "G4");
        seen.extend(drain(&queue));
        assert_eq!(seen, [1, 2, 3], "S4");
    });
}

#[test]
fn s4_a_batch_against_a_batch_across_blocks() {
    model::check(2, || {
        let queue = queue_after(2);
        let theirs = Arc::clone(&queue);
        let consumer = thread::spawn(move || {
            let mut seen = Vec::new();
            theirs.pop_batch(3, 1, |got| seen.push(number(&got)));
            theirs.pop_batch(3, 1, |got| seen.push(number(&got)));
            seen
        });
        queue.push_batch([1, 2, 3].map(item));
        let mut seen = consumer.join().unwrap();
        assert_eq!(queue.len(), 3 - seen.len(), "G4");
        seen.extend(drain(&queue));
        assert_eq!(seen, [1, 2, 3], "S4");
    });
}

#[test]
fn s1_two_producers_at_a_blocks_end() {
    model::check(2, || {
        let queue = queue_after(3);
        let theirs = Arc::clone(&queue);
        let producer = thread::spawn(move || {
            theirs.push(item(10));
            theirs.push(item(11));
        });
        queue.push(item(20));
        queue.push(item(21));
        producer.join().unwrap();
        let seen = drain(&queue);
        assert_eq!(seen.len(), 4, "S1");
        for range in [10..12, 20..22] {
            let own: Vec<usize> = seen.iter().copied().filter(|n| range.contains(n)).collect();
            assert!(own.len() == 2 && own.is_sorted(), "S1: {seen:?}");
        }
    });
}

/// One producer moves the tail's block on and stalls, one moves its index on, and one reads the
/// two.
#[test]
fn g1_three_producers_at_a_blocks_end() {
    // One preemption is enough: one producer moves the block on, another helps with the index, and
    // the third sees only that.
    model::check(1, || {
        let queue = queue_after(3);
        let producers = [10, 20].map(|value| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.push(item(value)))
        });
        queue.push(item(30));
        for producer in producers {
            producer.join().unwrap();
        }
        let mut seen = drain(&queue);
        seen.sort_unstable();
        assert_eq!(seen, [10, 20, 30]);
    });
}

#[test]
fn s5_two_consumers_at_a_blocks_end() {
    model::check(2, || {
        let queue = queue_after(2);
        queue.push_batch((1..=4).map(item));
        let theirs = Arc::clone(&queue);
        let consumer = thread::spawn(move || [pop(&theirs), pop(&theirs)]);
        let mine = [pop(&queue), pop(&queue)];
        let theirs = consumer.join().unwrap();
        assert!(mine < [Some(5); 2] && mine[0] < mine[1] && theirs[0] < theirs[1]);
        let mut seen: Vec<usize> = mine.into_iter().chain(theirs).flatten().collect();
        seen.sort_unstable();
        assert_eq!(seen, [1, 2, 3, 4], "S2");
        assert!(queue.is_empty());
    });
}

#[test]
fn g1_a_producer_and_a_consumer_cross_into_the_next_block() {
    model::check(2, || {
        let queue = queue_after(3);
        let theirs = Arc::clone(&queue);
        let consumer = thread::spawn(move || [pop(&theirs), pop(&theirs)]);
        for value in 1..=3 {
            queue.push(item(value));
        }
        let mut seen: Vec<usize> = consumer.join().unwrap().into_iter().flatten().collect();
        seen.extend(drain(&queue));
        assert_eq!(seen, [1, 2, 3]);
    });
}

#[test]
fn s5_the_last_thread_in_a_block_frees_it() {
    model::check(2, || {
        // Three slots are finished. The last slot's producer and consumer meet.
        let queue = queue_after(3);
        let theirs = Arc::clone(&queue);
        let consumer = thread::spawn(move || pop(&theirs));
        queue.push(item(1));
        let seen = consumer.join().unwrap().or_else(|| pop(&queue));
        assert_eq!(seen, Some(1));
        assert_eq!(pop(&queue), None);
    });
}

#[test]
fn s5_three_threads_in_a_block_that_is_freed() {
    model::check(2, || {
        let queue = queue_after(1);
        queue.push_batch((1..=3).map(item));
        let consumers = [(); 2].map(|()| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || pop(&queue))
        });
        let mine = pop(&queue);
        let mut seen: Vec<usize> = mine.into_iter().collect();
        for consumer in consumers {
            seen.extend(consumer.join().unwrap());
        }
        seen.sort_unstable();
        assert_eq!(seen, [1, 2, 3], "S2");
    });
}

#[test]
fn g3_dropping_a_queue_with_items() {
    model::check(2, || {
        let queue = queue_after(3);
        let theirs = Arc::clone(&queue);
        let consumer = thread::spawn(move || pop(&theirs));
        queue.push_batch((1..=3).map(item));
        drop(queue);
        let first = consumer.join().unwrap();
        assert!(first.is_none() || first == Some(1));
    });
}
