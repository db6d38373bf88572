//! No forks: for systems and models in which no process is ever copied.

pub(super) fn watch() {}

#[inline]
pub(super) fn generation() -> u32 {
    0
}
