//! Full fences on both sides: where there is no membarrier, or a checker that could not see it.

/// Always refuses, with `ENOSYS`.
pub(super) fn register() -> Result<(), i32> {
    Err(38)
}

/// Refuses as well. It is never called, since `register` refuses.
pub(super) fn barrier() -> Result<(), i32> {
    Err(38)
}
