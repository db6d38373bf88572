//! No lifetime can be made longer, and that of a scope not shorter either.

use stealyard_task::fork_join::JoinStackGuard;
use stealyard_task::{JoinHandle, Scope};

fn join_handle_longer<'a>(handle: JoinHandle<&'a u8>) -> JoinHandle<&'static u8> {
    handle
}

fn join_handle_of_a_function_longer<'a>(
    handle: JoinHandle<fn(&'static u8)>,
) -> JoinHandle<fn(&'a u8)> {
    handle
}

fn scope_longer<'s, 'a>(scope: &'s Scope<'a>) -> &'s Scope<'static> {
    scope
}

fn scope_shorter<'s, 'a>(scope: &'s Scope<'static>) -> &'s Scope<'a> {
    scope
}

fn join_stack_guard_longer<'a>(guard: JoinStackGuard<'a>) -> JoinStackGuard<'static> {
    guard
}

fn main() {}
