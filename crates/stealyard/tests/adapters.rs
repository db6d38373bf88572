//! Goal: what is generic over other crates' traits for spawning spawns here.
//! Method: each trait is used by a function that knows the trait only.
#![cfg(not(any(stealyard_loom, stealyard_shuttle)))]

use futures_task::{FutureObj, Spawn};
use hyper::rt::Executor;
use stealyard::{Builder, Scheduler, Shutdown};

fn by_futures(spawner: &impl Spawn, tell: async_channel::Sender<String>) -> bool {
    let task = async move { tell.send(here()).await.unwrap() };
    spawner.spawn_obj(FutureObj::new(Box::new(task))).is_ok()
}

fn by_hyper<F>(executor: &impl Executor<F>, future: F) {
    executor.execute(future);
}

fn here() -> String {
    std::thread::current().name().unwrap_or("?").to_owned()
}

#[test]
fn futures_spawn_runs_on_a_worker_until_the_end() {
    let scheduler = Builder::new().parallelism(1).build().unwrap();
    let (tell, told) = async_channel::bounded(1);
    assert!(by_futures(scheduler.handle(), tell.clone()));
    assert_eq!(told.recv_blocking().unwrap(), "stealyard-0");
    let handle = scheduler.handle().clone();
    assert!(handle.status().is_ok());
    let _report = scheduler.shutdown(Shutdown::Cancel);
    assert!(handle.status().unwrap_err().is_shutdown());
    assert!(!by_futures(&handle, tell));
}

#[test]
fn hyper_executes_on_a_worker() {
    let scheduler = Scheduler::new().unwrap();
    let (tell, told) = async_channel::bounded(1);
    by_hyper(scheduler.handle(), async move { tell.send(here()).await });
    assert!(told.recv_blocking().unwrap().starts_with("stealyard-"));
}
