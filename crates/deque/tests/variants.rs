//! Goal: every queue of this crate keeps its promises. Method: the conformance suite over every
//! variant, with small capacities, so that wrap-around, overflow and full queues are common.
//! (`rejected.rs` shows that the suite finds a queue that does not keep them;
//! `examples/own_queue.rs` runs it on a queue of a user.)
#![cfg(feature = "conformance")]

use stealyard_deque::conformance::{Effort, Token, check};
use stealyard_deque::{ChaseLev, Fifo, Lifo, Ring, Split};

fn ring(capacity: usize) -> Ring<Token> {
    Ring::with_capacity(capacity).expect("a power of two")
}

#[test]
fn q17_ring_keeps_its_promises_and_items_move_seldom() {
    // Claims of eight, whether membarrier is allowed here or not.
    let tally = check(|capacity| ring(capacity).claiming(8), Effort::everyday()).unwrap();
    assert!(tally.moves_per_item <= 3.0, "{tally}");
}

#[test]
fn ring_without_claims_keeps_its_promises() {
    check(|capacity| ring(capacity).claiming(1), Effort::everyday()).unwrap();
}

#[test]
fn q8_q9_ring_near_the_end_of_its_positions_keeps_its_promises() {
    let near_the_end = |capacity| Ring::<Token>::starting_at(capacity, u64::MAX - 1000).claiming(8);
    check(near_the_end, Effort::everyday()).unwrap();
    // The positions start where the claim's word runs out of bits for its end.
    let near_55_bits =
        |capacity| Ring::<Token>::starting_at(capacity, (1 << 55) - 1000).claiming(8);
    check(near_55_bits, Effort::everyday()).unwrap();
}

#[test]
fn split_keeps_its_promises() {
    let tally = check(
        |capacity| Split::with_capacity(capacity).expect("a power of two"),
        Effort::everyday(),
    )
    .unwrap();
    eprintln!("{tally}");
}

#[test]
fn q8_q9_split_where_tag_and_top_wrap_keeps_its_promises() {
    let near_the_end =
        |capacity| Split::<Token>::starting_at(capacity, u32::MAX - 50, (1 << 16) - 100);
    check(near_the_end, Effort::quick()).unwrap();
}

/// The queue grows from two slots at every turn, and shrinks back.
#[test]
fn chase_lev_lifo_keeps_its_promises() {
    let tally = check(
        |_| ChaseLev::<Token, Lifo>::starting_at(2, 0),
        Effort::everyday(),
    )
    .unwrap();
    eprintln!("{tally}");
}

#[test]
fn chase_lev_fifo_keeps_its_promises() {
    let tally = check(
        |_| ChaseLev::<Token, Fifo>::starting_at(2, 0),
        Effort::everyday(),
    )
    .unwrap();
    eprintln!("{tally}");
}

/// With a limit it is full and overflows, as a bounded queue does.
#[test]
fn chase_lev_with_a_limit_keeps_its_promises() {
    let lifo = |limit| ChaseLev::<Token, Lifo>::starting_at(2, 0).with_limit(limit);
    check(lifo, Effort::quick()).unwrap();
    let fifo = |limit| ChaseLev::<Token, Fifo>::starting_at(2, 0).with_limit(limit);
    check(fifo, Effort::quick()).unwrap();
}

#[test]
fn q8_q9_chase_lev_near_the_end_of_its_positions_keeps_its_promises() {
    let lifo = |_| ChaseLev::<Token, Lifo>::starting_at(2, u64::MAX - 1000);
    check(lifo, Effort::quick()).unwrap();
    let fifo = |_| ChaseLev::<Token, Fifo>::starting_at(2, u64::MAX - 1000);
    check(fifo, Effort::quick()).unwrap();
}
