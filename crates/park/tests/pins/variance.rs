//! Pins: no lifetime is extended. Each function must be refused. `auto_traits.rs` pins that
//! lifetimes may be shortened, because no value is put into these types through a reference.

use stealyard_park::idle::Recheck;
use stealyard_park::{SleeperSet, Waiting};

fn waiting_longer<'a>(waiting: Waiting<'a>) -> Waiting<'static> {
    waiting
}

fn sleeper_set_longer<'a>(set: SleeperSet<'a>) -> SleeperSet<'static> {
    set
}

fn recheck_longer<'a>(result: Recheck<&'a str>) -> Recheck<&'static str> {
    result
}

fn main() {}
