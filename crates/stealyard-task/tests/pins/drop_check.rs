//! Whatever a value may touch when it is dropped must live until then.

use stealyard_task::fork_join::{JoinHost, JoinStack};
use stealyard_task::user_code::Quiet;
use stealyard_task::{JoinHandle, join, scope};

fn shorten<'a>(handle: JoinHandle<&'static u8>, _to: &'a u8) -> JoinHandle<&'a u8> {
    handle
}

/// It may drop the output.
fn join_handle(handle: JoinHandle<&'static u8>) {
    let kept;
    let value = 1;
    kept = shorten(handle, &value);
}

/// It drops what is in it.
fn quiet() {
    let kept;
    let value = 1;
    kept = Quiet::new(&value);
}

/// A scope's jobs may run after its body has ended.
fn job_of_a_scope() {
    scope(|scope| {
        let value = 1;
        scope.spawn(|_| assert_eq!(value, 1));
    });
}

/// Data that a job borrows must outlive the scope.
fn job_of_a_job() {
    scope(|scope| {
        scope.spawn(|scope| {
            let value = 1;
            scope.spawn(|_| assert_eq!(value, 1));
        });
    });
}

/// The scope is its body's.
fn scope_escapes() {
    let mut kept = None;
    scope(|scope| kept = Some(scope));
    kept.unwrap().spawn(|_| ());
}

/// A half of a join may borrow, but not what goes before the join.
fn join_moves() {
    let borrowed = {
        let value = 1;
        join(|| &value, || ()).0
    };
    assert_eq!(*borrowed, 1);
}

/// The guard leaves the stack, and forgets the host.
fn join_stack_guard(host: &'static dyn JoinHost) {
    let guard;
    let stack = JoinStack::new();
    guard = unsafe { stack.enter(host) };
}

fn main() {}
