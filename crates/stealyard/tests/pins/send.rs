//! What is a thread's own does not leave it.

use std::rc::Rc;

use stealyard::policy::Turn;
use stealyard::{EnterGuard, Handle, JoinHandle};

fn is_send<T: Send>(_: T) {}
fn is_sync<T: Sync>(_: &T) {}

fn enter_guard(guard: EnterGuard) {
    is_sync(&guard);
    is_send(guard);
}

fn enter_guard_across_an_await(handle: Handle) {
    handle.spawn_detached(async move {
        let _guard = Handle::current().unwrap().enter();
        stealyard::yield_now().await;
    });
}

fn join_handle_of_what_is_not_send(handle: JoinHandle<Rc<u8>>) {
    is_sync(&handle);
    is_send(handle);
}

fn turn(turn: Turn<'_>) {
    is_send(turn);
}

fn spawned_future(handle: Handle, held: Rc<u8>) {
    drop(handle.spawn(async move { *held }));
}

fn spawned_output(handle: Handle) {
    drop(handle.spawn(async { Rc::new(1) }));
}

fn detached_future(handle: Handle, held: Rc<u8>) {
    handle.spawn_detached(async move { drop(held) });
}

fn blocking_call(handle: Handle, held: Rc<u8>) {
    drop(handle.spawn_blocking(move || *held));
}

fn blocking_output(handle: Handle) {
    drop(handle.spawn_blocking(|| Rc::new(1)));
}

fn half_of_a_join(held: Rc<u8>) {
    stealyard::join(|| *held, || ());
}

fn output_of_a_half() {
    stealyard::join(|| (), || Rc::new(1));
}

fn job_of_a_scope(held: Rc<u8>) {
    stealyard::scope(|scope| scope.spawn(|_| drop(held)));
}

fn installed_call(handle: Handle, held: Rc<u8>) {
    handle.install(|| *held);
}

fn installed_output(handle: Handle) {
    handle.install(|| Rc::new(1));
}

fn main() {}
