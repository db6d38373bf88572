//! Goal: what must not compile does not, with a message that names the reason: lifetimes that would
//! let a borrow end before its use, and values that would cross threads. Method: one file for each
//! kind, with a function for every public type that has a lifetime or a parameter; what the
//! compiler says of each is kept beside it. What must compile is in `auto_traits.rs`.
#![cfg(not(any(stealyard_loom, stealyard_shuttle, stealyard_tsan)))]
#![cfg(debug_assertions)]

#[test]
fn wrong_programs_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/pins/*.rs");
}
