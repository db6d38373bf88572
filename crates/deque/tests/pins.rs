//! Goal: what must not compile does not: the variance of every generic type, and the drop check of
//! every type that holds items. Method: programs that a wrong marker would let through, with the
//! compiler's message for each of their functions (`tests/pins/*.stderr`). What crosses threads or
//! a caught panic is in `auto_traits.rs`.
//!
//! To write the expected messages anew:
//! `TRYBUILD=overwrite cargo test -p stealyard-deque --test pins`.
#![cfg(not(any(stealyard_loom, stealyard_shuttle, stealyard_tsan)))]

use stealyard_deque::Steal;

#[test]
#[cfg_attr(not(debug_assertions), ignore = "once, in the debug build, is enough")]
fn q19_wrong_lifetimes_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/pins/*.rs");
}

/// Shortens an outcome. [`Steal`] is the one covariant type: nothing can be put into it.
fn shortened<'short>(stolen: Steal<&'static u8>, _: &'short u8) -> Steal<&'short u8> {
    stolen
}

#[test]
fn steal_is_covariant_in_its_item() {
    static LONG: u8 = 3;
    let short = 4;
    assert_eq!(shortened(Steal::Success(&LONG), &short), Steal::Success(&3));
}
