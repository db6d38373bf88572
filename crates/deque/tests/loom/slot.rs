//! Models of `Slot`: each item is taken by one thread (S1 in `slot.rs`).

use stealyard_deque::{LastPass, Slot};
use stealyard_sync::{Arc, model, thread};

use crate::{Item, assert_each_once, item, number};

#[test]
fn s1_put_and_take_against_steal() {
    model::check(3, || {
        let slot = Arc::new(Slot::new());
        let thief_slot = Arc::clone(&slot);
        let thief = thread::spawn(move || thief_slot.steal().map(|got: Box<Item>| number(&got)));
        let mut seen: Vec<usize> = Vec::new();
        seen.extend(slot.put(item(0)).map(|got| number(&got)));
        seen.extend(slot.put(item(1)).map(|got| number(&got)));
        seen.extend(slot.take().map(|got| number(&got)));
        seen.extend(thief.join().unwrap());
        assert_each_once(seen, 0..2);
    });
}

#[test]
fn s1_steal_after_a_grace_time_against_take_and_put() {
    model::check(3, || {
        let slot = Arc::new(Slot::new());
        assert!(slot.put(item(0)).is_none());
        let thief_slot = Arc::clone(&slot);
        let thief = thread::spawn(move || {
            let stolen = thief_slot.steal_by(&LastPass::default(), 3, 4).success();
            stolen.map(|got: Box<Item>| number(&got))
        });
        let mut seen: Vec<usize> = slot.take().map(|got| number(&got)).into_iter().collect();
        seen.extend(slot.put(item(1)).map(|got| number(&got)));
        seen.extend(thief.join().unwrap());
        seen.extend(slot.take().map(|got| number(&got)));
        assert_each_once(seen, 0..2);
    });
}

#[test]
fn s1_take_against_two_thieves() {
    model::check(3, || {
        let slot = Arc::new(Slot::new());
        assert!(slot.put(item(0)).is_none());
        let thieves = [(); 2].map(|()| {
            let thief_slot = Arc::clone(&slot);
            thread::spawn(move || thief_slot.steal().map(|got: Box<Item>| number(&got)))
        });
        let mut seen: Vec<usize> = slot.take().map(|got| number(&got)).into_iter().collect();
        for thief in thieves {
            seen.extend(thief.join().unwrap());
        }
        assert_each_once(seen, 0..1);
    });
}
