//! Goal: a cell through which values pass both ways keeps their lives as they are, and drops them in time. Method:
//! programs that must not compile, with the compiler's words beside them. With `TRYBUILD=overwrite` those are written
//! anew.
#![cfg(not(any(stealyard_loom, stealyard_shuttle, stealyard_tsan)))]

/// Types do not depend on the profile: once is enough.
#[cfg(debug_assertions)]
#[test]
fn lives_are_neither_stretched_nor_cut() {
    trybuild::TestCases::new().compile_fail("tests/pins/*.rs");
}
