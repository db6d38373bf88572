//! Goal: `Locked` hands items over whole and its length is exact when nobody is at work. Method: loom,
//! two threads, boxed items.
#![cfg(stealyard_loom)]

use stealyard_injector::Locked;
use stealyard_sync::{Arc, model, thread};

#[test]
fn k3_pushes_against_pops() {
    model::check(3, || {
        let queue = Arc::new(Locked::new());
        queue.push(Box::new(0));
        let theirs = Arc::clone(&queue);
        let producer = thread::spawn(move || {
            theirs.push_batch([Box::new(1), Box::new(2)]);
            theirs.push(Box::new(3));
        });
        let mut seen = Vec::new();
        queue.pop_batch(8, 2, |item| seen.push(*item));
        seen.extend(queue.pop().map(|item| *item));
        producer.join().unwrap();
        assert_eq!(queue.len(), 4 - seen.len(), "K3");
        queue.pop_batch(8, 1, |item| seen.push(*item));
        assert_eq!(seen, [0, 1, 2, 3], "K1");
    });
}
