//! Where there is no membarrier, or a checker that could not see it: both sides fence.

/// Always refused: `ENOSYS`.
pub(super) fn register() -> Result<(), i32> {
    Err(38)
}

/// Never reached, since `register` refuses; refuses too.
pub(super) fn barrier() -> Result<(), i32> {
    Err(38)
}
