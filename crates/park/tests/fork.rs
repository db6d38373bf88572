//! Goal: in the child of a fork, which has none of the pool's threads, a job is refused and given
//! back, and no call waits.
//!
//! Method: a process whose pool has idle and busy threads forks. The child tries every call, and an
//! alarm ends it if it hangs. The test is alone in its binary, so that no other test holds a lock
//! in the moment of the fork.
#![cfg(unix)]
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

use std::sync::mpsc::channel;
use std::time::Duration;

use stealyard_park::pool::{PoolStats, RefusedReason, ShutdownResult};
use stealyard_park::{PoolConfig, ThreadPool};

#[test]
fn a_forked_child_gets_its_job_back() {
    let pool = ThreadPool::new(PoolConfig::default()).unwrap();
    let (tell, told) = channel();
    let (end, ended) = channel::<()>();
    let _placed = pool.run(move || assert!(ended.recv().is_err())).unwrap();
    let _placed = pool.run(move || tell.send(1).unwrap()).unwrap();
    assert_eq!(told.recv().unwrap(), 1);
    // SAFETY: 1. the child calls only code that is written for it, and ends by `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "{}", std::io::Error::last_os_error());
    if child == 0 {
        // SAFETY: 1. the call takes a number. A child that runs for a minute hangs, and is ended.
        unsafe { libc::alarm(60) };
        let right = is_refused_everywhere(pool);
        // SAFETY: 1. the call ends this process, without the parent's exit handlers.
        unsafe { libc::_exit(if right { 42 } else { 1 }) }
    }
    let mut status = 0;
    // SAFETY: 1. the pointer is to an integer of ours.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(waited, child);
    assert!(libc::WIFEXITED(status), "ended by a signal: {status}");
    assert_eq!(libc::WEXITSTATUS(status), 42);
    drop(end);
    assert_eq!(pool.shutdown(Duration::MAX), ShutdownResult::Complete);
}

fn is_refused_everywhere(pool: ThreadPool) -> bool {
    let forked = |result: Result<_, stealyard_park::pool::Refused>| {
        result.is_err_and(|refused| matches!(refused.reason(), RefusedReason::Forked))
    };
    let right = forked(pool.run(|| {}))
        && forked(pool.run_now(|| {}))
        && pool.stats() == PoolStats::default()
        && pool.shutdown(Duration::MAX) == ShutdownResult::Complete;
    drop(pool);
    right
}
