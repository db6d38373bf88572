//! No handle outlives what its items' destructors read, because the last handle drops the items.
//! One function for each type, with that handle alone at the end of the block.

use stealyard_deque::{ChaseLev, Ring, Slot, Split};

/// An item whose destructor reads what it borrowed.
struct Reads<'text>(&'text String);

impl Drop for Reads<'_> {
    fn drop(&mut self) {
        assert!(!self.0.is_empty());
    }
}

/// Wraps each handle, so that the compiler's message does not tell which part has a destructor.
struct Kept<H>(H);

fn chase_lev_lifo_outlives() {
    let _kept;
    let text = String::from("short");
    let queue = ChaseLev::lifo();
    drop(queue.push(Box::new(Reads(&text))));
    _kept = Kept(queue);
}

fn chase_lev_lifo_stealer_outlives() {
    let _kept;
    let text = String::from("short");
    let queue = ChaseLev::lifo();
    drop(queue.push(Box::new(Reads(&text))));
    _kept = Kept(queue.stealer());
}

fn chase_lev_fifo_outlives() {
    let _kept;
    let text = String::from("short");
    let queue = ChaseLev::fifo();
    drop(queue.push(Box::new(Reads(&text))));
    _kept = Kept(queue);
}

fn chase_lev_fifo_stealer_outlives() {
    let _kept;
    let text = String::from("short");
    let queue = ChaseLev::fifo();
    drop(queue.push(Box::new(Reads(&text))));
    _kept = Kept(queue.stealer());
}

fn ring_outlives() {
    let _kept;
    let text = String::from("short");
    let queue = Ring::new();
    drop(queue.push(Box::new(Reads(&text))));
    _kept = Kept(queue);
}

fn ring_stealer_outlives() {
    let _kept;
    let text = String::from("short");
    let queue = Ring::new();
    drop(queue.push(Box::new(Reads(&text))));
    _kept = Kept(queue.stealer());
}

fn split_outlives() {
    let _kept;
    let text = String::from("short");
    let queue = Split::new();
    drop(queue.push(Box::new(Reads(&text))));
    _kept = Kept(queue);
}

fn split_stealer_outlives() {
    let _kept;
    let text = String::from("short");
    let queue = Split::new();
    drop(queue.push(Box::new(Reads(&text))));
    _kept = Kept(queue.stealer());
}

fn slot_outlives() {
    let _kept;
    let text = String::from("short");
    let slot = Slot::new();
    drop(slot.put(Box::new(Reads(&text))));
    _kept = Kept(slot);
}

fn main() {}
