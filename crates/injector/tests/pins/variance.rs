//! Pins: every type that takes and returns items is invariant in them. Each function is refused.

use std::ptr::NonNull;

use stealyard_injector::{Chain, Linked, Locked, Segmented, Sharded, Stack};

struct Task<'a>(&'a str);

// Nothing here runs.
unsafe impl Linked for Task<'_> {
    type Node = u8;

    fn into_node(self) -> NonNull<u8> {
        unreachable!("{}", self.0)
    }

    unsafe fn from_node(_node: NonNull<u8>) -> Self {
        unreachable!()
    }

    unsafe fn link(_node: NonNull<u8>) -> NonNull<*mut u8> {
        unreachable!()
    }
}

fn locked_shorter<'a>(queue: Locked<&'static str>) -> Locked<&'a str> {
    queue
}

fn locked_longer<'a>(queue: Locked<&'a str>) -> Locked<&'static str> {
    queue
}

fn segmented_shorter<'a>(queue: Segmented<&'static str>) -> Segmented<&'a str> {
    queue
}

fn segmented_longer<'a>(queue: Segmented<&'a str>) -> Segmented<&'static str> {
    queue
}

fn stack_shorter<'a>(queue: Stack<Task<'static>>) -> Stack<Task<'a>> {
    queue
}

fn stack_longer<'a>(queue: Stack<Task<'a>>) -> Stack<Task<'static>> {
    queue
}

fn chain_shorter<'a>(chain: Chain<Task<'static>>) -> Chain<Task<'a>> {
    chain
}

fn chain_longer<'a>(chain: Chain<Task<'a>>) -> Chain<Task<'static>> {
    chain
}

// The items, by themselves: whatever the lanes are.
fn sharded_shorter<'a>(lanes: Sharded<&'static str, u8>) -> Sharded<&'a str, u8> {
    lanes
}

fn sharded_longer<'a>(lanes: Sharded<&'a str, u8>) -> Sharded<&'static str, u8> {
    lanes
}

// The lanes, by themselves.
type Lanes<'a> = Sharded<u8, Segmented<&'a str>>;

fn lanes_shorter<'a>(lanes: Lanes<'static>) -> Lanes<'a> {
    lanes
}

fn lanes_longer<'a>(lanes: Lanes<'a>) -> Lanes<'static> {
    lanes
}

fn main() {}
