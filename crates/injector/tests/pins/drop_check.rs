//! Pins: no queue outlives what the destructors of its items read. Each function must be refused.

use std::ptr::NonNull;

use stealyard_injector::{Chain, Linked, Locked, Segmented, Sharded, Stack};

/// An item whose destructor reads what it borrowed.
struct Reads<'a>(&'a String);

impl Drop for Reads<'_> {
    fn drop(&mut self) {
        println!("{}", self.0);
    }
}

// Nothing here runs.
unsafe impl Linked for Reads<'_> {
    type Node = u8;

    fn into_node(self) -> NonNull<u8> {
        unreachable!()
    }

    unsafe fn from_node(_node: NonNull<u8>) -> Self {
        unreachable!()
    }

    unsafe fn link(_node: NonNull<u8>) -> NonNull<*mut u8> {
        unreachable!()
    }
}

fn locked() {
    let (queue, text);
    text = String::new();
    queue = Locked::new();
    queue.push(Reads(&text));
}

fn segmented() {
    let (queue, text);
    text = String::new();
    queue = Segmented::new();
    queue.push(Reads(&text));
}

fn stack() {
    let (queue, text);
    text = String::new();
    queue = Stack::new();
    queue.push(Reads(&text));
}

fn chain() {
    let (_chain, text): (Chain<Reads<'_>>, String);
    text = String::new();
    let queue = Stack::new();
    queue.push(Reads(&text));
    _chain = queue.take_all();
}

fn sharded_segmented() {
    let (lanes, text);
    text = String::new();
    lanes = Sharded::<_, Segmented<_>>::new(1).unwrap();
    lanes.push(0, Reads(&text));
}

fn sharded_locked() {
    let (lanes, text);
    text = String::new();
    lanes = Sharded::<_, Locked<_>>::new(1).unwrap();
    lanes.push(0, Reads(&text));
}

fn main() {}
