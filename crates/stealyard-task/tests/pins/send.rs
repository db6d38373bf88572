//! What is a thread's own does not leave it.

use std::rc::Rc;
use std::sync::Arc;

use stealyard_task::fork_join::JoinStackGuard;
use stealyard_task::running::DutyGuard;
use stealyard_task::{
    JoinHandle, LocalMemory, Schedule, join, scope, spawn, spawn_call, spawn_call_detached,
    spawn_detached,
};

fn is_send<T: Send>(_: T) {}
fn is_sync<T: Sync>(_: &T) {}

fn join_handle_of_what_is_not_send(handle: JoinHandle<Rc<u8>>) {
    is_sync(&handle);
    is_send(handle);
}

fn local_memory(local: LocalMemory) {
    is_sync(&local);
}

fn join_stack_guard(guard: JoinStackGuard<'static>) {
    is_sync(&guard);
    is_send(guard);
}

fn duty_guard(guard: DutyGuard) {
    is_sync(&guard);
    is_send(guard);
}

fn spawned_future<S: Schedule>(home: &Arc<S>, held: Rc<u8>) {
    drop(spawn(home, None, async move { *held }));
}

fn spawned_output<S: Schedule>(home: &Arc<S>) {
    drop(spawn(home, None, async { Rc::new(1) }));
}

fn detached_future<S: Schedule>(home: &Arc<S>, held: Rc<u8>) {
    drop(spawn_detached(home, None, async move { drop(held) }));
}

fn spawned_call<S: Schedule>(home: &Arc<S>, held: Rc<u8>) {
    drop(spawn_call(home, None, move || *held));
}

fn output_of_a_call<S: Schedule>(home: &Arc<S>) {
    drop(spawn_call(home, None, || Rc::new(1)));
}

fn detached_call<S: Schedule>(home: &Arc<S>, held: Rc<u8>) {
    drop(spawn_call_detached(home, None, move || *held));
}

fn half_of_a_join(held: Rc<u8>) {
    join(|| *held, || ());
}

fn output_of_a_half() {
    join(|| (), || Rc::new(1));
}

fn job_of_a_scope(held: Rc<u8>) {
    scope(|scope| scope.spawn(|_| drop(held)));
}

fn main() {}
