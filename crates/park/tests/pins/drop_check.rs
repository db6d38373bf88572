//! Pins: no value outlives what its destructor reads, and code that may run at any time borrows
//! nothing. Each function must be refused.

use stealyard_park::idle::Recheck;
use stealyard_park::{EventCount, Idle, Parker, PoolConfig, SleeperSet, ThreadPool, Wake, WakeOrder};

/// A value that reads what it borrows in its destructor, and as a waker or a policy.
struct Reads<'a>(&'a String);

impl Drop for Reads<'_> {
    fn drop(&mut self) {
        println!("{}", self.0);
    }
}

impl Wake for Reads<'_> {
    fn wake(&self) {
        println!("{}", self.0);
    }
}

impl WakeOrder for Reads<'_> {
    fn choose(&self, from: Option<usize>, _sleepers: &SleeperSet<'_>) -> Option<usize> {
        println!("{}", self.0);
        from
    }
}

fn waiting() {
    let (_waiting, event);
    event = EventCount::new();
    _waiting = event.prepare();
}

fn recheck() {
    let (_result, text): (Recheck<Reads<'_>>, String);
    text = String::new();
    let idle = Idle::new([Parker::new().unparker()]);
    let parking = idle.join(0).unwrap().park();
    _result = parking.recheck(|| Some(Reads(&text)));
}

fn idle_waker() {
    let text = String::new();
    let _idle = Idle::new([Reads(&text)]);
}

fn idle_order() {
    let text = String::new();
    let _idle = Idle::with_order([Parker::new().unparker()], Reads(&text));
}

fn pool_job() {
    let text = String::new();
    let pool = ThreadPool::new(PoolConfig::default()).unwrap();
    let reads = Reads(&text);
    let _place = pool.run(move || drop(reads));
}

fn main() {}
