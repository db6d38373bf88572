//! Goal: the type system refuses what it must: a queue of longer lives taken for one of shorter
//! lives or the other way round, and a queue that outlives what the destructors of its items read.
//! Method: programs that must not compile, one function for each generic type, with the compiler's
//! message beside them. With `TRYBUILD=overwrite` the messages are written anew.
#![cfg(not(any(stealyard_loom, stealyard_shuttle, stealyard_tsan)))]

/// Types do not depend on the profile, so once is enough.
#[cfg(debug_assertions)]
#[test]
fn q19_wrong_lifetimes_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/pins/*.rs");
}
