//! Models of `Slot`.

use stealyard_deque::Slot;
use stealyard_sync::{Arc, model, thread};

use crate::{Item, assert_each_once, item, number};

#[test]
fn s1_put_and_take_against_steal() {
    model::check(3, || {
        let slot = Arc::new(Slot::new());
        let theirs = Arc::clone(&slot);
        let thief = thread::spawn(move || theirs.steal().map(|got: Box<Item>| number(&got)));
        let mut seen: Vec<usize> = Vec::new();
        seen.extend(slot.put(item(0)).map(|got| number(&got)));
        seen.extend(slot.put(item(1)).map(|got| number(&got)));
        seen.extend(slot.take().map(|got| number(&got)));
        seen.extend(thief.join().unwrap());
        assert_each_once(seen, 0..2);
    });
}
