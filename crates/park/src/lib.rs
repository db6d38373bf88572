#![doc = include_str!("../README.md")]

mod event_count;
pub mod idle;
mod imp;
mod panics;
mod parker;
pub mod pool;
mod sleepers;
mod spin;
mod spin_wait;
mod wake_order;

pub use event_count::{EventCount, Waiting};
pub use idle::{Idle, Wake};
pub use parker::{ParkResult, Parker, Unparker};
pub use pool::{PoolConfig, ThreadPool};
pub use spin::{Spin, SpinConfig, Wait};
pub use spin_wait::SpinWait;
pub use wake_order::{MostRecent, Nearest, NotSquare, Sleeper, SleeperSet, WakeOrder};
