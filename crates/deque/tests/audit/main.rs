//! Goal: programs without `unsafe` cannot break a queue, whatever they do: every item comes out
//! once or is dropped once, in the order that was promised. Method: the programs of an audit and
//! their like, over every queue, through the traits and the calls that only one queue has. The
//! items know their identity, and each program ends with a check of a ledger.
//!
//! | file              | programs                                                            |
//! | ----------------- | ------------------------------------------------------------------- |
//! | `overflow.rs`     | limits and small capacities, with overflow beside thieves           |
//! | `bursts.rs`       | large batches, again and again, beside thieves that lose their core |
//! | `constructors.rs` | hidden constructors with wrong arguments                            |
//! | `destructors.rs`  | items whose destructors panic or use the queue                      |
//! | `sinks.rs`        | overflow sinks that panic or use the queue                          |
//! | `slots.rs`        | the run-next slot, under policies that are foreign code             |
//! | `random.rs`       | random programs on one thread, against an exact model               |
//! | `crowd.rs`        | random programs of an owner and three thieves                       |
//! | `requests.rs`     | what thieves may expect of a `Split` that keeps its items private   |
//! | `memory.rs`       | the buffer of a `ChaseLev` after a burst that thieves emptied       |
//!
//! Closures handed to the collector of `ChaseLev` are in `audit_collector.rs`, which must have a
//! process of its own. Words of a user are in `audit_word.rs`, which needs `unsafe`. Each test has
//! a long version that is ignored (`cargo xtask verify --audit`), and random ones print how to run
//! a failure again.
#![forbid(unsafe_code)]
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

mod bursts;
mod constructors;
mod crowd;
mod destructors;
mod items;
mod memory;
mod overflow;
mod random;
mod requests;
mod sinks;
mod slots;
mod subjects;
