//! Whatever a value may touch when it is dropped must live until then.

use stealyard::JoinHandle;

fn shorten<'a>(handle: JoinHandle<&'static u8>, _to: &'a u8) -> JoinHandle<&'a u8> {
    handle
}

/// It may drop the output.
fn join_handle(handle: JoinHandle<&'static u8>) {
    let kept;
    let value = 1;
    kept = shorten(handle, &value);
}

/// A scope's jobs may run after its body has ended.
fn scope() {
    stealyard::scope(|scope| {
        let value = 1;
        scope.spawn(|_| assert_eq!(value, 1));
    });
}

/// Data that a job borrows must outlive the scope.
fn job_of_a_job() {
    stealyard::scope(|scope| {
        scope.spawn(|scope| {
            let value = 1;
            scope.spawn(|_| assert_eq!(value, 1));
        });
    });
}

/// The scope is its body's.
fn scope_escapes() {
    let mut kept = None;
    stealyard::scope(|scope| kept = Some(scope));
    kept.unwrap().spawn(|_| ());
}

/// A half of a join may borrow, but not what goes before the join.
fn join_moves() {
    let borrowed = {
        let value = 1;
        stealyard::join(|| &value, || ()).0
    };
    assert_eq!(*borrowed, 1);
}

/// A task may outlive what spawned it.
fn task() {
    let value = 1;
    drop(stealyard::spawn(async { assert_eq!(value, 1) }));
    drop(stealyard::spawn_local(async { assert_eq!(value, 1) }));
    drop(stealyard::spawn_blocking(|| assert_eq!(value, 1)));
    stealyard::spawn_detached(async { assert_eq!(value, 1) });
}

fn main() {}
