//! Goal: what the type system must refuse is refused: a queue of longer lives taken for one of shorter lives or the
//! other way round, and a queue that outlives what the destructors of its items read. Method: programs that must
//! not compile, one function for each generic type, with the compiler's words beside them. With
//! `TRYBUILD=overwrite` those are written anew.
#![cfg(not(any(stealyard_loom, stealyard_shuttle, stealyard_tsan)))]

/// Types do not depend on the profile: once is enough.
#[cfg(debug_assertions)]
#[test]
fn q19_lives_are_neither_stretched_nor_cut() {
    trybuild::TestCases::new().compile_fail("tests/pins/*.rs");
}
