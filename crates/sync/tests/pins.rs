//! Goal: a cell through which values pass both ways keeps their lifetimes as they are, and drops
//! them in time.
//!
//! Method: programs that must not compile, with the compiler's messages beside them.
//! `TRYBUILD=overwrite` writes the messages anew.
#![cfg(not(any(stealyard_loom, stealyard_shuttle, stealyard_tsan)))]

/// Types do not depend on the profile, so one run is enough.
#[cfg(debug_assertions)]
#[test]
fn lifetimes_are_neither_extended_nor_shortened() {
    trybuild::TestCases::new().compile_fail("tests/pins/*.rs");
}
