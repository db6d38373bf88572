//! Goal: what the type system must refuse is refused: guards that outlive what they watch, results that outlive what
//! their destructors read, and borrowed code in what may run at any time. Method: programs that must not compile, one
//! function for each type, with the compiler's words beside them. With `TRYBUILD=overwrite` those are written anew.
#![cfg(not(any(stealyard_loom, stealyard_shuttle, stealyard_tsan)))]

/// Types do not depend on the profile: once is enough.
#[cfg(debug_assertions)]
#[test]
fn w15_lives_are_not_stretched() {
    trybuild::TestCases::new().compile_fail("tests/pins/*.rs");
}
