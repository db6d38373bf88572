//! Pins: no life is made longer. Each function must be refused; that lives may be made shorter, because nothing is put
//! into these through a reference, is pinned in `auto_traits.rs`.

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
