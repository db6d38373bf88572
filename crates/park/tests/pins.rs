//! Goal: the type system refuses guards that outlive the structure that they watch, results that
//! outlive the values that their destructors read, and borrowed code where code may run at any
//! time.
//!
//! Method: programs that must not compile, one function for each type, with the compiler's messages
//! beside them. `TRYBUILD=overwrite` writes the messages anew.
#![cfg(not(any(stealyard_loom, stealyard_shuttle, stealyard_tsan)))]

/// Types do not depend on the profile, so one run is enough.
#[cfg(debug_assertions)]
#[test]
fn w15_lifetimes_are_not_extended() {
    trybuild::TestCases::new().compile_fail("tests/pins/*.rs");
}
