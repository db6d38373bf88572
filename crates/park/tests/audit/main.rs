//! Goal: no program of safe code makes this crate lose a wake, a job or an item, run or return one
//! twice, miscount, leak or hang.
//!
//! Method: random programs of every public call, by one thread beside a model, or by several
//! threads.
//! - Wakers, policies, looks, starters, hooks, jobs and destructors use the structure that calls
//!   them, and may panic.
//! - Tokens are forgotten.
//! - A ledger knows every job and item: at the end each was dropped once.
//!
//! `cargo xtask verify --audit` runs this under AddressSanitizer. `STEALYARD_SEED` chooses the
//! programs (default 0). `STEALYARD_SOAK` multiplies the soak, whose programs are new each time. A
//! failure prints the seed of its program, which [`again`] runs alone.
#![forbid(unsafe_code)]
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

mod alone;
mod pool;
mod support;
mod together;
mod waiting;

use stealyard_sync::seed::{Rng, fresh};

/// Prints the seed of a program that fails, when it is dropped by the panic.
struct Names(u64);

impl Drop for Names {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "=== the program with seed {} fails: see `again` in {}",
                self.0,
                file!()
            );
        }
    }
}

fn every_structure(seed: u64) {
    let _names = Names(seed);
    let structures = [
        waiting::parker,
        waiting::event_count,
        alone::idle_alone,
        together::idle_together,
        pool::pool,
    ];
    for (at, program) in structures.into_iter().enumerate() {
        program(&mut Rng::new(seed.wrapping_mul(8).wrapping_add(at as u64)));
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

#[test]
fn programs_of_safe_code_lose_and_double_nothing() {
    let first = number("STEALYARD_SEED").unwrap_or(0) << 32;
    (first..first + 250).for_each(every_structure);
}

#[test]
#[ignore = "soak: new programs, minutes of them"]
fn audit_soak() {
    let first = number("STEALYARD_SEED").map_or_else(fresh, |seed| seed << 32);
    let programs = 5_000 * number("STEALYARD_SOAK").unwrap_or(1);
    (0..programs).for_each(|program| every_structure(first.wrapping_add(program)));
}

/// Runs one program that failed:
/// `STEALYARD_PROGRAM=SEED cargo test -p stealyard-park --test audit again -- --ignored`.
#[test]
#[ignore = "a program by its seed"]
fn again() {
    every_structure(number("STEALYARD_PROGRAM").unwrap_or(0));
}
