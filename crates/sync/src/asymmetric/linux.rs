//! `membarrier(2)` in its private expedited form: for Linux.

/// Tells the kernel that this process will use the barrier. `Err` has the system's error number.
pub(super) fn register() -> Result<(), i32> {
    call(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
}

/// Executes a full barrier on every core that runs a thread of this process, before it returns.
pub(super) fn barrier() -> Result<(), i32> {
    call(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED)
}

fn call(command: libc::c_int) -> Result<(), i32> {
    // SAFETY: 1. `membarrier` takes three integers and touches no memory of ours.
    let answer = unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) };
    if answer == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }
}
